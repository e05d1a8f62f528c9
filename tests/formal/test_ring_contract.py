"""The replay ring proved: no word is lost, changed or overtaken, a replay begins at its base.

Words are numbered as they are written, modulo twice the depth.  The ghost reader says which word
the consumer must see next: one more after each, back at the base after a rewind.  One written
word is tagged and must be seen whenever the reader stands at its number.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.memory import ReplayRing
from rtl_gen.memory.fill import beat_counter
from tests.formal.prover import assert_broken, assert_proved, mutated, opened, settled

DEPTH, BEAT_WORDS, WORD = 8, 2, 8
"""Words pass unchanged: narrow ones prove the same in less time."""
BEATS = DEPTH // BEAT_WORDS
MUTANTS = {
    "frees a beat too early": ("base[beat_bits:], self.space", "base[beat_bits:] + 1, self.space"),
    "rewinds one word too far": ("Mux(again, base, following) + ~again",
                                 "Mux(again, base, following) + 1"),
    "keeps what was fetched ahead": ("present.eq((move | (present & ~consume)) & ~again",
                                     "present.eq((move | (present & ~consume))"),
    "frees a held word": ("consume & ~self.hold", "consume"),
    "forgets where the head is": ("behind.eq(following)", "behind.eq(behind)"),
    "reads what is not written": ("(following[beat_bits:] != written)", "1"),
}  # fmt: skip


class Contract(wiring.Component):
    """A ring with free inputs, ghosts and assertions."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        self._kind = mutated(ReplayRing, ("WORD = 64", f"WORD = {WORD}"), *faults)
        super().__init__(
            {
                "write": In(1),
                "beat": In(WORD * BEAT_WORDS),
                "ready": In(1),
                "hold": In(1),
                "rewind": In(1),
                "align": In(1),
                "tag": In(BEAT_WORDS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.ring = ring = self._kind(depth=DEPTH, beat_words=BEAT_WORDS)
        inside = opened(ring, beat_counter)
        memory = opened(inside.store).store
        store = opened(memory)
        latch = memory.read_data
        bits = len(inside.base)
        written, reader = Signal(bits), Signal(bits)
        base = inside.base
        space_before, hold_before = Signal(), Signal()
        taken, dropped = Signal(), Signal()
        base_before = Signal(bits)
        m.d.sync += [
            space_before.eq(ring.space),
            hold_before.eq(self.hold),
            base_before.eq(base),
        ]
        m.d.comb += [
            ring.write_enable.eq(self.write),
            ring.write_data.eq(self.beat),
            ring.words.ready.eq(self.ready),
            ring.hold.eq(self.hold),
            ring.rewind.eq(self.rewind),
            ring.align.eq(self.align),
            taken.eq(ring.words.valid & self.ready),
            dropped.eq(self.align & inside.consume),
            Assume(~ResetSignal()),
            # One beat may be in flight when the space falls.
            Assume(~self.write | space_before | ring.space),
            # What holds a segment changes where a play begins.
            Assume((self.hold == hold_before) | (reader == base)),
            Assume(~(self.align & (self.hold | self.ready))),
        ]
        m.d.sync += written.eq(written + Mux(self.write, BEAT_WORDS, 0))
        with m.If(self.rewind & self.hold):
            m.d.sync += reader.eq(base)
        with m.Elif(taken | dropped):
            m.d.sync += reader.eq(reader + 1)

        # One word of one beat, until it is freed.
        tagged, alive = Signal(), Signal()
        number, word = Signal(bits), Signal(WORD)
        for lane in range(BEAT_WORDS):
            with m.If(self.write & self.tag[lane] & ~tagged):
                m.d.sync += [
                    tagged.eq(1),
                    alive.eq(1),
                    number.eq(written + lane),
                    word.eq(self.beat.word_select(lane, WORD)),
                ]
        with m.If((taken | dropped) & ~self.hold & (number == base)):
            m.d.sync += alive.eq(0)

        # Distances from the base.
        inside_words, read, fetching, mine = (Signal(bits) for _ in range(4))
        # What was freed in the cycle before does not count yet.
        used = Signal(bits)
        absent = Signal(3)
        m.d.comb += [
            inside_words.eq(written - base),
            used.eq(written - base_before),
            read.eq(reader - base),
            fetching.eq(inside.following - base),
            mine.eq(number - base),
        ]
        missing = (read != inside_words) & ~ring.words.valid & ~self.align & ~inside.again
        m.d.sync += absent.eq(Mux(missing, absent + 1, 0))

        # The contract.
        at_mine = alive & (reader == number)
        m.d.comb += [
            Assert(inside_words <= DEPTH),
            Assert(~(taken & at_mine) | (ring.words.payload == word)),
            Assert(~(taken | dropped) | (read < inside_words)),
            Assert(used <= DEPTH),
            Assert(ring.space == ((DEPTH - used) // BEAT_WORDS >= 2)),
            # Aligning drops words up to the next beat and no further.
            Assert(~dropped | (reader % BEAT_WORDS != 0)),
            Assert(
                settled(
                    m,
                    ring.words.valid,
                    self.ready | self.align | (self.rewind & self.hold),
                    ring.words.payload,
                )
                | self.align
            ),
            # A word is there four cycles after its beat was written, and after a rewind.
            Assert(absent <= 3),
        ]

        # Invariants for the induction.
        place = store.store.read_port(domain="comb")
        again, present, fetched = inside.again, inside.present, inside.fetched
        m.d.comb += [
            place.addr.eq(number[: len(place.addr)]),
            Assert(Cat(Const(0, bits - len(inside.written)), inside.written) == written),
            Assert(inside.beat_after == (inside.written + 1)[: len(inside.written)]),
            Assert(~present | ~again),
            Assert(~present | (inside.behind == (reader + 1)[:bits])),
            Assert(hold_before | (reader == base)),
            Assert(read <= inside_words),
            Assert(~alive | (tagged & (mine < inside_words))),
            Assert(~alive | (place.data == word)),
            Assert(~again | (reader == base)),
            Assert(again | (inside.following == (reader + present + fetched)[:bits])),
            Assert(again | (fetching <= inside_words)),
            Assert(~(present & at_mine) | (ring.words.payload == word)),
            Assert(
                ~(fetched & ~again & alive & ((reader + present)[:bits] == number))
                | (latch == word)
            ),
            Assert((absent != 1) | again | inside.there | fetched | present),
            Assert((absent != 2) | again | fetched | present),
            Assert((absent != 3) | again | present),
            Assert(inside.newest == (inside.written - 1)[: len(inside.written)]),
            Assert(~inside.there | again | (inside.following[1:] != inside.written)),
            Assert(~space_before | (DEPTH - used >= BEAT_WORDS)),
            Assert((base - base_before)[:bits] <= used),
        ]
        return m


def test_words_come_out_in_order_and_again_after_a_rewind(tmp_path: Path):
    assert_proved(tmp_path, Contract(), 4)


@pytest.mark.parametrize("fault", MUTANTS)
def test_the_contract_can_be_broken(fault: str, tmp_path: Path):
    assert_broken(tmp_path, Contract(MUTANTS[fault]), 12)
