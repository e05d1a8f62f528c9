"""The verilated array against the golden product and, cycle for cycle, the cycle model."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from golden.cycles.count import CycleCount, count_cycles
from golden.errors import CheckFailed
from golden.formats import KERNELS
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.program.plan import Plan
from golden.shape import ArrayShape
from sim.verilator import ArrayDevice
from tests.bins import draws
from tests.sim.opened import device_of

pytestmark = pytest.mark.slow  # builds simulators

ALL = tuple(KERNELS)
SHAPES = {
    # Groups of two, one beat a row, every kernel.
    "grouped": ArrayShape(
        lanes=4, engines=4, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
        value_words=64, queue=8, data_bits=64, kernels=ALL, mac="packed",
    ),
    # Several rows in a beat, an odd group, primitives of a vendor.
    "rows_per_beat": ArrayShape(
        lanes=2, engines=3, group=3, k_tile=32, columns=5, activation_tiles=4, index_words=32,
        value_words=32, queue=2, data_bits=128, kernels=("dense", "bitmap"), mac="dsp48e2",
        byte_ports=True,
    ),
    # Each engine its own drain, the least tile and rings, several cycles to drain a column.
    "ungrouped": ArrayShape(
        lanes=8, engines=2, group=1, k_tile=16, columns=1, activation_tiles=2, index_words=16,
        value_words=16, queue=4, data_bits=64, kernels=("bitmap", "dense"), mac="split",
    ),
}  # fmt: skip


device = device_of(SHAPES)


def assert_as_models(device: ArrayDevice, a: np.ndarray, w: np.ndarray, kernel: str) -> CycleCount:
    """One product on the RTL; its output, cycles and events must be the models'."""
    plan = plan_matmul(device.shape, a, w, kernel)
    count = count_cycles(plan)
    before = device.cycles, device.events
    output = device.matmul(plan, a, limit=20_000)
    case = f"A {a.shape}, W {w.shape}, kernel {plan.kernel}, segments {plan.segments}"
    assert output.dtype == np.int32
    np.testing.assert_array_equal(output, matmul(a, w), case)
    measured = device.cycles - before[0], device.events - before[1]
    assert measured == (count.cycles, count.events), case
    return count


def structured(w: np.ndarray, shape: ArrayShape) -> np.ndarray:
    """``w`` with the rows cleared that an N:M array could not hold."""
    rows = np.arange(len(w)) % shape.k_tile % shape.nm_m
    return np.where((rows < shape.nm_n)[:, None], w, 0).astype(np.int8)


def fitting(shape: ArrayShape, kernel: str, w: np.ndarray) -> np.ndarray:
    return structured(w, shape) if kernel == "nm" else w


def test_random_products(device: ArrayDevice, rng: np.random.Generator):
    shape = device.shape
    seen: Counter[str] = Counter()
    bins = {*shape.kernels, "replayed", "streamed", "segments", "one segment", "k tiles"}
    bins |= {"partial row", "idle engine", "empty column"}
    for number in draws(60, lambda: bins <= set(seen)):
        kernel = shape.kernels[number % len(shape.kernels)]
        rows = int(rng.integers(1, rng.choice([2, shape.lanes + 1, 6 * shape.lanes])))
        depth = int(rng.integers(1, rng.choice([17, shape.k_tile + 1, 4 * shape.k_tile])))
        outputs = int(rng.integers(1, rng.choice([2, shape.engines + 1, 2 * shape.n_tile + 2])))
        a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
        zero = rng.choice([0.0, 0.5, 0.9, 0.99])
        w[rng.random(w.shape) < zero] = 0
        w[:, rng.random(outputs) < rng.choice([0.0, 0.5])] = 0
        w = fitting(shape, kernel, w)
        plan = plan_matmul(shape, a, w, kernel)
        assert_as_models(device, a, w, kernel)
        seen.update(
            name
            for name, hit in {
                kernel: True,
                "replayed": plan.replay and plan.m_tiles > 1,
                "streamed": not plan.replay,
                "segments": plan.segments > 1,
                "one segment": plan.segments == 1,
                "k tiles": plan.k_tiles > 1,
                "partial row": rows % shape.lanes > 0,
                "idle engine": any((c < 0).any() for s in plan.streams for c in s.columns),
                "empty column": (~w.any(axis=0)).any(),
            }.items()
            if hit
        )


@pytest.mark.parametrize(
    "size", [(1, 1, 1), (1, 1, 7), (7, 1, 1), (1, 67, 1), (2, 3, 5), (13, 37, 11), (31, 5, 3)]
)
def test_small_and_prime_sizes(
    device: ArrayDevice, size: tuple[int, int, int], rng: np.random.Generator
):
    rows, depth, outputs = size
    a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    for kernel in device.shape.kernels:
        assert_as_models(device, a, fitting(device.shape, kernel, w), kernel)


def test_extremes(device: ArrayDevice):
    shape = device.shape
    size = 2 * shape.lanes + 1, 2 * shape.k_tile, shape.engines + 1
    a = np.full(size[:2], -128, np.int8)
    w = np.full(size[1:], -128, np.int8)
    for kernel in shape.kernels:
        held = fitting(shape, kernel, w)
        assert_as_models(device, a, held, kernel)
        opposed = a.copy()
        opposed[:, ::2] = 127
        assert_as_models(device, opposed, held, kernel)
        assert_as_models(device, np.full_like(a, 127), held, kernel)


def test_all_zero_and_one_non_zero(device: ArrayDevice, rng: np.random.Generator):
    shape = device.shape
    size = 3 * shape.lanes, 2 * shape.k_tile + 3, 2 * shape.engines + 1
    a = rng.integers(-128, 128, size[:2]).astype(np.int8)
    w = np.zeros(size[1:], np.int8)
    for kernel in shape.kernels:
        count = assert_as_models(device, a, w, kernel)
        if kernel in ("bitmap", "runlength"):
            assert count.events == 0
        for row, column in ((0, 0), (size[1] - 1, size[2] - 1), (shape.k_tile, 1)):
            one = w.copy()
            one[row, column] = -128
            assert_as_models(device, a, one, kernel)


def test_short_segments_replayed_often(device: ArrayDevice, rng: np.random.Generator):
    # Two short plays fit the decoder's pipeline; the rings must keep each for the next.
    shape = device.shape
    for depth in (1, 2, 4, 7, 8, 9, min(16, shape.k_tile)):
        for tiles in (2, 3, 4, 9):
            a = rng.integers(-128, 128, (tiles * shape.lanes, depth)).astype(np.int8)
            w = rng.integers(1, 128, (depth, shape.engines + 1)).astype(np.int8)
            for kernel in shape.kernels:
                assert_as_models(device, a, fitting(shape, kernel, w), kernel)


def test_more_tiles_of_tokens_than_a_job_holds(device: ArrayDevice, rng: np.random.Generator):
    shape = device.shape
    a = rng.integers(-128, 128, (257 * shape.lanes - 1, 3)).astype(np.int8)
    w = rng.integers(-128, 128, (3, 2)).astype(np.int8)
    assert_as_models(device, a, w, "bitmap")


def test_auto_and_repeatability(device: ArrayDevice, rng: np.random.Generator):
    a = rng.integers(-128, 128, (9, 50)).astype(np.int8)
    w = rng.integers(-128, 128, (50, 9)).astype(np.int8)
    # The same job twice: no state of the first may reach the second.
    assert assert_as_models(device, a, w, "auto") == assert_as_models(device, a, w, "auto")


def test_a_wrong_activation_is_noticed(device: ArrayDevice, rng: np.random.Generator):
    a = rng.integers(-128, 128, (5, 20)).astype(np.int8)
    w = rng.integers(1, 128, (20, 3)).astype(np.int8)
    plan = plan_matmul(device.shape, a, w, "bitmap")
    wrong = a.copy()
    wrong[4, 19] ^= 1
    assert (device.matmul(plan, wrong)[4] != matmul(a, w)[4]).all()


def test_a_starved_array_times_out(device: ArrayDevice, monkeypatch: pytest.MonkeyPatch):
    one = np.ones((1, 1), np.int8)
    plan = plan_matmul(device.shape, one, one, "dense")
    beats = [tuple(part[:0] for part in plan.weight_beats(g)) for g in range(device.shape.groups)]
    monkeypatch.setattr(Plan, "weight_beats", lambda _, group: beats[group])
    with (
        ArrayDevice(device.shape, Path(device._library._name)) as fresh,
        pytest.raises(CheckFailed, match="no stream moved for 300 cycles"),
    ):
        fresh.matmul(plan, one, limit=300)
