"""The queue proved: what went in comes out once, in order and unchanged, two cycles later.

One written item is tagged; a ghost counts how many reads lie before it.  Invariants tie the count
to level, head and memory, so that the proof holds for runs of any length.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.memory import Queue
from tests.formal.prover import assert_broken, assert_proved, mutated, opened, settled

WIDTH = 16
MUTANTS = {
    "one item too many": ("room.eq(level != depth - 1)", "room.eq(1)"),
    "head overtaken": ("load.eq(some & (~valid | self.read.ready))", "load.eq(some)"),
    "last item forgotten": ("some.eq(level != 1)", "some.eq(0)"),
    "full for ever": ("level.eq(level - 1), some.eq(level != 1), room.eq(1)",
                      "level.eq(level - 1), some.eq(level != 1), room.eq(room)"),
}  # fmt: skip


class Contract(wiring.Component):
    """A queue with free inputs, ghosts and assertions."""

    def __init__(self, kind: type[Queue] = Queue, depth: int = 8) -> None:
        self._kind = kind
        self._depth = depth
        super().__init__({"tag": In(1), "valid": In(1), "ready": In(1), "item": In(WIDTH)})

    def elaborate(self, platform):
        m = Module()
        depth = self._depth
        m.submodules.queue = queue = self._kind(WIDTH, depth)
        inside = opened(queue)
        push, pop = Signal(), Signal()
        tagged, waiting = Signal(), Signal()
        item = Signal(WIDTH)
        ahead, inhabitants, stalled = Signal(range(depth + 2)), Signal(range(depth + 2)), Signal(2)
        m.d.comb += [
            queue.write.valid.eq(self.valid),
            queue.write.payload.eq(self.item),
            queue.read.ready.eq(self.ready),
            push.eq(self.valid & queue.write.ready),
            pop.eq(queue.read.valid & self.ready),
            inhabitants.eq(inside.level + inside.valid),
            Assume(~ResetSignal()),
        ]
        count = Signal(range(depth + 2))
        m.d.sync += count.eq(count + push - pop)
        with m.If(push & self.tag & ~tagged):
            m.d.sync += [tagged.eq(1), waiting.eq(1), item.eq(self.item), ahead.eq(count - pop)]
        with m.If(pop & waiting):
            m.d.sync += [ahead.eq(ahead - 1), waiting.eq(ahead != 0)]
        # Cycles in which something is inside and nothing is offered.
        m.d.sync += stalled.eq(Mux((count != 0) & ~queue.read.valid, stalled + 1, 0))

        # The contract.
        m.d.comb += [
            Assert(~(pop & waiting & (ahead == 0)) | (queue.read.payload == item)),
            Assert(~pop | (count != 0)),
            Assert(count <= depth + 1),
            Assert(settled(m, queue.read.valid, self.ready, queue.read.payload)),
            Assert(stalled <= 1),
            # Refuses only if it is full but for the head.
            Assert(queue.write.ready | (inside.level == depth)),
        ]

        # Invariants for the induction.
        place = inside.store.read_port(domain="comb")
        m.d.comb += [
            place.addr.eq(inside.read.addr + ahead - inside.valid),
            Assert(count == inhabitants),
            Assert(inside.level <= depth),
            Assert(inside.some == (inside.level != 0)),
            Assert(inside.room == (inside.level != depth)),
            Assert(inside.write.addr == (inside.read.addr + inside.level)[: len(place.addr)]),
            Assert(~(stalled == 1) | inside.valid | (count == 0)),
            Assert(~waiting | (tagged & (ahead < inhabitants))),
            Assert(~waiting | ((inside.valid & (ahead == 0)) | (place.data == item))),
            Assert(~(waiting & inside.valid & (ahead == 0)) | (inside.head == item)),
        ]
        return m


def test_an_item_comes_out_once_and_in_order(tmp_path: Path):
    assert_proved(tmp_path, Contract())


@pytest.mark.parametrize("fault", MUTANTS)
def test_the_contract_can_be_broken(fault: str, tmp_path: Path):
    assert_broken(tmp_path, Contract(mutated(Queue, MUTANTS[fault]), depth=4), 8)
