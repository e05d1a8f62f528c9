"""Mixed-scale fusion on the verilated array: sums, rounding, weights, cycles, errors."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from golden.cycles.count import DRAIN_LATENCY, count_cycles
from golden.errors import CheckFailed
from golden.formats.block_header import BlockHeader
from golden.numerics.combine import UNIT, round_accumulator
from golden.operators.matmul import matmul
from golden.planner.fused import FusedMatrix
from golden.planner.product import plan_matmul
from golden.planner.scales import mixed_scale
from golden.program.plan import Plan
from golden.shape import ArrayShape
from sim.verilator import ArrayDevice
from tests.bins import draws
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


def random_weights(rng: np.random.Generator, parts: int) -> tuple[int, ...]:
    """Halves, which make ties, or any weights that sum to one, zeros and ones among them."""
    if rng.random() < 0.3:
        weights = [UNIT // 2, UNIT // 2] + [0] * (parts - 2)
    else:
        choices = [0, 1, UNIT, int(rng.integers(UNIT + 1))]
        cuts = np.sort(rng.choice(choices, parts - 1) if rng.random() < 0.3 else
                       rng.integers(0, UNIT + 1, parts - 1))  # fmt: skip
        weights = np.diff([0, *cuts, UNIT]).tolist()
    return tuple(int(w) for w in rng.permutation(weights))


def random_parts(
    rng: np.random.Generator, shape: ArrayShape, depth: int, outputs: int, *, exact: bool = False
) -> FusedMatrix:
    """Two to four parts of random values, weights and kernels."""
    count = int(rng.integers(2, 5))
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < rng.choice([0.0, 0.5, 0.9])] = -128 if rng.random() < 0.1 else 0
    owner = rng.integers(0, count, w.shape)
    parts = tuple(np.where(owner == number, w, 0).astype(np.int8) for number in range(count))
    weights = (UNIT,) * count if exact else random_weights(rng, count)
    return FusedMatrix(parts, weights, tuple(rng.choice(np.array([*shape.kernels, None]), count)))


def defined(shape: ArrayShape, a: np.ndarray, fused: FusedMatrix) -> tuple[np.ndarray, np.ndarray]:
    """The fused product and its accumulator, from the definition and without numpy's tricks."""
    acc = np.zeros((len(a), fused.matrix.shape[1]), np.int64)
    for part, weight in zip(fused.parts, fused.weights, strict=True):
        acc += weight * (a.astype(np.int64) @ part.astype(np.int64))
    return round_accumulator(acc, shape.rounding), acc


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
    others = {"replayed", "segments", "k tiles", "several parts to a tile", "not first"}
    wanted = {f"{n} parts" for n in (2, 3, 4)} | ties | others | {"weight 0", "weight 1"}
    for number in draws(40, lambda: wanted <= set(seen)):
        rows = int(rng.integers(1, rng.choice([2, shape.lanes + 1, 5 * shape.lanes])))
        depth = int(rng.integers(1, rng.choice([17, shape.k_tile + 1, 4 * shape.k_tile])))
        outputs = int(rng.integers(1, rng.choice([2, shape.engines + 1, 2 * shape.n_tile + 2])))
        fused = random_parts(rng, shape, depth, outputs)
        if number % 20 == 0:
            # One part has all the weight, so the others count for nothing.
            heavy = int(rng.integers(len(fused.weights)))
            whole = tuple(UNIT * (part == heavy) for part in range(len(fused.weights)))
            fused = replace(fused, weights=whole)
        a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        if rng.random() < 0.4:
            a //= 32  # small sums tie more often
        plan = plan_matmul(shape, a, fused.matrix, fused=fused)
        expected, acc = defined(shape, a, fused)
        np.testing.assert_array_equal(fused.product(a, shape.rounding), expected)
        case = f"A {a.shape}, W {fused.matrix.shape}, weights {fused.weights}, {fused.kernels}"
        count = assert_as_defined(device, a, plan, expected, case)
        # Fusion costs nothing but the length of the drain, once a job.
        plain = count_cycles(replace(plan, shape=replace(shape, fusion=False)))
        longer = (DRAIN_LATENCY[True] - DRAIN_LATENCY[False]) * len(plan.jobs)
        assert count.cycles == plain.cycles + longer
        tie = acc % UNIT == UNIT // 2
        first = [header.first for header in plan.streams[0].headers]
        seen.update(
            name
            for name, hit in {
                f"{len(fused.parts)} parts": True,
                "tie, down": (tie & (acc // UNIT % 2 == 0) & (acc > 0)).any(),
                "tie, up": (tie & (acc // UNIT % 2 == 1) & (acc > 0)).any(),
                "negative tie, down": (tie & (acc // UNIT % 2 == 0) & (acc < 0)).any(),
                "negative tie, up": (tie & (acc // UNIT % 2 == 1) & (acc < 0)).any(),
                "replayed": plan.replay and plan.m_tiles > 1,
                "segments": plan.segments > 1,
                "k tiles": plan.k_tiles > 1,
                "several parts to a tile": len(plan.streams[0].tiles) > len(
                    np.unique(plan.streams[0].tiles)
                ),
                "not first": not all(first),
                "weight 0": 0 in fused.weights,
                "weight 1": UNIT in fused.weights,
            }.items()
            if hit
        )  # fmt: skip


def test_exact_parts_and_single_parts_are_the_plain_product(
    device: ArrayDevice, rng: np.random.Generator
):
    shape = device.shape
    for number in range(20):
        depth, outputs = (int(n) for n in rng.integers(1, (3 * shape.k_tile, 3 * shape.engines)))
        fused = random_parts(rng, shape, depth, outputs, exact=True)
        a = rng.integers(-128, 128, (2 * shape.lanes + 1, depth)).astype(np.int8)
        w = fused.matrix
        plan = plan_matmul(shape, a, w, fused=fused if number % 2 else None)
        assert not any(stream.mixed for stream in plan.streams)
        assert_as_defined(device, a, plan, matmul(a, w), f"W {w.shape}, {fused.kernels}")


def test_minus_128_everywhere(device: ArrayDevice):
    shape = device.shape
    a = np.full((shape.lanes + 1, 3 * shape.k_tile), -128, np.int8)
    w = np.full((a.shape[1], shape.engines + 1), -128, np.int8)
    owner = np.arange(len(w))[:, None] % 3 + np.zeros_like(w)
    parts = tuple(np.where(owner == number, w, 0).astype(np.int8) for number in range(3))
    fused = FusedMatrix(parts, (1, UNIT - 2, 1), (None,) * 3)
    for operand in (a, np.full_like(a, 127)):
        plan = plan_matmul(shape, operand, w, fused=fused)
        assert_as_defined(device, operand, plan, defined(shape, operand, fused)[0], "corner")


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


def test_real_weights_in_scales_of_their_own(
    device: ArrayDevice, rng: np.random.Generator, fixed_rng: np.random.Generator
):
    shape = device.shape
    # Weights for which two scales pay.
    w = fixed_rng.normal(size=(2 * shape.k_tile, 2 * shape.engines)) * 0.02
    w[fixed_rng.random(w.shape) < 0.02] *= 60
    mixed = mixed_scale(w, shape=shape, byte_limit=4, cycle_limit=4)
    assert len(mixed.parts) > 1
    fused = FusedMatrix.of(mixed)
    a = rng.integers(-127, 128, (shape.lanes, len(w))).astype(np.int8)
    plan = plan_matmul(shape, a, fused.matrix, fused=fused)
    output = device.matmul(plan, a, limit=20_000)
    np.testing.assert_array_equal(output, fused.product(a, shape.rounding))
    # S times the result is the real product of what was quantised, to half a unit of S.
    exact = [[sum(Fraction(int(x)) * Fraction(float(y)) for x, y in zip(row, column, strict=True))
              for column in mixed.real.T] for row in a]  # fmt: skip
    error = np.abs(output * float(mixed.total_scale[0]) - np.array(exact, float))
    assert error.max() <= 0.5001 * float(mixed.total_scale[0])


def broken(plan: Plan, rng: np.random.Generator, how: str) -> Plan:
    """The plan with the weights of one tile of a random engine changed."""
    engine = int(rng.integers(len(plan.streams)))
    stream = plan.streams[engine]
    tile = int(rng.choice(stream.tiles))
    mine = np.flatnonzero(stream.tiles == tile)
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
    w = rng.integers(1, 128, (2 * shape.k_tile, 2 * shape.engines)).astype(np.int8)
    parts = np.where(np.arange(len(w))[:, None] % 2, w, 0).astype(np.int8)
    fused = FusedMatrix((parts, w - parts), (12345, UNIT - 12345), ("bitmap", "bitmap"))
    a = rng.integers(-128, 128, (2 * shape.lanes, len(w))).astype(np.int8)
    plan = plan_matmul(shape, a, fused.matrix, fused=fused)
    with ArrayDevice(shape, Path(device._library._name)) as fresh:
        with pytest.raises(CheckFailed, match=r"0x10 \(fusion_weights\)"):
            fresh.matmul(broken(plan, rng, how), a, limit=500)
        assert fresh.read("STATUS") & 4
        fresh.write("CONTROL", 2)
        assert fresh.read("ERROR") == 0
        np.testing.assert_array_equal(
            fresh.matmul(plan, a, limit=500), fused.product(a, shape.rounding)
        )
