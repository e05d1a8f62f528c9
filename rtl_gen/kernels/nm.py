"""N:M decoder: a fixed number of slots per run of rows."""

from amaranth.hdl import Cat, Module, Mux, Signal

from golden.shape import ArrayShape

from .base import BlockDecoder
from .entries import EntryReader

__all__ = ["StructuredNMDecoder"]


class StructuredNMDecoder(BlockDecoder):
    """One slot per cycle, zeros that fill a run up included.

    A slot may name a row behind the end of the tile, which is not there to be read; the last row
    takes its zero.
    """

    scanned = False

    def __init__(self, shape: ArrayShape) -> None:
        self._n = shape.nm_n
        self._m_bits = (shape.nm_m - 1).bit_length()
        super().__init__(shape)

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        run = Signal(max(1, self.k_bits - self._m_bits))
        slot = Signal(range(max(2, self._n)))
        step = Signal()
        last_slot = Signal()
        m.d.comb += [
            self.found.valid.eq(self.enable & self.index.valid),
            step.eq(self.found.valid & self.found.ready),
            last_slot.eq(slot == self._n - 1),
            out.last.eq(last_slot & (run == self.last_row[self._m_bits :])),
            self.column_end.eq(step & out.last),
        ]
        entry = EntryReader(m, self.index, self._m_bits, step, self.column_end & self.final_column)
        place = Signal(self._m_bits)
        end = self.last_row[: self._m_bits]
        beyond = (run == self.last_row[self._m_bits :]) & (entry.first > end)
        m.d.comb += [
            place.eq(Mux(beyond, end, entry.first)),
            out.k.eq(Cat(place, run)),
            out.valued.eq(1),
        ]
        with m.If(step):
            m.d.sync += slot.eq(Mux(last_slot, 0, slot + 1))
            with m.If(last_slot):
                m.d.sync += run.eq(Mux(out.last, 0, run + 1))
        return m
