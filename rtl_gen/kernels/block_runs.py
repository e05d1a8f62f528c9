"""Block decoder: dense runs of rows, empty runs left out."""

from amaranth.hdl import Cat, Module, Mux, Signal

from golden.formats import CHUNK
from golden.shape import ArrayShape

from .base import BlockDecoder
from .entries import EntryReader

__all__ = ["BlockRunsDecoder"]

_LOW = (CHUNK - 1).bit_length()


class BlockRunsDecoder(BlockDecoder):
    """One chunk per cycle, occupied or not; each entry bit stands for a run of rows."""

    scanned = True

    def __init__(self, shape: ArrayShape) -> None:
        self._rows = shape.block_rows
        super().__init__(shape)

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        count = Signal(max(1, self.k_bits - _LOW))
        inside = Signal(CHUNK)
        step = Signal()
        m.d.comb += [
            out.last.eq(count == self.last_row[_LOW:]),
            # Rows of the tile in this chunk.
            inside.eq(Mux(out.last, (2 << self.last_row[:_LOW]) - 1, (1 << CHUNK) - 1)),
        ]
        entry = EntryReader(
            m, self.index, CHUNK // self._rows, step, self.column_end & self.final_column
        )
        m.d.comb += [
            out.base.eq(count),
            out.mask.eq(Cat(bit.replicate(self._rows) for bit in entry.first) & inside),
            self.found.valid.eq(self.enable & self.index.valid & (out.mask.any() | out.last)),
            step.eq(
                self.enable & self.index.valid & (self.found.ready | ~(out.mask.any() | out.last))
            ),
            self.column_end.eq(step & out.last),
        ]
        with m.If(step):
            m.d.sync += count.eq(Mux(out.last, 0, count + 1))
        return m
