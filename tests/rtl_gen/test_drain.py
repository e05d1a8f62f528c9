"""Drain: partial sums and results under stalls, plain and weighted, engines at their fastest."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.cycles.count import DRAIN_LATENCY
from golden.numerics.combine import UNIT, round_accumulator
from golden.numerics.quantise import Rounding
from golden.shape import ArrayShape
from rtl_gen.array.drain import Drain

RETURN = 3  # cycles from the release of the capture registers to the next waiting column
LIMIT = 40_000


def small(
    rounding: Rounding | None, lanes: int = 2, group: int = 3, columns: int = 1
) -> ArrayShape:
    """Sums of 20 bits, one word or more to a column, captured as plain integers."""
    return ArrayShape(
        lanes=lanes, engines=group, group=group, k_tile=16, columns=columns, activation_tiles=2,
        index_words=16, value_words=16, queue=2, data_bits=64, kernels=("bitmap",), mac="split",
        fusion=rounding is not None, rounding=rounding or "half_even",
    )  # fmt: skip


def work(rng: np.random.Generator, shape: ArrayShape, blocks: int) -> list[list[dict]]:
    """Per engine the columns of some blocks of one to five parts, column by column."""
    engines = []
    limit = 1 << (shape.acc_bits - 1)
    for _ in range(shape.group):
        captured = []
        for _ in range(blocks):
            parts = int(rng.integers(1, 6))
            held = int(rng.integers(1, shape.columns + 1))
            exact = rng.random() < 0.3
            cuts = np.sort(rng.integers(0, UNIT + 1, parts - 1))
            weights = [UNIT] * parts if exact else np.diff([0, *cuts, UNIT]).tolist()
            for part in range(parts):
                for column in range(held):
                    sums = rng.integers(-limit, limit, shape.lanes)
                    edge = rng.random(shape.lanes) < 0.3
                    sums[edge] = rng.choice([-limit, limit - 1, -1, 0, 1], int(edge.sum()))
                    captured.append(
                        {
                            "sums": sums.tolist(),
                            "column": column,
                            "first": part == 0,
                            "final": part == parts - 1,
                            "weight": weights[part],
                            "delay": 0 if rng.random() < 0.7 else int(rng.integers(1, 9)),
                        }
                    )
        engines.append(captured)
    return engines


def expected(shape: ArrayShape, captured: list[dict]) -> list[list[int]]:
    """Results of one engine, in order, from the definition."""
    results, running = [], {}
    for item in captured:
        weight = item["weight"] if shape.fusion else 1
        before = np.zeros(shape.lanes, np.int64) if item["first"] else running[item["column"]]
        total = before + weight * np.array(item["sums"], np.int64)
        running[item["column"]] = total
        if item["final"]:
            rounded = round_accumulator(total, shape.rounding) if shape.fusion else total
            results.append(rounded.tolist())
    return results


@pytest.mark.parametrize(
    ("rounding", "lanes", "columns"),
    [
        *((rounding, *size) for rounding in (None, "half_even")
          for size in ((2, 1), (4, 1), (8, 1), (2, 3))),
        ("half_away", 2, 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("ready", [1.0, 0.6, 0.1])
def test_sums(
    rounding: Rounding | None, lanes: int, columns: int, ready: float, rng: np.random.Generator
):
    """Plain sums without a rounding, weighted ones with it."""
    shape = small(rounding, lanes, columns=columns)
    dut = Drain(shape)
    engines = work(rng, shape, 60 if ready > 0.1 else 25)
    mask = (1 << shape.acc_bits) - 1
    results: list[list[list[int]]] = [[] for _ in engines]
    asked: list[list[int]] = [[] for _ in engines]
    latencies = set()

    async def bench(ctx):
        at = [-1] * len(engines)
        wait = [int(rng.integers(1, 6)) for _ in engines]
        words: list[int] = []
        accept = False
        for cycle in range(LIMIT):
            # A stall lasts for some cycles, as it does on a bus.
            if rng.random() < 0.3:
                accept = rng.random() < ready
            ctx.set(dut.results.ready, accept)
            if ctx.get(dut.results.valid) and accept:
                out = dut.results.payload
                word = ctx.get(out.data)
                for half in (word & 0xFFFFFFFF, word >> 32):
                    words.append((half ^ 1 << 31) - (1 << 31))
                engine = ctx.get(out.engine)
                assert ctx.get(out.last) == (len(words) == lanes)
                if len(words) == lanes:
                    results[engine].append(words)
                    words = []
                    latencies.add(cycle - asked[engine].pop(0))
            released = [ctx.get(getattr(dut, f"done_{e}")) for e in range(len(engines))]
            for e, captured in enumerate(engines):
                assert not released[e] or ctx.get(getattr(dut, f"full_{e}"))
                if released[e] and captured[at[e]]["final"]:
                    asked[e].append(cycle)
            await ctx.tick()
            for e, captured in enumerate(engines):
                if released[e]:
                    ctx.set(getattr(dut, f"full_{e}"), 0)
                    # From now on the engine captures another column.
                    ctx.set(getattr(dut, f"data_{e}"), 0)
                    following = min(at[e] + 1, len(captured) - 1)
                    wait[e] = RETURN - 1 + captured[following]["delay"]
                elif wait[e]:
                    wait[e] -= 1
                    if not wait[e] and at[e] + 1 < len(captured):
                        at[e] += 1
                        item = captured[at[e]]
                        for name in ("column", "first", "final"):
                            ctx.set(getattr(dut, f"{name}_{e}"), item[name])
                        if shape.fusion:
                            ctx.set(getattr(dut, f"weight_{e}"), item["weight"])
                        column = sum(
                            (value & mask) << lane * shape.acc_bits
                            for lane, value in enumerate(item["sums"])
                        )
                        ctx.set(getattr(dut, f"data_{e}"), column)
                        ctx.set(getattr(dut, f"full_{e}"), 1)
            if all(
                len(got) == sum(item["final"] for item in captured)
                for got, captured in zip(results, engines, strict=True)
            ):
                return
        raise AssertionError(f"after {LIMIT} cycles: {[len(got) for got in results]} results")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert results == [expected(shape, captured) for captured in engines]
    # From the last word's grant on.
    assert min(latencies) == dut.latency_cycles == DRAIN_LATENCY[shape.fusion]
    assert (len(latencies) == 1) == (ready == 1.0)
