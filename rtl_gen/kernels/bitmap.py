"""Bitmap decoder: 64 occupancy bits per word, scanned by occupied chunks."""

from amaranth.hdl import Cat, Module, Mux, Signal

from golden.formats import CHUNK

from .base import BlockDecoder
from .bits import several, without_lowest

__all__ = ["BitmapDecoder"]

_PER_WORD = 64 // CHUNK


class BitmapDecoder(BlockDecoder):
    """One cycle for each occupied chunk of a word, at least one in all; a word is taken while the
    one before it hands out its last chunk.

    A block's first word takes a cycle more.  No word is taken behind the block's last.
    """

    scanned = True

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        bits = max(1, self.k_bits - 6)
        # The word that is handed out, its place in the column, and the next word's.
        word = Signal(64, reset_less=True)
        base = Signal(bits)
        number = Signal(bits)
        held = Signal()
        occupied = Signal(_PER_WORD)
        select = Signal(range(_PER_WORD))
        # The word is the column's last.
        final = Signal()
        last = Signal()
        only = Signal()
        gives = Signal()
        m.d.comb += [
            only.eq(~several(m, occupied)),
            gives.eq(occupied.any() | final),
            last.eq(number == self.last_row[6:] if self.k_bits > 6 else 1),
        ]
        for i in reversed(range(_PER_WORD)):
            with m.If(occupied[i]):
                m.d.comb += select.eq(i)

        step = Signal()
        word_end = Signal()
        take = Signal()
        incoming = self.index.payload
        m.d.comb += [
            self.found.valid.eq(held & gives),
            step.eq(held & (self.found.ready | ~gives)),
            word_end.eq(step & only),
            take.eq(
                self.enable & self.index.valid & (~held | (word_end & ~(final & self.final_column)))
            ),
            out.base.eq(Cat(select, base)),
            # The chunk of an empty word is empty itself: a close token.
            out.mask.eq(word.word_select(select, CHUNK)),
            out.last.eq(final & only),
            self.index.ready.eq(take),
            self.column_end.eq(word_end & final),
        ]
        with m.If(step):
            m.d.sync += occupied.eq(without_lowest(m, occupied))
        with m.If(word_end):
            m.d.sync += held.eq(0)
        with m.If(take):
            m.d.sync += [
                held.eq(1),
                word.eq(incoming),
                occupied.eq(Cat(incoming.word_select(i, CHUNK).any() for i in range(_PER_WORD))),
                base.eq(number),
                final.eq(last),
                number.eq(Mux(last, 0, number + 1)),
            ]
        return m
