"""The value reader proved: rows meet the bytes of their segment in order, in every play of it.

Bytes are numbered as they are written, modulo twice the memory.  The ghost reader says which byte
the next valued row must meet: one more after each, the next word after a segment, its first byte
again after a play that is not the last.  One written byte is tagged and must leave with every
row that is taken while the reader stands at its number.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.event import marks, row
from rtl_gen.kernels.values import ValueReader
from rtl_gen.memory.fill import beat_counter
from tests.formal.prover import assert_broken, assert_proved, mutated, opened, settled

K_BITS, DEPTH, BEAT_WORDS, WORD_BYTES = 2, 4, 2, 2
"""Two bytes to a word instead of eight prove the same in less time."""
LOW = (WORD_BYTES - 1).bit_length()
BEAT_BYTES = BEAT_WORDS * WORD_BYTES
BEATS = DEPTH // BEAT_WORDS
SMALL = ("_WORD_BYTES = 8", f"_WORD_BYTES = {WORD_BYTES}")
MUTANTS = {
    "close token takes a byte": ("byte.eq(byte + needs_byte)", "byte.eq(byte + 1)"),
    "byte kept for the next segment": ("m.d.sync += byte.eq(0)", "m.d.sync += byte.eq(byte)"),
    "rest of a word not dropped": ("Mux(closing, needs_byte | byte.any(),", "Mux(0, 0,"),
    "byte taken before it is there": ("(there | ~needs_byte)", "1"),
    "aligns inside a job": ("with m.If(found.job_end)", "with m.If(found.last)"),
    "plays on instead of again": ("again.eq(closing & found.hold)", "again.eq(0)"),
    "frees what is held": ("take & advance & ~found.hold", "take & advance"),
    "byte lost when the lanes stop": ("store.read_enable.eq(self.enable)",
                                      "store.read_enable.eq(1)"),
    "frees a beat too early": ("base[beat_bits:], self.space", "base[beat_bits:] + 1, self.space"),
}  # fmt: skip


class Contract(wiring.Component):
    """A value reader with free inputs, ghosts and assertions."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        self._kind = mutated(ValueReader, SMALL, *faults)
        super().__init__(
            {
                "start": In(1),
                "write": In(1),
                "beat": In(8 * BEAT_BYTES),
                "row": In(row(K_BITS)),
                "row_valid": In(1),
                "enable": In(1),
                "open": In(1),
                "tag": In(BEAT_BYTES),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = dut = self._kind(K_BITS, depth=DEPTH, beat_words=BEAT_WORDS)
        inside = opened(dut, beat_counter, self._kind._bytes)
        memory = opened(inside.store).store
        store = opened(memory)
        latch = memory.read_data
        bits = len(inside.word) + LOW
        word = inside.word
        head = self.row
        taken, job, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            dut.start.eq(self.start),
            dut.write_enable.eq(self.write),
            dut.write_data.eq(self.beat),
            dut.rows.valid.eq(self.row_valid),
            dut.rows.payload.eq(head),
            dut.enable.eq(self.enable),
            dut.rows_open.eq(self.open),
            taken.eq(self.row_valid & dut.rows.ready),
            ends.eq(taken & head.last & head.segment_end),
        ]
        reader, segment, written = Signal(bits), Signal(bits), Signal(bits)
        first, held, space_before = Signal(init=1), Signal(), Signal()
        after, whole = Signal(bits), Signal(bits)
        aligning = inside.misaligned
        m.d.comb += [
            after.eq(reader + head.valued),
            whole.eq(Cat(Const(0, LOW), (after + WORD_BYTES - 1)[LOW:bits])),
            Assume(~ResetSignal()),
            # One beat may be in flight when the space falls.
            Assume(~self.write | space_before | dut.space),
            # Rows come in a job only and wait until they are taken; a job ends with a segment.
            Assume(~self.row_valid | job),
            Assume(~(self.start & job)),
            Assume(~(self.start & aligning)),
            Assume(settled(m, self.row_valid, dut.rows.ready, head.as_value())),
            Assume(~head.job_end | (head.segment_end & ~head.hold)),
            # A play is held, or it is not.
            Assume(~self.row_valid | first | (head.hold == held)),
        ]
        written_before, replayed, aligned = Signal(bits), Signal(), Signal()
        m.d.sync += [
            space_before.eq(dut.space),
            written.eq(written + Mux(self.write, BEAT_BYTES, 0)),
            written_before.eq(written),
            replayed.eq(ends & head.hold),
            aligned.eq(aligning),
        ]
        with m.If(self.start):
            m.d.sync += job.eq(1)
        with m.If(taken):
            m.d.sync += [held.eq(head.hold), first.eq(0), reader.eq(after)]
        with m.If(ends):
            m.d.sync += [first.eq(1), reader.eq(Mux(head.hold, segment, whole))]
            with m.If(~head.hold):
                m.d.sync += segment.eq(whole)
            with m.If(head.job_end):
                m.d.sync += job.eq(0)
        with m.If(aligning):
            m.d.sync += [reader.eq(reader + WORD_BYTES), segment.eq(reader + WORD_BYTES)]

        # One byte of one beat, until it is freed.
        base, base_before = Signal(bits), Signal(bits)
        m.d.comb += base.eq(Cat(Const(0, LOW), inside.base))
        m.d.sync += base_before.eq(base)
        tagged, seen, alive, meets = Signal(), Signal(), Signal(), Signal()
        number, value = Signal(bits), Signal(8)
        mine, read, stored = (Signal(bits) for _ in range(3))
        # What was freed in the cycle before does not count yet, nor what was written.
        used = Signal(bits)
        absent = replayed | (reader[LOW + 1 :] == written_before[LOW + 1 :])
        for lane in range(BEAT_BYTES):
            with m.If(self.write & self.tag[lane] & ~tagged):
                m.d.sync += [
                    tagged.eq(1),
                    seen.eq(1),
                    number.eq(written + lane),
                    value.eq(self.beat.word_select(lane, 8)),
                ]
        m.d.comb += [
            mine.eq(number - base),
            read.eq(reader - base),
            stored.eq(written - base),
            used.eq(written - base_before),
            alive.eq(seen & (mine < stored)),
            meets.eq(taken & head.valued & alive & (reader == number)),
        ]
        # What the base has left behind is free.
        with m.If(mine >= stored):
            m.d.sync += seen.eq(0)

        # What was taken leaves two enabled cycles later.
        stage = [Signal.like(head, name=f"row{i}") for i in range(2)]
        valid, met = Signal(2), Signal(2)
        with m.If(self.enable):
            m.d.sync += [
                stage[0].eq(head),
                stage[1].eq(stage[0]),
                valid.eq(Cat(taken, valid[0])),
                met.eq(Cat(meets, met[0])),
            ]
        out = dut.events
        names = ("k", "valued", "last", *marks())
        fetching = inside.fetching
        place = store.store.read_port(domain="comb")
        m.d.comb += [
            # The contract.
            Assert(dut.valid == valid[1]),
            *(Assert(~dut.valid | (out[name] == stage[1][name])) for name in names),
            Assert(~(valid[1] & met[1]) | (out.value == value)),
            Assert(~taken | (self.enable & self.open)),
            Assert(~(taken & head.valued) | (read < stored)),
            Assert(stored <= DEPTH * WORD_BYTES),
            Assert(used <= DEPTH * WORD_BYTES),
            Assert(dut.space == ((DEPTH * WORD_BYTES - used) // BEAT_BYTES >= 2)),
            # Nothing but a missing value holds a row back, and a play for a cycle.
            Assert(taken | ~(self.row_valid & self.enable & self.open) | (head.valued & absent)),
            Assert(~aligning | (~job & (reader % BEAT_BYTES != 0))),
            # Invariants for the induction.
            place.addr.eq(number[: len(place.addr)]),
            Assert(inside.fetching_valid == valid[0]),
            *(Assert(~valid[0] | (fetching[name] == stage[0][name])) for name in names),
            Assert(reader == Cat(inside.byte, word)),
            Assert(inside.idle == ~job),
            Assert(job | (first & (inside.byte == 0))),
            Assert(Cat(Const(0, bits - len(inside.written)), inside.written) == written),
            Assert(inside.beat_after == (inside.written + 1)[: len(inside.written)]),
            Assert(segment[:LOW] == 0),
            Assert(~first | (reader == segment)),
            Assert(inside.base == Mux(held | first, segment[LOW:], word)),
            Assert(read <= stored),
            Assert(~seen | tagged),
            Assert(~alive | (place.data == value)),
            Assert(~(valid[0] & met[0]) | (latch == value)),
            Assert(aligned | (inside.there == ~absent)),
            Assert(~aligned | ~job),
            Assert(~replayed | (reader == segment)),
            Assert((written - written_before)[:bits] <= stored),
            Assert((base - base_before)[:bits] <= used),
            Assert(~(met & ~valid).any()),
            Assert(~met.any() | tagged),
            Assert(~space_before | (DEPTH * WORD_BYTES - used >= BEAT_BYTES)),
        ]
        return m


def test_every_play_meets_the_bytes_of_its_segment(tmp_path: Path):
    assert_proved(tmp_path, Contract(), 3)


@pytest.mark.parametrize("fault", MUTANTS)
def test_the_contract_can_be_broken(fault: str, tmp_path: Path):
    assert_broken(tmp_path, Contract(MUTANTS[fault]), 14)
