"""Mixed-scale fusion on the verilated array: sums, rounding, weights, cycles, errors."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from golden.cycles.count import DRAIN_LATENCY, count_cycles
from golden.errors import CheckFailed
from golden.formats.block_header import BlockHeader
from golden.numerics.combine import UNIT, round_accumulator
from golden.numerics.quantise import quantise_weights
from golden.planner.fused import FusedMatrix, plan_fused
from golden.planner.part_search import OneScale, split_scales
from golden.planner.product import plan_matmul
from golden.planner.tiled import equal_tiles
from golden.program.plan import Plan
from golden.shape import ArrayShape
from sim.verilator import ArrayDevice
from tests.bins import draws
from tests.golden.parted import random_parts
from tests.sim.opened import device_of

pytestmark = pytest.mark.slow  # builds simulators

SHAPES = {
    # Groups of two, two words to a column.
    "grouped": ArrayShape(
        lanes=4, engines=4, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
        value_words=64, queue=8, data_bits=64, kernels=("dense", "bitmap", "runlength", "block"),
        mac="packed", fusion=True,
    ),
    # One column and one word each: an engine's sums return as fast as they can.
    "narrow": ArrayShape(
        lanes=2, engines=3, group=3, k_tile=16, columns=1, activation_tiles=4, index_words=16,
        value_words=16, queue=2, data_bits=64, kernels=("bitmap", "dense"), mac="split",
        fusion=True, rounding="half_away",
    ),
}  # fmt: skip


device = device_of(SHAPES)


def assert_as_defined(
    device: ArrayDevice, a: np.ndarray, plan: Plan, expected: np.ndarray, case: str
):
    """The plan on the RTL; output, cycles and events must be the models'."""
    count = count_cycles(plan)
    before = device.cycles, device.events
    output = device.matmul(plan, a, limit=20_000)
    np.testing.assert_array_equal(output, expected, case)
    measured = device.cycles - before[0], device.events - before[1]
    assert measured == (count.cycles, count.events), case
    return count


def test_random_mixed_products(device: ArrayDevice, rng: np.random.Generator):
    shape = device.shape
    seen: Counter[str] = Counter()
    ties = {f"{sign}tie, {way}" for sign in ("", "negative ") for way in ("down", "up")}
    others = {"replayed", "segments", "k tiles", "several parts to a tile"}
    wanted = ties | others | {"weight 0", "weight 1"}
    for _ in draws(40, lambda: wanted <= set(seen)):
        rows = int(rng.integers(1, rng.choice([2, shape.lanes + 1, 5 * shape.lanes])))
        depth = int(rng.integers(1, rng.choice([17, shape.k_tile + 1, 4 * shape.k_tile])))
        outputs = int(rng.integers(1, rng.choice([2, shape.engines + 1, 2 * shape.n_tile + 2])))
        fused, plan = random_parts(rng, shape, depth, outputs, rows)
        a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        if rng.random() < 0.4:
            a //= 32  # small sums tie more often
        acc = fused.accumulated(a)
        case = f"A {a.shape}, W {fused.matrix.shape}, {fused.shares}, {fused.names}"
        count = assert_as_defined(device, a, plan, round_accumulator(acc, shape.rounding), case)
        # Fusion costs nothing but the length of the drain, once a job.
        plain = count_cycles(replace(plan, shape=replace(shape, fusion=False)))
        longer = (DRAIN_LATENCY[True] - DRAIN_LATENCY[False]) * len(plan.jobs)
        assert count.cycles == plain.cycles + longer
        tie = acc % UNIT == UNIT // 2
        shares = [weight for tile in fused.shares for weight in tile]
        seen.update(
            name
            for name, hit in {
                "tie, down": (tie & (acc // UNIT % 2 == 0) & (acc > 0)).any(),
                "tie, up": (tie & (acc // UNIT % 2 == 1) & (acc > 0)).any(),
                "negative tie, down": (tie & (acc // UNIT % 2 == 0) & (acc < 0)).any(),
                "negative tie, up": (tie & (acc // UNIT % 2 == 1) & (acc < 0)).any(),
                "replayed": plan.replay and plan.m_tiles > 1,
                "segments": plan.segments > 1,
                "k tiles": plan.k_tiles > 1,
                "several parts to a tile": max(len(tile) for tile in fused.shares) > 1,
                "weight 0": 0 in shares,
                "weight 1": UNIT in shares,
            }.items()
            if hit
        )


def tiled(shape: ArrayShape, w: np.ndarray, weights: Sequence[int]) -> FusedMatrix:
    """Equal k tiles with these weights, columns dealt in their order."""
    depth, outputs = w.shape
    bounds = equal_tiles(depth, len(weights), -(-depth // len(weights)))
    most = -(-outputs // shape.engines)
    assignment = tuple(
        np.arange(outputs)[engine * most : (engine + 1) * most] for engine in range(shape.engines)
    )
    shares = np.repeat(np.array(weights)[:, None], outputs, axis=1)
    return FusedMatrix(w, np.arange(depth), bounds, (assignment,), shares, np.ones(outputs))


def test_minus_128_everywhere(device: ArrayDevice):
    shape = device.shape
    w = np.full((3 * shape.k_tile, shape.engines), -128, np.int8)
    fused = tiled(shape, w, (1, UNIT - 2, 1))
    for value in (-128, 127):
        a = np.full((shape.lanes + 1, len(w)), value, np.int8)
        plan = plan_fused(shape, len(a), fused)
        tile = shape.k_tile * value * -128
        total = sum(weight * tile for weight in (1, UNIT - 2, 1))
        expected = round_accumulator(np.full((len(a), w.shape[1]), total), shape.rounding)
        assert_as_defined(device, a, plan, expected, "corner")


@pytest.mark.parametrize("activation", [-128, 127])
def test_saturation(device: ArrayDevice, activation: int):
    # 2**17 products of 2**14 are the first sum that does not fit; a fraction in exact mode alone.
    depth = (1 << 17) + 1200
    a = np.full((1, depth), activation, np.int8)
    w = np.full((depth, 1), -128, np.int8)
    total = depth * activation * -128
    assert not -(2**31) <= total < 2**31
    plan = plan_matmul(device.shape, a, w, "dense", balance="lpt")
    output = device.matmul(plan, a, limit=20_000)
    assert output.tolist() == [[2**31 - 1 if total > 0 else -(2**31)]]


def test_real_weights_in_scales_of_their_own(device: ArrayDevice, fixed_rng: np.random.Generator):
    shape = device.shape
    w = fixed_rng.normal(size=(2 * shape.k_tile, shape.engines)) * 0.02
    w[fixed_rng.random(w.shape) < 0.02] *= 60
    rounded, scale = quantise_weights(w)
    a = fixed_rng.integers(-127, 128, (shape.lanes, len(w))).astype(np.int8)
    one = OneScale(rounded, scale.astype(np.float64), plan_matmul(shape, a, rounded))
    found = split_scales(one, w, a.astype(np.float64), byte_limit=4.0, cycle_limit=4.0)
    fused = found.fused
    assert fused is not None
    assert fused.tiles > 1
    output = device.matmul(found.plan, a, limit=20_000)
    np.testing.assert_array_equal(output, fused.product(a, shape.rounding))
    # S times the result is the real product of what was quantised, to half a unit of S.
    real = fused.real(len(w))
    exact = [[sum(Fraction(int(x)) * Fraction(float(y)) for x, y in zip(row, column, strict=True))
              for column in real.T] for row in a]  # fmt: skip
    error = np.abs(output * fused.scale - np.array(exact, float))
    assert (error <= 0.5001 * fused.scale).all()


def broken(plan: Plan, rng: np.random.Generator, how: str) -> Plan:
    """The plan with the weights of one segment of a random engine changed."""
    engine = int(rng.integers(len(plan.streams)))
    stream = plan.streams[engine]
    mine = np.flatnonzero(stream.tiles // plan.k_tiles == rng.integers(plan.segments))
    starts = np.concatenate([[0], stream.index_cuts])
    index = stream.index.copy()
    changes = {
        "one more": {mine[-1]: lambda h: {"weight": h.weight + 1}},
        "one less": {mine[0]: lambda h: {"weight": h.weight - 1}},
        "round the clock": {part: lambda h: {"weight": 40000} for part in mine},
        "exact by mistake": {mine[0]: lambda h: {"exact": True}},
        "all one, not exact": {part: lambda h: {"weight": UNIT} for part in mine},
        "exact too late": {
            mine[0]: lambda h: {"weight": 1, "exact": False},
            **{part: lambda h: {"weight": UNIT, "exact": True} for part in mine[1:]},
        },
    }
    for part, change in changes[how].items():
        header = BlockHeader.unpack(int(index[starts[part]]))
        index[starts[part]] = replace(header, **change(header)).pack()
    streams = [*plan.streams]
    streams[engine] = replace(stream, index=index)
    return replace(plan, streams=streams)


@pytest.mark.parametrize(
    "how",
    [
        "one more",
        "one less",
        "round the clock",
        "exact by mistake",
        "all one, not exact",
        "exact too late",
    ],
)
def test_broken_weights_stop_the_array(device: ArrayDevice, how: str, rng: np.random.Generator):
    shape = device.shape
    w = rng.integers(1, 128, (2 * shape.k_tile, shape.engines)).astype(np.int8)
    fused = tiled(shape, w, (12345, UNIT - 12345))
    a = rng.integers(-128, 128, (2 * shape.lanes, len(w))).astype(np.int8)
    plan = plan_fused(shape, len(a), fused)
    with ArrayDevice(shape, Path(device._library._name)) as fresh:
        with pytest.raises(CheckFailed, match=r"0x10 \(fusion_weights\)"):
            fresh.matmul(broken(plan, rng, how), a, limit=500)
        assert fresh.read("STATUS") & 4
        fresh.write("CONTROL", 2)
        assert fresh.read("ERROR") == 0
        np.testing.assert_array_equal(
            fresh.matmul(plan, a, limit=500), fused.product(a, shape.rounding)
        )
