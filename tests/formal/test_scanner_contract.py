"""The kernels' scanner proved: each set bit comes out once, lowest first, last on the final one.

A mask takes as many slots as it has bits, an empty one a single slot for its close token.  One
bit of one mask is tagged, or the token, and a ghost counts the slots before it.  Since every slot
may be the tagged one and their number is conserved, nothing else comes out either.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In

from rtl_gen import event
from rtl_gen.event import chunk, column_flags
from rtl_gen.kernels.scanner import ChunkScanner
from tests.formal.prover import assert_broken, assert_proved, mutated, ones, opened, settled

CHUNK = 8
"""Half the rows of a mask: the same proof, without the half minute that counting 16 bits takes."""
K_BITS = 6
MUTANTS = {
    "bit never cleared": ("rest.eq(without_lowest(m, source))", "rest.eq(source)"),
    "last on every row": ("held.chunk.last & ~more", "held.chunk.last"),
    "mask overwritten": ("self.chunks.ready.eq(~waiting_valid | move)", "self.chunks.ready.eq(1)"),
    "close token swallowed": ("self.rows.valid.eq(held_valid)",
                              "self.rows.valid.eq(held_valid & occupied)"),
    "moves on without a taker": ("(self.rows.ready & ~more)", "~more"),
}  # fmt: skip


class Contract(wiring.Component):
    """A scanner with free inputs, ghosts and assertions."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        half = ("from golden.formats import CHUNK", f"CHUNK = {CHUNK}")
        self._kind = mutated(ChunkScanner, half, *faults)
        self._low = (CHUNK - 1).bit_length()
        held = data.StructLayout(
            {"chunk": chunk(K_BITS), "flags": data.StructLayout(column_flags())}
        )
        super().__init__(
            {
                "tag": In(1),
                "lane": In(self._low),
                "valid": In(1),
                "ready": In(1),
                "mask": In(held),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.scan = scan = self._kind(K_BITS)
        inside = opened(scan)
        out = scan.rows.payload
        accepted, taken = Signal(), Signal()
        m.d.comb += [
            scan.chunks.valid.eq(self.valid),
            scan.chunks.payload.eq(self.mask),
            scan.rows.ready.eq(self.ready),
            accepted.eq(self.valid & scan.chunks.ready),
            taken.eq(scan.rows.valid & self.ready),
            Assume(~ResetSignal()),
        ]

        def slots(valid: Value, mask: Value) -> Value:
            return Mux(valid, Mux(mask.any(), ones(mask), 1), 0)

        def below(mask: Value, lane: Value) -> Value:
            return ones(mask & ((1 << lane) - 1)[:CHUNK])

        waiting, held = inside.waiting, inside.held
        # What is left of the held mask: the row on offer and those behind it.
        left = Signal(CHUNK)
        m.d.comb += left.eq(inside.rest | (inside.occupied << inside.low))
        waiting_slots = Signal(5)
        held_slots = Signal(5)
        count, ahead = Signal(6), Signal(6)
        tagged, pending = Signal(), Signal()
        item = Signal(self.mask.shape())
        lane = Signal(self._low)
        bits = item.chunk.mask
        m.d.comb += [
            waiting_slots.eq(slots(inside.waiting_valid, waiting.chunk.mask)),
            held_slots.eq(slots(inside.held_valid, left)),
        ]
        m.d.sync += count.eq(count + Mux(accepted, slots(1, self.mask.chunk.mask), 0) - taken)
        wanted = self.mask.chunk.mask.bit_select(self.lane, 1) | ~self.mask.chunk.mask.any()
        with m.If(accepted & self.tag & ~tagged & wanted):
            m.d.sync += [
                tagged.eq(1),
                pending.eq(1),
                item.eq(self.mask),
                lane.eq(self.lane),
                ahead.eq(count - taken + below(self.mask.chunk.mask, self.lane)),
            ]
        with m.If(taken & pending):
            m.d.sync += [ahead.eq(ahead - 1), pending.eq(ahead != 0)]

        # The contract.
        hit = taken & pending & (ahead == 0)
        higher = (bits >> lane)[1:].any()
        token = ~bits.any()
        m.d.comb += [
            Assert(~hit | (out.valued == ~token)),
            Assert(~hit | token | (out.k == Cat(lane, item.chunk.base))),
            Assert(~hit | (out.last == (item.chunk.last & ~higher))),
            *(Assert(~hit | (out[name] == item.flags[name])) for name, _ in item.flags.shape()),
            Assert(~taken | (count != 0)),
            Assert(scan.empty == (count == 0)),
            Assert(settled(m, scan.rows.valid, self.ready, out.as_value())),
            # Never two cycles in a row without an offer while something is inside.
            Assert(scan.rows.valid | (count == 0) | inside.move),
        ]

        # Invariants for the induction.
        m.d.comb += [
            Assert(count == waiting_slots + held_slots),
            Assert(~inside.held_valid | inside.occupied | ~inside.rest.any()),
            Assert(~inside.held_valid | (inside.more == inside.rest.any())),
            Assert(~inside.held_valid | ~below(inside.rest, inside.low + 1).any()),
            Assert(~pending | tagged),
            Assert(~pending | token | bits.bit_select(lane, 1)),
        ]
        in_waiting, in_held = Signal(), Signal()
        same = [
            Cat(part.chunk.base, part.chunk.last, part.flags)
            == Cat(item.chunk.base, item.chunk.last, item.flags)
            for part in (waiting, held)
        ]
        # Of the tagged mask the rows from the tagged one on are still there.
        later = bits & ~((1 << lane) - 1)[:CHUNK]
        m.d.comb += [
            in_waiting.eq(
                inside.waiting_valid
                & same[0]
                & (waiting.chunk.mask == bits)
                & (ahead == held_slots + below(waiting.chunk.mask, lane))
            ),
            in_held.eq(
                inside.held_valid
                & same[1]
                & ((left & ~((1 << lane) - 1)[:CHUNK]) == later)
                & ~(token & inside.occupied)
                & (ahead == below(left, lane))
            ),
            Assert(~pending | in_waiting | in_held),
        ]
        return m


@pytest.fixture(autouse=True)
def half_a_mask(monkeypatch):
    monkeypatch.setattr(event, "CHUNK", CHUNK)


def test_every_bit_comes_out_once_lowest_first(tmp_path: Path):
    assert_proved(tmp_path, Contract())


@pytest.mark.parametrize("fault", MUTANTS)
def test_the_contract_can_be_broken(fault: str, tmp_path: Path):
    assert_broken(tmp_path, Contract(MUTANTS[fault]), 6)
