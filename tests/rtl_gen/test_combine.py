"""Fusion unit and weight checker against the golden arithmetic, under stalls."""

from collections.abc import Callable

import numpy as np
import pytest
from amaranth.lib import wiring
from amaranth.sim import Simulator

from golden.numerics.combine import UNIT, accumulate, round_accumulator
from golden.numerics.quantise import Rounding
from rtl_gen.fuse.combine import HALF, FusionUnit, WeightSumChecker

CORNERS = [-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 1]
EDGES = [
    -(2**47),
    2**47 - 1 - HALF,
    UNIT // 2,
    -UNIT // 2,
    3 * UNIT // 2,
    -3 * UNIT // 2,
    -(2**31) * UNIT - UNIT // 2,
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


def transfers(rng: np.random.Generator, count: int, lanes: int) -> list[dict]:
    items = []
    for _ in range(count):
        corner = rng.random(lanes) < 0.3
        sums = np.where(corner, rng.choice(CORNERS, lanes), rng.integers(-(2**31), 2**31, lanes))
        running = rng.integers(-(2**47), 2**47, lanes) >> rng.integers(0, 40)
        running = np.where(rng.random(lanes) < 0.3, rng.choice(EDGES, lanes), running)
        weight = int(rng.choice([0, 1, UNIT // 2, UNIT, rng.integers(UNIT + 1)]))
        # An accumulator holds a half more than the sum and must still fit.
        fits = np.abs(running + weight * sums) < 2**47 - HALF
        items.append(
            {
                "sums": [int(v) for v in sums],
                "running": [int(v) for v in np.where(fits, running, 0)],
                "weight": weight,
                "first": int(rng.integers(2)),
                "last": int(rng.integers(2)),
            }
        )
    return items


def expected(item: dict, rounding: Rounding) -> tuple[list[int], list[int], int]:
    acc = accumulate(item["running"], item["sums"], item["weight"], first=bool(item["first"]))
    return acc.tolist(), round_accumulator(acc, rounding).tolist(), item["last"]


@pytest.mark.parametrize(("words", "rounding"), [(1, "half_even"), (1, "half_away"),
                                                 (2, "half_even")])  # fmt: skip
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_fusion_unit(words: int, rounding: Rounding, stall: float, rng: np.random.Generator):
    dut = FusionUnit(words, rounding)
    items = transfers(rng, 300, 2 * words)
    seen: list[tuple[int, tuple]] = []
    sent: list[int] = []
    cycle = 0

    async def bench(ctx):
        nonlocal cycle
        offered = None
        queue = list(items)
        while len(seen) < len(items):
            if offered is None and queue and rng.random() >= stall:
                offered = queue.pop(0)
                held = [value + HALF for value in offered["running"]]
                ctx.set(dut.partials.payload, offered | {"running": held})
            ctx.set(dut.partials.valid, offered is not None)
            ctx.set(dut.results.ready, rng.random() >= stall)
            if ctx.get(dut.results.valid & dut.results.ready):
                out = dut.results.payload
                lanes = range(2 * words)
                running = [ctx.get(out.running[lane]) - HALF for lane in lanes]
                sums = [ctx.get(out.sums[lane]) for lane in lanes]
                seen.append((cycle, (running, sums, ctx.get(out.last))))
            if ctx.get(dut.partials.valid & dut.partials.ready):
                sent.append(cycle)
                offered = None
            cycle += 1
            assert cycle < 40 * len(items)
            await ctx.tick()
        ctx.set(dut.partials.valid, 0)
        ctx.set(dut.results.ready, 1)
        for _ in range(5):
            await ctx.tick()
            assert not ctx.get(dut.results.valid)

    simulate(dut, bench)
    assert [values for _, values in seen] == [expected(item, rounding) for item in items]
    latencies = [out - into for (out, _), into in zip(seen, sent, strict=True)]
    if stall:
        assert min(latencies) == dut.latency_cycles < max(latencies)
    else:
        assert set(latencies) == {dut.latency_cycles}
        assert np.diff(sent).tolist() == [1] * (len(items) - 1)


def test_parts_through_the_unit_are_a_fused_column(rng: np.random.Generator):
    dut = FusionUnit()
    weights = [3000, 9768, 20000]
    partials = rng.integers(-(2**31), 2**31, (3, 2))

    async def bench(ctx):
        running = [12345, -999]  # ignored by the first part
        ctx.set(dut.results.ready, 1)
        for number, weight in enumerate(weights):
            sums = [int(v) for v in partials[number]]
            payload = {"sums": sums, "running": running, "weight": weight}
            flags = {"first": number == 0, "last": number == 2}
            ctx.set(dut.partials.payload, {**payload, **flags})
            ctx.set(dut.partials.valid, 1)
            await ctx.tick()
            ctx.set(dut.partials.valid, 0)
            await ctx.tick().repeat(dut.latency_cycles - 1)
            assert ctx.get(dut.results.valid)
            running = [ctx.get(dut.results.payload.running[lane]) for lane in range(2)]
        exact = [
            sum(w * int(p) for w, p in zip(weights, partials[:, i], strict=True)) for i in (0, 1)
        ]
        assert running == [value + HALF for value in exact]
        got = [ctx.get(dut.results.payload.sums[lane]) for lane in range(2)]
        assert got == round_accumulator(exact).tolist()

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
