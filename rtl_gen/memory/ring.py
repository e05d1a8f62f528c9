"""Replay ring: a FIFO of 64-bit words that can play a segment again."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .fill import beat_counter
from .registered import RegisteredMemory

__all__ = ["ReplayRing"]

WORD = 64


class ReplayRing(wiring.Component):
    """Words enter in beats and leave one by one; a held segment can be read again.

    Operation: ``words`` presents the word at the head; consuming it frees its place unless
    ``hold`` is high.  A segment whose words were all consumed under ``hold`` is played again
    after ``rewind``.  Words are fetched ahead into the block memory's output latch and from
    there into a register, so that none of the memory's ports meets the consumer's logic.

    Latency: a word is readable four cycles after its beat was written; two words in three
    cycles, two in a row; after ``rewind`` the head is absent for four cycles.

    Back-pressure: ``space`` is low while at most one beat is free, so that one beat may be in
    flight when it falls; it rises a cycle after a beat was freed.

    Parameters
    ----------
    depth : int
        Words; a power of two.
    beat_words : int
        Words per written beat; a power of two.
    cells : bool
        See `RegisteredMemory`.

    Members
    -------
    write_enable, write_data : In
        One beat, least significant word first.
    space : Out(1)
    words : Out(stream of 64 bits)
    hold, rewind, align : In(1)
        ``align`` discards words until the head stands at a beat; used at the end of a job,
        without ``hold``, and while none is taken.
    """

    def __init__(self, *, depth: int, beat_words: int, cells: bool = False) -> None:
        self._cells = cells
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
        m.submodules.store = store = RegisteredMemory(
            read_bits=WORD,
            write_bits=WORD * self._beat_words,
            depth=self._depth,
            cells=self._cells,
        )
        # First word that may be played again, the one behind the head, the next one to fetch.
        base = Signal(pointer_bits)
        behind = Signal(pointer_bits)
        following = Signal(pointer_bits)
        written = beat_counter(m, self.write_enable, base[beat_bits:], self.space)
        # The last beat written, and whether there is a word to fetch.
        newest = Signal.like(written, init=-1)
        there = Signal()
        fetch = Signal()
        fetched = Signal()
        move = Signal()
        present = Signal()
        consume = Signal()
        again = Signal()

        misaligned = Signal()
        if beat_bits:
            m.d.comb += misaligned.eq(self.align & (behind[:beat_bits] != 1))
        m.d.comb += [
            self.words.valid.eq(present),
            self.words.payload.eq(store.read_data),
            consume.eq(present & (self.words.ready | misaligned)),
            move.eq(fetched & (~present | self.words.ready | misaligned)),
            fetch.eq(there & ~(fetched & present)),
            store.read_address.eq(following),
            store.read_enable.eq(fetch),
            store.move.eq(move),
            store.write_enable.eq(self.write_enable),
            store.write_address.eq(written),
            store.write_data.eq(self.write_data),
        ]
        m.d.sync += [
            again.eq(self.rewind & self.hold),
            fetched.eq((fetch | (fetched & ~move)) & ~again),
            # Absent from the cycle on in which `following` returns.
            present.eq((move | (present & ~consume)) & ~again & ~(self.rewind & self.hold)),
        ]
        # Known a cycle ahead, so a word that has just been written waits for it, and a replay.
        m.d.sync += there.eq((following[beat_bits:] != written) & ~again)
        with m.If(fetch & following[:beat_bits].all() & ~again):
            m.d.sync += there.eq(following[beat_bits:] != newest)
        with m.If(self.write_enable):
            m.d.sync += newest.eq(written)
        with m.If(consume & ~self.hold):
            m.d.sync += base.eq(behind)
        with m.If(fetch | again):
            m.d.sync += following.eq(Mux(again, base, following) + ~again)
        with m.If(move):
            m.d.sync += behind.eq(following)
        return m
