"""Bitmap decoder: 64 occupancy bits per word, scanned by occupied chunks."""

from amaranth.hdl import Cat, Module, Mux, Signal

from golden.formats import CHUNK

from .base import BlockDecoder

__all__ = ["BitmapDecoder"]

_PER_WORD = 64 // CHUNK


class BitmapDecoder(BlockDecoder):
    """One occupied chunk per cycle; an empty word takes one cycle.

    The word stays in the ring's output latch while its chunks are handed out, so the decoder
    itself only remembers which chunks are still to come.
    """

    scanned = True

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        word = self.index.payload
        word_bits = max(1, self.k_bits - 6)
        number = Signal(word_bits)
        pending = Signal(_PER_WORD, init=(1 << _PER_WORD) - 1)

        occupied = Signal(_PER_WORD)
        rest = Signal(_PER_WORD)
        select = Signal(range(_PER_WORD))
        final_word = Signal()
        empty = Signal()
        m.d.comb += [
            occupied.eq(Cat(word.word_select(i, CHUNK).any() for i in range(_PER_WORD)) & pending),
            empty.eq(~occupied.any()),
            rest.eq(occupied & (occupied - 1)),
            final_word.eq(number == self.last_row[6:] if self.k_bits > 6 else 1),
        ]
        for i in reversed(range(_PER_WORD)):
            with m.If(occupied[i]):
                m.d.comb += select.eq(i)

        step = Signal()
        word_end = Signal()
        m.d.comb += [
            self.found.valid.eq(self.enable & self.index.valid & (~empty | final_word)),
            step.eq(self.enable & self.index.valid & (self.found.ready | (empty & ~final_word))),
            word_end.eq(step & ~rest.any()),
            out.base.eq(Cat(select, number)),
            # The chunk of an empty word is empty itself: a close token.
            out.mask.eq(word.word_select(select, CHUNK)),
            out.last.eq(final_word & ~rest.any()),
            self.index.ready.eq(word_end),
            self.column_end.eq(word_end & final_word),
        ]
        with m.If(word_end):
            m.d.sync += [
                pending.eq((1 << _PER_WORD) - 1),
                number.eq(Mux(final_word, 0, number + 1)),
            ]
        with m.Elif(step):
            m.d.sync += pending.eq(rest)
        return m
