"""Grouped columns: every column once, like ones together, k tiles where structure changes."""

from dataclasses import replace

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.errors import BadInput
from golden.formats import KERNELS
from golden.planner.grouping import Grouping, bisect_columns
from golden.planner.operand import SentRows
from golden.planner.prices import part_price
from golden.planner.product import plan_matmul
from golden.program.plan import Plan
from tests.golden.plans import ALL, BlockByBlock, check_streams, mixed_weights, operands

SHAPE = replace(ALL, k_tile=256, columns=32, index_words=512, value_words=1024, block_rows=8)


def patchwork(rng: np.random.Generator) -> np.ndarray:
    """Full 8-row runs beside scattered non-zeros, by columns and changing at row 192; shuffled."""
    runs = (rng.random((48, 64)) < 0.3).repeat(8, axis=0)
    scattered = rng.random((384, 64)) < 0.3
    swap = (np.arange(384)[:, None] < 192) == (np.arange(64) < 32)
    keep = np.where(swap, runs, scattered)[:, rng.permutation(64)]
    return np.where(keep, rng.choice([-128, -1, 1, 127], keep.shape), 0).astype(np.int8)


def sent(weights: np.ndarray) -> SentRows:
    return SentRows(np.arange(len(weights)), weights)


def cheapest(block: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """The block whole, in the kernel of the fewest cycles and bytes together."""
    kernels = [KERNELS[name].configured(SHAPE) for name in SHAPE.kernels]
    costs = [part_price(kernel, block) for kernel in kernels if kernel.accepts(block)]
    names = [kernel.name for kernel in kernels if kernel.accepts(block)]
    totals = [cost.cycles + cost.bytes for cost in costs]
    return [(names[totals.index(min(totals))], block)]


def owners(plan: Plan) -> list[int]:
    return sorted(int(c) for s in plan.streams for part in s.columns for c in part if c >= 0)


@pytest.mark.parametrize("bins", [1, 2, 3, 7, 16])
def test_bisection_takes_every_column_once(bins, rng):
    for count in (0, 1, 5, 16, 61):
        features = rng.random((count, 6))
        groups = bisect_columns(features, np.ones(count), bins, most=-(-count // bins) + 1)
        assert len(groups) == bins
        joined = np.concatenate(groups)
        assert sorted(joined.tolist()) == list(range(count))
        assert max(len(group) for group in groups) <= -(-count // bins) + 1
        if count >= bins:
            assert min(len(group) for group in groups) >= 1


def test_bisection_brings_like_columns_together(rng):
    kinds = rng.permutation(np.arange(32) % 4)
    # Two pairs of kinds far apart: were all kinds at equal distances, no cut would be the first.
    features = np.stack([10 * (kinds // 2), kinds % 2], axis=1) + 0.01 * rng.random((32, 2))
    groups = bisect_columns(features, np.ones(32), 4)
    assert [len(set(kinds[group].tolist())) for group in groups] == [1, 1, 1, 1]


def test_bisection_balances_load_not_number():
    load = np.array([30.0] + [1.0] * 30)
    heavy, light = sorted(bisect_columns(np.zeros((31, 1)), load, 2), key=len)
    assert heavy.tolist() == [0]
    assert len(light) == 30


def test_tiles_end_where_the_structure_does(fixed_rng):
    weights = patchwork(fixed_rng)
    bounds = Grouping(SHAPE, 1.0).bounds(sent(weights))
    assert bounds.tolist() == [0, 192, 384]


def test_bounds_are_a_partition_within_the_tile(rng):
    for depth in (1, 63, 64, 65, 257, 700):
        weights = mixed_weights(rng, depth, 9)
        bounds = Grouping(SHAPE, 0.5).bounds(sent(weights))
        assert bounds[0] == 0
        assert bounds[-1] == depth
        assert np.diff(bounds).min() > 0
        assert np.diff(bounds).max() <= SHAPE.k_tile


def test_grouped_columns_take_fewer_bytes(fixed_rng):
    weights = patchwork(fixed_rng)
    activations = np.ones((32, len(weights)), np.int8)
    dealt = plan_matmul(SHAPE, activations, weights, chooser=BlockByBlock(SHAPE, cheapest))
    grouping = Grouping(SHAPE, 1.0)
    grouped = plan_matmul(
        SHAPE, activations, weights, chooser=BlockByBlock(SHAPE, cheapest), grouping=grouping
    )
    assert grouped.weight_bytes < 0.95 * dealt.weight_bytes
    assert set(grouped.kernel_blocks) == {"block", "bitmap"}
    # Columns of one structure leave less to balance with, but less than the bytes they save.
    before, after = (count_cycles(p).cycles * p.weight_bytes for p in (dealt, grouped))
    assert after < before
    check_streams(grouped, weights)


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 7, 3), (9, 300, 61), (3, 513, 130)])
def test_any_matrix_any_zeros(size, rng):
    for zero in (0.0, 0.7, 1.0):
        a, w = operands(rng, size, zero)
        plan = plan_matmul(SHAPE, a, w, grouping=Grouping(SHAPE, 0.6))
        assert owners(plan) == list(range(size[2]))
        assert all(header.columns <= SHAPE.columns for s in plan.streams for header in s.headers)
        check_streams(plan, w)


def test_the_same_seed_gives_the_same_streams(rng):
    a, w = operands(rng, (4, 300, 61), 0.7)
    first, again = (plan_matmul(SHAPE, a, w, grouping=Grouping(SHAPE, 0.6)) for _ in range(2))
    for one, two in zip(first.streams, again.streams, strict=True):
        assert np.array_equal(one.index, two.index)
        assert np.array_equal(one.values, two.values)


def test_grouping_asks_for_one_k_part(rng):
    a, w = operands(rng, (4, 100, 8))
    with pytest.raises(BadInput, match="k_split: must be 1 or auto where columns are grouped"):
        plan_matmul(SHAPE, a, w, k_split=2, grouping=Grouping(SHAPE, 1.0))
