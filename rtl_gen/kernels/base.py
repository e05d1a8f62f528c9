"""The interface of a block decoder."""

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..event import chunk

__all__ = ["ChunkDecoder"]


class ChunkDecoder(wiring.Component):
    """Base of all decoders: index words in, occupancy chunks out, one step per cycle.

    Parameters
    ----------
    k_bits : int
        Bits that number the rows of an activation tile.

    Members
    -------
    enable : In(1)
        The running block belongs to this kernel.
    last_row : In(k_bits)
        Rows per column of the running block, less one.
    index : In(stream of 64 bits)
    chunks : Out(stream of `rtl_gen.event.chunk`)
    column_end : Out(1)
        This cycle's step finishes a column.
    """

    def __init__(self, k_bits: int) -> None:
        self.k_bits = k_bits
        super().__init__(
            {
                "enable": In(1),
                "last_row": In(k_bits),
                "index": In(stream.Signature(64)),
                "chunks": Out(stream.Signature(chunk(k_bits))),
                "column_end": Out(1),
            }
        )
