"""The interface of a block decoder."""

from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.shape import ArrayShape

from ..event import carries_values, chunk, found_row

__all__ = ["BlockDecoder"]


class BlockDecoder(wiring.Component):
    """Base of all decoders: index words in, occupied rows out, one step per cycle.

    A decoder that sees many rows at once hands over occupancy masks (``scanned``), which the
    event source's scanner takes apart; one that finds its rows one by one hands over rows.

    Parameters
    ----------
    shape : ArrayShape
        The array, for the tile depth and the formats' parameters.

    Members
    -------
    enable : In(1)
        The running block belongs to this kernel; a register, low for a cycle between two blocks.
    last_row : In(k_bits)
        Rows per column of the running block, less one; there in the cycle before ``enable`` rises.
    final_column : In(1)
        The running column is the block's last: index words are not shared with the next block.
    index : In(stream of 64 bits)
    found : Out(stream of `rtl_gen.event.chunk` if ``scanned``, of `rtl_gen.event.found_row` if not)
    column_end : Out(1)
        This cycle's step finishes a column.
    """

    scanned: bool

    def __init__(self, shape: ArrayShape) -> None:
        self.k_bits = k_bits = shape.k_bits
        found = chunk(k_bits, carries_values(shape)) if self.scanned else found_row(k_bits)
        super().__init__(
            {
                "enable": In(1),
                "last_row": In(k_bits),
                "final_column": In(1),
                "index": In(stream.Signature(64)),
                "found": Out(stream.Signature(found)),
                "column_end": Out(1),
            }
        )
