"""Decoders of the block formats, one file each, behind one interface.

A decoder turns the index words of a block into occupied rows.  Everything behind it (values,
queue, multipliers) is the same for every kernel.
"""

from .band import BandDecoder
from .base import BlockDecoder
from .bitmap import BitmapDecoder
from .block_runs import BlockRunsDecoder
from .dense import DenseDecoder
from .nm import StructuredNMDecoder
from .raw import RawDecoder
from .runlength import RunLengthDecoder

__all__ = ["DECODERS", "BlockDecoder"]

DECODERS: dict[str, type[BlockDecoder]] = {
    "dense": DenseDecoder,
    "bitmap": BitmapDecoder,
    "runlength": RunLengthDecoder,
    "nm": StructuredNMDecoder,
    "block": BlockRunsDecoder,
    "band": BandDecoder,
    "raw": RawDecoder,
}
