"""Choice of kernels and rows against loops that try everything."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import KERNELS, preferred
from golden.planner.choose import ByCycles, built_kernels, column_costs, kept_rows
from golden.planner.tile import Tile
from golden.shape import ArrayShape
from tests.bins import draws
from tests.golden.plans import choose_kernel

SHAPE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=64, kernels=tuple(KERNELS), mac="packed",
)  # fmt: skip


def block_of(rng: np.random.Generator, depth: int, columns: int) -> np.ndarray:
    """Random, full, empty, 2:4 and run-structured blocks."""
    style = rng.integers(5)
    block = rng.choice([-128, 127, 1, -1], (depth, columns)).astype(np.int8)
    if style == 0:
        return np.where(rng.random(block.shape) < rng.random(), block, 0).astype(np.int8)
    if style == 1:
        return block
    if style == 2:
        return np.zeros_like(block)
    if style == 3:
        return np.where((np.arange(depth) % 4 < 2)[:, None], block, 0).astype(np.int8)
    runs = rng.random((-(-depth // 8), columns)) < 0.3
    return np.where(runs.repeat(8, 0)[:depth], block, 0).astype(np.int8)


def cycles_of(name: str, block: np.ndarray) -> int:
    kernel = KERNELS[name].configured(SHAPE)
    return max(int(kernel.column_cycles(block != 0).sum()), len(kernel.steps(block).events))


def test_the_choice_is_the_best_of_all(rng: np.random.Generator):
    chosen = set()
    for _ in draws(100, lambda: {"dense", "bitmap", "runlength", "block"} <= chosen):
        block = block_of(rng, int(rng.integers(1, 65)), int(rng.integers(1, 9)))
        best = None
        for place, name in enumerate(preferred()):
            kernel = KERNELS[name].configured(SHAPE)
            if not kernel.accepts(block):
                continue
            words, values = kernel.encode(block)
            key = (cycles_of(name, block), 8 * len(words) + len(values), place)
            best = key if best is None else min(best, key)
        assert best is not None
        kernel, cycles = choose_kernel(built_kernels(SHAPE, "auto"), block)
        assert (kernel.name, cycles) == (preferred()[best[2]], best[0])
        chosen.add(kernel.name)


def test_kernels_that_need_fewer_index_words_are_preferred_where_words_are_short():
    block = np.zeros((64, 8), np.int8)
    block[::2] = 1
    kernels = built_kernels(replace(SHAPE, kernels=("dense", "bitmap")), "auto")
    chooser, columns = ByCycles(kernels), [np.arange(8)]
    for room, name in ((None, "bitmap"), (8, "bitmap"), (7, "dense")):
        ((choice,),) = chooser.choose(0, Tile(block), columns, room)
        assert choice.kernel == name


def test_a_block_that_no_kernel_holds_is_refused():
    kernels = built_kernels(replace(SHAPE, kernels=("nm",)), "auto")
    with pytest.raises(BadInput, match="nm must be able to hold the weights, they are not 2:4"):
        choose_kernel(kernels, np.ones((4, 1), np.int8))


def test_column_costs_are_the_least_of_each_column_alone(rng: np.random.Generator):
    for kernels in (("dense", "nm"), ("bitmap", "nm"), ("dense", "block", "nm"), ("nm",)):
        built = built_kernels(replace(SHAPE, kernels=kernels), "auto")
        for _ in range(20):
            depth = int(rng.integers(1, 150))
            weights = np.hstack([block_of(rng, depth, 3) for _ in range(3)])
            bounds = np.append(np.arange(0, depth, 64), depth)
            tiles = [Tile(weights[a:b]) for a, b in pairwise(bounds)]
            costs = column_costs(built, tiles)
            for tile in range(len(bounds) - 1):
                for column in range(weights.shape[1]):
                    alone = weights[bounds[tile] : bounds[tile + 1], [column]]
                    able = [k.name for k in built if k.accepts(alone)]
                    if able:
                        # Index entries of a tile run on from column to column.
                        slots = [
                            int(KERNELS[n].configured(SHAPE).column_cycles(alone != 0)[0])
                            for n in able
                        ]
                        assert min(slots) <= costs[tile, column]
                        assert costs[tile, column] <= min(cycles_of(n, alone) for n in able)
                    else:
                        assert costs[tile, column] > 1 << 39


def test_rows_that_are_not_needed_go(rng: np.random.Generator):
    weights = rng.integers(1, 128, (100, 5)).astype(np.int8)
    needed = rng.random(100) < 0.5
    weights[~needed] = 0
    kernels = built_kernels(replace(SHAPE, kernels=("dense", "bitmap")), "auto")
    np.testing.assert_array_equal(kept_rows(kernels, weights, needed, 64), np.flatnonzero(needed))
    assert kept_rows(kernels, weights, np.ones(100, bool), 64).tolist() == list(range(100))
    assert kept_rows(kernels, weights * 0, np.zeros(100, bool), 64).tolist() == [0]


def test_runs_stay_whole_for_formats_that_need_them():
    weights = np.zeros((16, 1), np.int8)
    weights[[0, 1, 5, 6, 12, 13]] = 1  # 2:4, but not without row 4
    needed = weights.any(axis=1)
    kernels = built_kernels(SHAPE, "nm")
    kept = kept_rows(kernels, weights, needed, 64)
    assert kept.tolist() == [*range(8), *range(12, 16)]
    assert kernels[0].accepts(weights[kept])
