"""Raw decoder: eight value bytes per word as they stand in memory, of which zeros are skipped."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal

from golden.formats.raw import WORD

from .base import BlockDecoder

__all__ = ["RawDecoder"]

_LOW = (WORD - 1).bit_length()


class RawDecoder(BlockDecoder):
    """One word per cycle; the chunk takes the word's bytes along.

    A chunk has two words; the mask covers one of them.  Bytes behind the last row of a column
    are not looked at.
    """

    scanned = True

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        word = self.index.payload
        number = Signal(self.k_bits - _LOW)
        inside = Signal(WORD)
        occupied = Signal(WORD)
        step = Signal()
        m.d.comb += [
            out.last.eq(number == self.last_row[_LOW:]),
            inside.eq(Mux(out.last, (2 << self.last_row[:_LOW]) - 1, (1 << WORD) - 1)),
            occupied.eq(Cat(word.word_select(i, 8).any() for i in range(WORD)) & inside),
            out.base.eq(number[1:]),
            out.mask.eq(Mux(number[0], Cat(Const(0, WORD), occupied), occupied)),
            out.carried.eq(1),
            out.word.eq(word),
            self.found.valid.eq(self.enable & self.index.valid & (occupied.any() | out.last)),
            step.eq(
                self.enable & self.index.valid & (self.found.ready | ~(occupied.any() | out.last))
            ),
            self.index.ready.eq(step),
            self.column_end.eq(step & out.last),
        ]
        with m.If(step):
            m.d.sync += number.eq(Mux(out.last, 0, number + 1))
        return m
