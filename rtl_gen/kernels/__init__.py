"""Decoders of the block formats, one file each, behind one interface.

A decoder turns the index words of a block into occupancy chunks.  Everything behind it (scanner,
values, queue, multipliers) is the same for every kernel.
"""

from .base import ChunkDecoder
from .bitmap import BitmapDecoder
from .block_runs import BlockRunsDecoder
from .dense import DenseDecoder
from .nm import StructuredNMDecoder
from .runlength import RunLengthDecoder

__all__ = ["DECODERS", "ChunkDecoder"]

DECODERS: dict[str, type[ChunkDecoder]] = {
    "dense": DenseDecoder,
    "bitmap": BitmapDecoder,
    "runlength": RunLengthDecoder,
    "nm": StructuredNMDecoder,
    "block": BlockRunsDecoder,
}
