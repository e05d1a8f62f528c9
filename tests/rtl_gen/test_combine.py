"""Weighted sums and the weight checker against the golden arithmetic."""

from collections.abc import Callable

import numpy as np
import pytest
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from golden.numerics.combine import ACCUMULATOR_BITS, UNIT, accumulate, round_accumulator
from golden.numerics.quantise import Rounding
from rtl_gen.fuse.combine import HALF, WEIGHT_BITS, WeightSumChecker, weighted_sum

CORNERS = [-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1]
EDGES = [
    -(2**47),
    2**47 - 1 - HALF,
    UNIT // 2,
    -UNIT // 2,
    3 * UNIT // 2,
    0,
    2**46,
    (2**31) * UNIT - 1,
]


def simulate(dut: wiring.Component, *benches: Callable) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


class _Sum(wiring.Component):
    """`weighted_sum` of one lane, its operands in step."""

    def __init__(self, rounding: Rounding = "half_even") -> None:
        self._rounding: Rounding = rounding
        ports = {"value": signed(32), "running": signed(ACCUMULATOR_BITS), "weight": WEIGHT_BITS}
        super().__init__(
            {
                **{name: In(shape) for name, shape in ports.items()},
                "step": In(1),
                "first": In(1),
                "total": Out(signed(ACCUMULATOR_BITS)),
                "rounded": Out(signed(32)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # ``first`` goes with the product, one stage after the operands.
        begun = Signal()
        running = Signal.like(self.running)
        with m.If(self.step):
            m.d.sync += [begun.eq(self.first), running.eq(self.running)]
        total, rounded = weighted_sum(
            m,
            step=self.step,
            value=self.value,
            weight=self.weight,
            running=running,
            first=begun,
            rounding=self._rounding,
            name="",
        )
        m.d.comb += [self.total.eq(total), self.rounded.eq(rounded)]
        return m


def sums(rng: np.random.Generator, count: int) -> list[dict[str, int]]:
    """Operands of full range and corners whose sums an accumulator holds."""
    items = []
    for _ in range(count):
        value = int(rng.choice([*CORNERS, rng.integers(-(2**31), 2**31)]))
        running = int(rng.choice([*EDGES, rng.integers(-(2**47), 2**47) >> rng.integers(0, 40)]))
        weight = int(rng.choice([0, 1, UNIT // 2, UNIT, rng.integers(UNIT + 1)]))
        # An accumulator holds a half more than the sum and must still fit.
        fits = abs(running + weight * value) < 2**47 - HALF
        first = int(rng.integers(2))
        items.append({"value": value, "running": running * fits, "weight": weight, "first": first})
    return items


@pytest.mark.parametrize("rounding", ["half_even", "half_away"])
def test_weighted_sums_take_two_steps_and_round(rounding: Rounding, rng: np.random.Generator):
    dut = _Sum(rounding)
    items = sums(rng, 300)
    got: list[tuple[int, int]] = []

    async def bench(ctx):
        for item in [*items, items[0], items[0]]:
            for name, value in item.items():
                ctx.set(getattr(dut, name), value + HALF * (name == "running"))
            # Whatever stands there while nothing steps is not taken.
            for moves in (*(0 for _ in range(rng.integers(0, 3))), 1):
                ctx.set(dut.step, moves)
                await ctx.tick()
            got.append((ctx.get(dut.total) - HALF, ctx.get(dut.rounded)))

    simulate(dut, bench)
    want = []
    for item in items:
        acc = accumulate(item["running"], item["value"], item["weight"], first=bool(item["first"]))
        want.append((int(acc), int(round_accumulator(acc, rounding))))
    assert got[1 : 1 + len(items)] == want


def test_parts_in_turn_are_a_fused_column(rng: np.random.Generator):
    dut = _Sum()
    weights = [3000, 9768, 20000]
    partials = rng.integers(-(2**31), 2**31, 3).tolist()

    async def bench(ctx):
        ctx.set(dut.step, 1)
        ctx.set(dut.running, 12345)  # ignored by the first part
        for number, (weight, partial) in enumerate(zip(weights, partials, strict=True)):
            ctx.set(dut.value, partial)
            ctx.set(dut.weight, weight)
            ctx.set(dut.first, number == 0)
            await ctx.tick().repeat(2)
            ctx.set(dut.running, ctx.get(dut.total))
        exact = sum(w * p for w, p in zip(weights, partials, strict=True))
        assert ctx.get(dut.total) == exact + HALF
        assert ctx.get(dut.rounded) == int(round_accumulator(exact))

    simulate(dut, bench)


def broken(headers: list[tuple[int, int, int, int]]) -> list[bool]:
    """Sticky error after each header (weight, first, last, exact), from the rule's own words."""
    out: list[bool] = []
    block: list[int] | None = None
    error = False
    for weight, first, last, exact in headers:
        if bool(first) != (block is None):
            error = True
        block = [weight] if first or block is None else [*block, weight]
        if exact:
            error |= weight != UNIT
        else:
            error |= sum(block) > UNIT or (bool(last) and sum(block) != UNIT)
        if last:
            block = None
        out.append(error)
    return out


def run_checker(headers: list[tuple[int, int, int, int]]) -> list[bool]:
    dut = WeightSumChecker()
    got: list[bool] = []

    async def bench(ctx):
        for weight, first, last, exact in headers:
            ctx.set(dut.weight, weight)
            ctx.set(dut.first, first)
            ctx.set(dut.last, last)
            ctx.set(dut.exact, exact)
            ctx.set(dut.valid, 1)
            await ctx.tick()
            got.append(bool(ctx.get(dut.error)))
            ctx.set(dut.valid, 0)
            ctx.set(dut.weight, 0xFFFF)
            await ctx.tick()
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        assert not ctx.get(dut.error)
        # The next block begins afresh, whatever was in progress.
        for weight, first, last in ((UNIT - 5, 1, 0), (5, 0, 1)):
            ctx.set(dut.weight, weight)
            ctx.set(dut.first, first)
            ctx.set(dut.last, last)
            ctx.set(dut.exact, 0)
            ctx.set(dut.valid, 1)
            await ctx.tick()
        assert not ctx.get(dut.error)

    simulate(dut, bench)
    return got


def test_checker_accepts_good_blocks(rng: np.random.Generator):
    headers = []
    for parts in (1, 2, 3, 4, 9):
        cuts = np.sort(rng.integers(0, UNIT + 1, parts - 1)).tolist()
        weights = np.diff([0, *cuts, UNIT]).tolist()
        headers += [(w, i == 0, i == parts - 1, 0) for i, w in enumerate(weights)]
        headers += [(UNIT, i == 0, i == parts - 1, 1) for i in range(parts)]
    assert run_checker(headers) == [False] * len(headers) == broken(headers)


@pytest.mark.parametrize(
    "headers",
    [
        [(UNIT - 1, 1, 1, 0)],
        [(UNIT + 1, 1, 1, 0)],
        [(UNIT, 1, 0, 0), (1, 0, 1, 0)],
        [(UNIT, 1, 1, 0), (UNIT, 0, 1, 0)],
        [(100, 1, 0, 0), (UNIT, 1, 1, 0)],
        [(UNIT, 1, 0, 1), (UNIT - 1, 0, 1, 1)],
        # A sum that comes round to UNIT modulo 2**16 is still wrong.
        [(40000, 1, 0, 0), (40000, 0, 0, 0), (18304, 0, 1, 0)],
    ],
)
def test_checker_finds_each_fault(headers: list[tuple[int, int, int, int]]):
    got = run_checker(headers)
    assert got[-1]
    assert got == broken(headers)


def test_checker_on_random_headers(rng: np.random.Generator):
    for _ in range(20):
        headers = [
            (int(rng.choice([0, 1, UNIT // 2, UNIT - 1, UNIT])), *map(int, rng.integers(0, 2, 3)))
            for _ in range(6)
        ]
        assert run_checker(headers) == broken(headers)
