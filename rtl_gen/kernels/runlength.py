"""Run-length decoder: gaps between non-zeros."""

from amaranth.hdl import Module, Mux, Signal

from golden.shape import ArrayShape

from .base import BlockDecoder
from .entries import EntryReader

__all__ = ["RunLengthDecoder"]


class RunLengthDecoder(BlockDecoder):
    """One non-zero per cycle; a pad and its gap, or a gap and its end, in one step.

    A gap that leaves the tile wraps inside it: a bad program gives wrong sums, nothing else.
    """

    scanned = False

    def __init__(self, shape: ArrayShape) -> None:
        self._bits = shape.gap_bits
        super().__init__(shape)

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        end_code = (1 << self._bits) - 1
        pad_code = end_code - 1
        take = Signal(2)
        entry = EntryReader(m, self.index, self._bits, take, self.column_end & self.final_column)
        position = Signal(self.k_bits)
        row = Signal(self.k_bits)
        is_end = Signal()
        is_pad = Signal()
        second_end = Signal()
        second_gap = Signal()
        push = Signal()
        step = Signal()
        m.d.comb += [
            is_end.eq(entry.first == end_code),
            is_pad.eq(entry.first == pad_code),
            second_end.eq(entry.paired & (entry.second == end_code)),
            second_gap.eq(entry.paired & (entry.second < pad_code)),
            push.eq(~is_pad | second_gap),
            row.eq(position + entry.first + Mux(is_pad, entry.second, 0)),
            self.found.valid.eq(self.enable & self.index.valid & push),
            step.eq(self.enable & self.index.valid & (self.found.ready | ~push)),
            # A close token's entry is no gap: its row may be none of the tile's, row 0 always is.
            out.k.eq(Mux(is_end, 0, row)),
            out.valued.eq(~is_end),
            out.last.eq(is_end | (~is_pad & second_end)),
            self.column_end.eq(step & out.last),
        ]
        with m.If(step):
            m.d.comb += take.eq(Mux((is_pad & second_gap) | (~is_end & ~is_pad & second_end), 2, 1))
            m.d.sync += position.eq(Mux(out.last, 0, Mux(push, row + 1, position + pad_code)))
        return m
