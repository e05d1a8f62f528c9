"""Band decoder: the rows of one run to a column."""

from amaranth.hdl import Module, Mux, Signal

from golden.formats.band import ENTRY_BITS, FIRST_BITS

from .base import BlockDecoder
from .entries import EntryReader

__all__ = ["BandDecoder"]


class BandDecoder(BlockDecoder):
    """One row per cycle, from the first of the run to its last; an empty run is a close token.

    A run that leaves the tile, which no encoder writes, wraps around within it.
    """

    scanned = False

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        step = Signal()
        inside = Signal()
        row = Signal(self.k_bits)
        left = Signal(self.k_bits + 1)
        here = Signal(self.k_bits + 1)
        m.d.comb += [
            self.found.valid.eq(self.enable & self.index.valid),
            step.eq(self.found.valid & self.found.ready),
            self.column_end.eq(step & out.last),
        ]
        block_end = self.column_end & self.final_column
        entry = EntryReader(m, self.index, ENTRY_BITS, self.column_end, block_end)
        m.d.comb += [
            here.eq(Mux(inside, left, entry.first[FIRST_BITS:])),
            out.k.eq(Mux(inside, row, entry.first[:FIRST_BITS])),
            out.valued.eq(here != 0),
            out.last.eq(here <= 1),
        ]
        with m.If(step):
            m.d.sync += [inside.eq(~out.last), row.eq(out.k + 1), left.eq(here - 1)]
        return m
