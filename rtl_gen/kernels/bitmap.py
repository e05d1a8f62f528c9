"""Bitmap decoder: 64 occupancy bits per word, scanned by occupied chunks."""

from amaranth.hdl import Cat, Module, Mux, Signal

from golden.formats import CHUNK

from .base import BlockDecoder
from .bits import several, without_lowest

__all__ = ["BitmapDecoder"]

_PER_WORD = 64 // CHUNK


class BitmapDecoder(BlockDecoder):
    """One cycle for each occupied chunk of a word, at least one in all; the next word waits beside.

    Whether a word is taken follows from registers alone, so that no handshake of the chunks
    reaches the ring; it takes one word in two cycles at most.  A block's first word takes two
    cycles more.  No word is taken behind the block's last.
    """

    scanned = True

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        bits = max(1, self.k_bits - 6)
        # The word that is handed out, with its place in the column, and the one that waits.
        word = Signal(64, reset_less=True)
        base = Signal(bits)
        final = Signal()
        held = Signal()
        spare = Signal(64, reset_less=True)
        spare_base = Signal(bits)
        spare_final = Signal()
        waits = Signal()
        # Place of the next word; whether the columns that were begun have all of theirs.
        number = Signal(bits)
        last = Signal()
        whole = Signal(init=1)
        occupied = Signal(_PER_WORD)
        select = Signal(range(_PER_WORD))
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
        m.d.comb += [
            self.found.valid.eq(held & gives),
            step.eq(held & (self.found.ready | ~gives)),
            word_end.eq(step & only),
            take.eq(self.enable & self.index.valid & ~waits & ~(whole & held & self.final_column)),
            out.base.eq(Cat(select, base)),
            # The chunk of an empty word is empty itself: a close token.
            out.mask.eq(word.word_select(select, CHUNK)),
            out.last.eq(final & only),
            self.index.ready.eq(take),
            self.column_end.eq(word_end & final),
        ]
        with m.If(step):
            m.d.sync += occupied.eq(without_lowest(m, occupied))
        with m.If(~held | word_end):
            m.d.sync += [
                held.eq(waits),
                waits.eq(0),
                word.eq(spare),
                occupied.eq(Cat(spare.word_select(i, CHUNK).any() for i in range(_PER_WORD))),
                base.eq(spare_base),
                final.eq(spare_final),
            ]
        with m.If(take):
            m.d.sync += [
                waits.eq(1),
                spare.eq(self.index.payload),
                spare_base.eq(number),
                spare_final.eq(last),
                number.eq(Mux(last, 0, number + 1)),
                whole.eq(last),
            ]
        return m
