"""Blocks of several exact parts on the verilated array: the plain product, cycle for cycle."""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.formats import KERNELS, STORED
from golden.operators.matmul import matmul
from golden.planner.block_selector import BlockSelector
from golden.planner.model_table import computed_table
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape
from sim.verilator import ArrayDevice
from tests.bins import draws
from tests.golden.plans import BlockByBlock, choose_kernel
from tests.sim.opened import device_of

pytestmark = pytest.mark.slow  # builds simulators

ALL = STORED
SHAPES = {
    "grouped": ArrayShape(
        lanes=4, engines=4, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
        value_words=64, queue=8, data_bits=64, kernels=ALL, mac="packed",
    ),
    "narrow": ArrayShape(
        lanes=2, engines=3, group=3, k_tile=16, columns=1, activation_tiles=4, index_words=16,
        value_words=16, queue=2, data_bits=64, kernels=("bitmap", "dense"), mac="split",
    ),
}  # fmt: skip


device = device_of(SHAPES)


def masked(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """Full runs of rows with a few values scattered around them, now and then one alone."""
    w = rng.integers(1, 128, (depth, outputs)) * rng.choice([-1, 1], (depth, outputs))
    runs = np.repeat(rng.random((depth // 8 + 1, outputs)) < rng.choice([0.0, 0.5]), 8, axis=0)
    keep = runs[:depth] | (rng.random(w.shape) < rng.choice([0.0, 0.02, 0.05]))
    return np.where(keep, w, 0).astype(np.int8)


def random_split(rng: np.random.Generator, shape: ArrayShape) -> Callable:
    """One to four parts with random places and kernels that can hold them."""
    kernels = [KERNELS[name].configured(shape) for name in shape.kernels]

    def split(block: np.ndarray) -> list[tuple[str, np.ndarray]]:
        owner = rng.integers(0, int(rng.integers(1, 5)), block.shape)
        parts = []
        for number in range(owner.max() + 1):
            part = np.where(owner == number, block, 0).astype(np.int8)
            able = [kernel.name for kernel in kernels if kernel.accepts(part)]
            parts.append((str(rng.choice(able)), part))
        return parts

    return split


def run(device: ArrayDevice, a: np.ndarray, w: np.ndarray, split: Callable | BlockSelector, **how):
    """One product on the RTL against the models; the numbers of parts of its blocks."""
    chooser = split if isinstance(split, BlockSelector) else BlockByBlock(device.shape, split)
    plan = plan_matmul(device.shape, a, w, chooser=chooser, **how)
    count = count_cycles(plan)
    before = device.cycles, device.events
    output = device.matmul(plan, a, limit=20_000)
    case = f"A {a.shape}, W {w.shape}, {plan.kernel_blocks}, {how}"
    np.testing.assert_array_equal(output, matmul(a, w), case)
    assert (device.cycles - before[0], device.events - before[1]) == (
        count.cycles,
        count.events,
    ), case
    parts = Counter(np.concatenate([np.unique(s.tiles, return_counts=True)[1]
                                    for s in plan.streams]).tolist())  # fmt: skip
    return plan, parts


def test_random_parts(device: ArrayDevice, rng: np.random.Generator):
    shape = device.shape
    seen: Counter[object] = Counter()
    bins = (1, 2, 3, 4, "k tiles", "segments", "replayed")
    for number in draws(40, lambda: all(seen[name] for name in bins)):
        rows = int(rng.integers(1, rng.choice([2, shape.lanes + 1, 5 * shape.lanes])))
        depth = int(rng.integers(1, rng.choice([17, shape.k_tile + 1, 4 * shape.k_tile])))
        outputs = int(rng.integers(1, rng.choice([2, shape.engines + 1, 2 * shape.n_tile + 2])))
        a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
        w[rng.random(w.shape) < rng.choice([0.0, 0.5, 0.9, 1.0])] = 0
        k_split = "auto" if number % 3 == 0 else 1
        plan, parts = run(device, a, w, random_split(rng, shape), k_split=k_split)
        seen.update(parts)
        seen.update({"k tiles": plan.k_tiles > 1, "segments": plan.segments > 1})
        seen["replayed"] += plan.replay and plan.m_tiles > 1
    assert all(seen[name] for name in bins)


def test_the_compilers_strategy(device: ArrayDevice, rng: np.random.Generator):
    shape = device.shape
    selector = BlockSelector(shape, computed_table(shape, "0" * 64), Fraction(1))
    seen: Counter[int] = Counter()
    # An array of two kernels that both hold anything has no use for a second part.
    wanted = {1} if len(shape.kernels) == 2 else {1, 2}
    for number in draws(12, lambda: wanted <= set(seen)):
        depth = int(rng.integers(shape.k_tile // 2, 2 * shape.k_tile))
        w = masked(rng, depth, int(rng.integers(1, 2 * shape.n_tile)))
        if number == 0:
            # Full runs beside strays: two parts wherever an array has runs without an index.
            w = np.zeros((64, shape.n_tile), np.int8)
            w[:32] = 5
            w[40::13] = -128
            depth = len(w)
        a = rng.integers(-128, 128, (2 * shape.lanes + 1, depth)).astype(np.int8)
        _, parts = run(device, a, w, selector)
        seen.update(parts)
    assert wanted <= set(seen)


def test_parts_that_leave_their_kernel_open(device: ArrayDevice, rng: np.random.Generator):
    shape = device.shape
    w = masked(rng, 2 * shape.k_tile + 5, 3 * shape.engines)
    # A column without gaps, so that enough rows are left for several tiles.
    w[:, 0] = 1
    w[::7] = 0
    a = rng.integers(-128, 128, (shape.lanes + 1, len(w))).astype(np.int8)
    kernels = [KERNELS[name].configured(shape) for name in shape.kernels]

    def split(block: np.ndarray) -> list[tuple[str, np.ndarray]]:
        owner = np.arange(block.shape[1]) % 2 == 0
        first = np.where(owner, block, 0).astype(np.int8)
        open_kernel, _ = choose_kernel(kernels, first)
        return [
            (open_kernel.name, first),
            ("bitmap", np.where(owner, 0, block).astype(np.int8)),
        ]

    for k_split in (1, "auto"):
        plan, parts = run(device, a, w, split, k_split=k_split)
        assert plan.k_tiles > 1
        assert parts[2] > 0
