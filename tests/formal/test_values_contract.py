"""The value reader proved: the n-th valued row of a segment meets byte n mod 8 of word n / 8.

Two ghosts count the valued rows of a segment and the words taken for them; the contract ties one
to the other, so no byte is skipped, used twice or carried into the next segment.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.event import row
from rtl_gen.kernels.values import ValueReader
from tests.formal.prover import assert_broken, assert_proved, mutated, opened, settled

K_BITS = 4
COUNT_BITS = 7
MUTANTS = {
    "close token takes a byte": ("byte + needs_byte", "byte + 1"),
    "byte kept for the next segment": ("byte.eq(0)", "byte.eq(byte)"),
    "rest of a word not dropped": ("Mux(closing, needs_byte | byte.any(),", "Mux(0, 0,"),
    "value taken before it is there": ("(self.values.valid | ~needs_byte)", "1"),
    "aligns inside a job": ("with m.If(found.job_end)", "with m.If(found.last)"),
}


class Contract(wiring.Component):
    """A value reader with free inputs, ghosts and assertions."""

    def __init__(self, kind: type[ValueReader] = ValueReader) -> None:
        self._kind = kind
        super().__init__(
            {
                "start": In(1),
                "row": In(row(K_BITS)),
                "row_valid": In(1),
                "word": In(64),
                "word_valid": In(1),
                "ready": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.reader = reader = self._kind(K_BITS)
        inside = opened(reader)
        events, values = reader.events, reader.values
        taken, job, ends = Signal(), Signal(), Signal()
        rows, words = Signal(COUNT_BITS), Signal(COUNT_BITS - 3)
        after = Signal(COUNT_BITS)
        m.d.comb += [
            reader.start.eq(self.start),
            reader.rows.valid.eq(self.row_valid),
            reader.rows.payload.eq(self.row),
            values.valid.eq(self.word_valid),
            values.payload.eq(self.word),
            events.ready.eq(self.ready),
            taken.eq(events.valid & self.ready),
            ends.eq(self.row.last & self.row.segment_end),
            after.eq(rows + self.row.valued),
            Assume(~ResetSignal()),
            # Rows come in a job only, and the ring keeps to ready/valid while they do.
            Assume(~self.row_valid | job),
            Assume(~(self.start & job)),
            Assume(settled(m, self.row_valid, reader.rows.ready, self.row.as_value())),
            Assume(settled(m, self.word_valid, values.ready, self.word)),
            # A job ends with a segment.
            Assume(~self.row.job_end | self.row.segment_end),
        ]
        with m.If(self.start):
            m.d.sync += job.eq(1)
        with m.If(taken):
            m.d.sync += [rows.eq(Mux(ends, 0, after)), words.eq(Mux(ends, 0, words + values.ready))]
            with m.If(ends & self.row.job_end):
                m.d.sync += job.eq(0)

        whole = (after + 7)[: COUNT_BITS + 1] >> 3
        # A close token's value means nothing.
        value = Mux(self.row.valued, events.payload.value, 0)
        offered = Cat(events.payload.row, value)
        place = self.word.word_select(rows[:3], 8)
        m.d.comb += [
            # The contract.
            Assert(reader.rows.ready == taken),
            Assert(~taken | (events.payload.row == self.row)),
            Assert(~taken | self.row_valid),
            Assert(~(taken & self.row.valued) | self.word_valid),
            Assert(~(taken & self.row.valued) | (events.payload.value == place)),
            Assert(taken | ~values.ready),
            Assert(~values.ready | (self.word_valid | ~self.row.valued)),
            # Words used so far are those whose last byte was used; at an end the rest goes too.
            Assert(words == rows >> 3),
            Assert(~(taken & ends) | ((words + values.ready)[: len(words)] == whole[: len(words)])),
            Assert(reader.rewind == (taken & ends)),
            Assert(reader.hold == (self.row.hold & job)),
            Assert(reader.align == ~job),
            Assert(settled(m, events.valid, self.ready, offered)),
            # Nothing but a missing value holds a row back.
            Assert(events.valid | ~self.row_valid | (self.row.valued & ~self.word_valid)),
            # Invariants.
            Assert(inside.byte == rows[:3]),
            Assert(job | (rows == 0)),
            Assert(inside.idle == ~job),
        ]
        return m


def test_each_row_meets_its_own_byte(tmp_path: Path):
    assert_proved(tmp_path, Contract())


@pytest.mark.parametrize("fault", MUTANTS)
def test_the_contract_can_be_broken(fault: str, tmp_path: Path):
    assert_broken(tmp_path, Contract(mutated(ValueReader, MUTANTS[fault])), 12)
