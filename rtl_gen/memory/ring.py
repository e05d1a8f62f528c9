"""Replay ring: a FIFO of 64-bit words that can play a segment again."""

from amaranth.hdl import Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .two_width import TwoWidthMemory

__all__ = ["ReplayRing"]

WORD = 64


class ReplayRing(wiring.Component):
    """Words enter in beats and leave one by one; a held segment can be read again.

    Operation: ``words`` presents the word at the head; consuming it frees its place unless
    ``hold`` is high.  While ``hold`` is high the ring remembers where the segment began, and
    ``rewind`` goes back there.  The block memory's output latch is the only word register.

    Latency: a word is readable two cycles after its beat was written; one word per cycle; after
    ``rewind`` the head is absent for one cycle.

    Back-pressure: ``space`` is low while at most one beat is free, so that one beat may be in
    flight when it falls.

    Parameters
    ----------
    depth : int
        Words; a power of two.
    beat_words : int
        Words per written beat; a power of two.

    Members
    -------
    write_enable, write_data : In
        One beat, least significant word first.
    space : Out(1)
    words : Out(stream of 64 bits)
    hold, rewind, align : In(1)
        ``align`` discards words until the head stands at a beat; used at the end of a job.
    """

    def __init__(self, *, depth: int, beat_words: int) -> None:
        self._depth = depth
        self._beat_words = beat_words
        super().__init__(
            {
                "write_enable": In(1),
                "write_data": In(WORD * beat_words),
                "space": Out(1),
                "words": Out(stream.Signature(WORD)),
                "hold": In(1),
                "rewind": In(1),
                "align": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        beat_bits = (self._beat_words - 1).bit_length()
        pointer_bits = (self._depth - 1).bit_length() + 1
        m.submodules.store = store = TwoWidthMemory(
            read_bits=WORD, write_bits=WORD * self._beat_words, depth=self._depth
        )
        written = Signal(pointer_bits - beat_bits)
        base = Signal(pointer_bits)
        head = Signal(pointer_bits)
        following = Signal(pointer_bits)
        consume = Signal()
        valid = Signal()

        misaligned = Signal()
        if beat_bits:
            m.d.comb += misaligned.eq(self.align & head[:beat_bits].any())
        m.d.comb += [
            self.words.valid.eq(valid & ~self.align),
            self.words.payload.eq(store.read_data),
            consume.eq(valid & ((self.words.ready & ~self.align) | misaligned)),
            following.eq(head + consume),
            store.read_address.eq(following),
            store.read_enable.eq(1),
            store.write_enable.eq(self.write_enable),
            store.write_address.eq(written),
            store.write_data.eq(self.write_data),
        ]
        beats = self._depth // self._beat_words
        level = Signal(pointer_bits - beat_bits)
        m.d.comb += [
            level.eq(written - base[beat_bits:]),
            self.space.eq(level < beats - 1),
        ]
        m.d.sync += [
            head.eq(following),
            valid.eq(following[beat_bits:] != written),
            written.eq(written + self.write_enable),
        ]
        with m.If(~self.hold):
            m.d.sync += base.eq(following)
        with m.If(self.rewind & self.hold):
            m.d.sync += [head.eq(base), valid.eq(Const(0))]
        return m
