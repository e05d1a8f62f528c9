"""Bitmap decoder: 64 occupancy bits per word, scanned by occupied chunks."""

from amaranth.hdl import Cat, Module, Mux, Signal

from golden.formats import CHUNK

from .base import BlockDecoder
from .bits import several, without_lowest

__all__ = ["BitmapDecoder"]

_PER_WORD = 64 // CHUNK


class BitmapDecoder(BlockDecoder):
    """One cycle to find a word's occupied chunks, then one for each of them, at least one in all.

    The word stays in the ring's register while its chunks are handed out, so the decoder itself
    only remembers which chunks are still to come.
    """

    scanned = True

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        word = self.index.payload
        number = Signal(max(1, self.k_bits - 6))
        looked = Signal()
        occupied = Signal(_PER_WORD)
        rest = Signal(_PER_WORD)
        select = Signal(range(_PER_WORD))
        # The word is the column's last.
        final = Signal()
        only = Signal()
        gives = Signal()
        m.d.comb += [
            rest.eq(without_lowest(m, occupied)),
            only.eq(~several(m, occupied)),
            gives.eq(occupied.any() | final),
        ]
        for i in reversed(range(_PER_WORD)):
            with m.If(occupied[i]):
                m.d.comb += select.eq(i)

        step = Signal()
        word_end = Signal()
        m.d.comb += [
            self.found.valid.eq(looked & gives),
            step.eq(looked & (self.found.ready | ~gives)),
            word_end.eq(step & only),
            out.base.eq(Cat(select, number)),
            # The chunk of an empty word is empty itself: a close token.
            out.mask.eq(word.word_select(select, CHUNK)),
            out.last.eq(final & only),
            self.index.ready.eq(word_end),
            self.column_end.eq(word_end & final),
        ]
        with m.If(step):
            m.d.sync += occupied.eq(rest)
        with m.If(~looked):
            m.d.sync += [
                looked.eq(self.enable & self.index.valid),
                occupied.eq(Cat(word.word_select(i, CHUNK).any() for i in range(_PER_WORD))),
                final.eq(number == self.last_row[6:] if self.k_bits > 6 else 1),
            ]
        with m.If(word_end):
            m.d.sync += [looked.eq(0), number.eq(Mux(final, 0, number + 1))]
        return m
