"""The interface of a block decoder."""

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.shape import ArrayShape

from ..event import chunk

__all__ = ["ChunkDecoder"]


class ChunkDecoder(wiring.Component):
    """Base of all decoders: index words in, occupancy chunks out, one step per cycle.

    Parameters
    ----------
    shape : ArrayShape
        The array, for the tile depth and the formats' parameters.

    Members
    -------
    enable : In(1)
        The running block belongs to this kernel.
    last_row : In(k_bits)
        Rows per column of the running block, less one.
    final_column : In(1)
        The running column is the block's last: index words are not shared with the next block.
    index : In(stream of 64 bits)
    chunks : Out(stream of `rtl_gen.event.chunk`)
    column_end : Out(1)
        This cycle's step finishes a column.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.k_bits = k_bits = shape.k_bits
        super().__init__(
            {
                "enable": In(1),
                "last_row": In(k_bits),
                "final_column": In(1),
                "index": In(stream.Signature(64)),
                "chunks": Out(stream.Signature(chunk(k_bits))),
                "column_end": Out(1),
            }
        )
