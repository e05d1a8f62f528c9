"""Weight adapter against the golden step: values, exact latency, stalls."""

import gc

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.numerics.combine import UNIT
from golden.planner.refine import adapt_step_naive
from rtl_gen.fuse.adapter import WeightAdapter


def cases(rng: np.random.Generator, parts: int) -> list[tuple[list[int], list[int], int]]:
    edges = [-(2**31), 2**31 - 1, 0, 1, -1, 40000, -40000]
    found = []
    for number in range(200):
        cuts = np.sort(rng.integers(0, UNIT + 1, parts - 1)).tolist()
        weights = np.diff([0, *cuts, UNIT]).tolist()
        if number % 5 == 0:
            weights = [0] * parts
            weights[int(rng.integers(parts))] = UNIT
        slopes = rng.integers(-(2**31), 2**31, parts) >> int(rng.integers(31))
        slopes = np.where(rng.random(parts) < 0.3, rng.choice(edges, parts), slopes)
        found.append((weights, slopes.tolist(), int(rng.choice([0, 1, 5, 16, 31]))))
    # All parts pushed to one side, so that the remainder passes through several of them.
    edge = [-(2**31)] + [2**31 - 1] * (parts - 1)
    return [
        *found,
        ([UNIT, *[0] * (parts - 1)], edge, 0),
        ([UNIT, *[0] * (parts - 1)], edge[::-1], 0),
    ]


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_adapter_is_the_golden_step(parts: int, rng: np.random.Generator):
    dut = WeightAdapter(parts)
    steps = cases(rng, parts)
    passed_on = 0

    async def bench(ctx):
        nonlocal passed_on
        for weights, slopes, shift in steps:
            ctx.set(dut.steps.payload, {"weights": weights, "gradients": slopes, "shift": shift})
            ctx.set(dut.steps.valid, 1)
            assert ctx.get(dut.steps.ready)
            await ctx.tick()
            # What stands at the input after it was accepted does not matter.
            ctx.set(dut.steps.payload, {"weights": [7] * parts, "gradients": [9] * parts})
            ctx.set(dut.steps.valid, int(rng.integers(2)))
            for _ in range(dut.latency_cycles - 1):
                assert not ctx.get(dut.results.valid)
                assert not ctx.get(dut.steps.ready)
                await ctx.tick()
            for _ in range(int(rng.integers(3))):
                assert ctx.get(dut.results.valid)
                assert not ctx.get(dut.steps.ready)
                await ctx.tick()
            assert ctx.get(dut.results.valid)
            got = [ctx.get(dut.results.payload.weights[i]) for i in range(parts)]
            expected = adapt_step_naive(weights, slopes, shift)
            assert got == expected, (weights, slopes, shift)
            passed_on += sum(w == UNIT for w in expected) == 0
            ctx.set(dut.steps.valid, 0)
            ctx.set(dut.results.ready, 1)
            await ctx.tick()
            ctx.set(dut.results.ready, 0)
            assert not ctx.get(dut.results.valid)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert passed_on > 20  # not everything ends in a corner of the simplex


@pytest.mark.parametrize("parts", [1, 5])
def test_wrong_part_counts_are_refused(parts: int, monkeypatch: pytest.MonkeyPatch):
    # What was refused is never elaborated, of which Amaranth would warn.
    monkeypatch.setattr(WeightAdapter, "_MustUse__silence", True, raising=False)
    with pytest.raises(ValueError, match="parts must be 2 to 4"):
        WeightAdapter(parts)
    gc.collect()
