"""The drain's round robin proved: each waiting column is drained once, whole, and in its turn.

The engines are free, but keep their side: a column waits until it is drained, and then the next
one comes later.  Any engine may be the watched one.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from golden.shape import ArrayShape
from rtl_gen.array.drain import Drain
from tests.formal.prover import assert_broken, assert_proved, mutated, ones, opened, settled

SHAPE = ArrayShape(
    lanes=4, engines=3, group=3, k_tile=16, columns=2, activation_tiles=2, index_words=16,
    value_words=16, queue=2, data_bits=64, kernels=("dense",), mac="packed",
)  # fmt: skip
GROUP, WORDS = SHAPE.group, SHAPE.drain_cycles
MUTANTS = {
    "drained twice": ("& ~leaving[e] & ~recent[e]", ""),
    "released early": ("leaving[e] & last_word & step", "leaving[e] & step"),
    "moves without a taker": ("~self.results.valid | self.results.ready", "1"),
    "one word too few": ("last_word.eq(word == words - 1)", "last_word.eq(1)"),
}  # fmt: skip


class Contract(wiring.Component):
    """A drain with free engines, ghosts and assertions."""

    def __init__(self, kind: type[Drain] = Drain) -> None:
        self._kind = kind
        super().__init__(
            {
                "ready": In(1),
                "watched": In(range(GROUP)),
                "full": In(GROUP),
                "final": In(GROUP),
                "job_end": In(GROUP),
                "column": In(GROUP),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.drain = drain = self._kind(SHAPE)
        inside = opened(drain)
        of = {
            "ask": inside.leaving,
            "done": Cat(getattr(drain, f"done_{e}") for e in range(GROUP)),
        }
        started, watched = Signal(), Signal(range(GROUP))
        for e in range(GROUP):
            for name in ("full", "final", "job_end", "column"):
                m.d.comb += getattr(drain, f"{name}_{e}").eq(getattr(self, name)[e])
            told = Cat(self.final[e], self.job_end[e], self.column[e])
            m.d.comb += Assume(settled(m, self.full[e], of["done"][e], told))
        # An engine needs a cycle to offer the next column.
        done_before = Signal(GROUP)
        m.d.sync += [done_before.eq(of["done"]), started.eq(1), watched.eq(self.watched)]
        m.d.comb += [
            drain.results.ready.eq(self.ready),
            Assume(~ResetSignal()),
            Assume(~(self.full & done_before).any()),
            Assume(self.watched < GROUP),
            Assume(~started | (self.watched == watched)),
        ]

        full, ask, done, final = (
            Array(list(value))[self.watched]
            for value in (self.full, of["ask"], of["done"], self.final)
        )
        others = ones(of["done"]) - done
        recent = Array(list(inside.recent))[self.watched]
        passed, words = Signal(range(GROUP + 2)), Signal(range(WORDS + 1))
        result = drain.results.payload
        leaves = drain.results.valid & self.ready
        # Columns drained to the end whose last result has not left.
        owed = Signal(4)
        mine = leaves & (result.engine == self.watched)
        m.d.sync += [
            # Just left, it may still be passed over: its sums are being written.
            passed.eq(Mux(full & ~done & ~recent, passed + others, 0)),
            words.eq(Mux(done, 0, words + (ask & inside.step))),
            owed.eq(owed + (done & final) - (mine & result.last)),
        ]
        m.d.comb += [
            # The contract.
            Assert(ones(of["ask"]) <= 1),
            Assert(~ask | full),
            Assert(~done | (ask & inside.step & (words == WORDS - 1))),
            Assert(~ask | (inside.word == words)),
            # At most the column that is leaving and one of each other engine go first.
            Assert(passed <= GROUP),
            Assert(~(mine & result.last) | (owed != 0)),
            Assert(settled(m, drain.results.valid, self.ready, Cat(result.engine, result.last))),
        ]

        # Invariants for the induction.
        active, engine = inside.active, inside.engine
        between = Signal(range(GROUP))
        with m.Switch(Cat(engine, self.watched)):
            for e in range(GROUP):
                for w in range(GROUP):
                    with m.Case(e | w << len(engine)):
                        m.d.comb += between.eq((w - e - 1) % GROUP)
        draining = active & (engine == self.watched)
        inside_pipeline = Cat(
            stage["valid"] & stage["final"] & stage["last"] & (stage["engine"] == self.watched)
            for stage in inside.stages[1:]
        )
        m.d.comb += [
            Assert(engine < GROUP),
            Assert(~active | Array(list(self.full))[engine]),
            Assert(active | (inside.word == 0)),
            Assert(words == Mux(draining, inside.word, 0)),
            Assert(owed == ones(inside_pipeline)),
            Assert(draining | (passed + active + between <= GROUP)),
        ]
        return m


def test_columns_are_drained_whole_and_in_turn(tmp_path: Path):
    assert_proved(tmp_path, Contract())


@pytest.mark.parametrize("fault", MUTANTS)
def test_the_contract_can_be_broken(fault: str, tmp_path: Path):
    assert_broken(tmp_path, Contract(mutated(Drain, MUTANTS[fault])), 16)
