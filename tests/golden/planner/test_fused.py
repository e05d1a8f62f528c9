"""A matrix as fused parts: its product, its blocks, and the plans and headers made of it."""

from dataclasses import replace

import numpy as np
import pytest

from golden.cycles.count import DRAIN_LATENCY, count_cycles
from golden.errors import BadInput
from golden.numerics.combine import UNIT, combine_naive
from golden.operators.matmul import matmul, matmul_naive
from golden.planner.choose import Split
from golden.planner.decompose import decompose
from golden.planner.fused import FusedMatrix
from golden.planner.product import plan_matmul
from golden.planner.scales import quantise_parts
from golden.program.plan import Plan
from golden.shape import ArrayShape

ALL = ("dense", "bitmap", "runlength", "nm", "block")
SHAPE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=32, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=64, kernels=ALL, mac="packed", fusion=True,
)  # fmt: skip


def random_fused(
    rng: np.random.Generator, depth: int, outputs: int, weights: tuple[int, ...]
) -> FusedMatrix:
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < 0.6] = 0
    owner = rng.integers(0, len(weights), w.shape)
    parts = tuple(np.where(owner == i, w, 0).astype(np.int8) for i in range(len(weights)))
    return FusedMatrix(parts, weights, (None,) * len(weights))


def played(plan: Plan, a: np.ndarray) -> np.ndarray:
    """What the plan's parts and headers say, column by column, in whole numbers."""
    out = np.zeros((len(a), plan.outputs), np.int64)
    for stream in plan.streams:
        running: dict[int, np.ndarray] = {}
        for block, header, tile in zip(stream.blocks, stream.headers, stream.tiles, strict=True):
            segment, k_tile = divmod(int(tile), plan.k_tiles)
            rows = plan.kept[plan.bounds[k_tile] :][: len(block)]
            sums = a[:, rows].astype(np.int64) @ block.astype(np.int64) * header.weight
            for place, column in enumerate(stream.columns[segment]):
                before = 0 if header.first else running[place]
                running[place] = before + sums[:, place]
                if header.final and column >= 0:
                    partial = [[[int(v)] for v in running[place]]]
                    out[:, column] += combine_naive(partial, [1])[:, 0]
    return out


@pytest.mark.parametrize("weights", [(UNIT,), (UNIT, UNIT), (20000, 12768), (1, 32766, 0, 1)])
def test_product_and_plan_are_the_definition(weights: tuple[int, ...], rng: np.random.Generator):
    for depth, outputs in ((1, 1), (7, 3), (31, 5), (101, 13)):
        fused = random_fused(rng, depth, outputs, weights)
        a = rng.integers(-128, 128, (5, depth)).astype(np.int8)
        partials = np.stack([matmul_naive(a, part) for part in fused.parts])
        expected = combine_naive(partials, fused.weights)
        np.testing.assert_array_equal(fused.product(a), expected)
        plan = plan_matmul(SHAPE, a, fused.matrix, fused=fused)
        np.testing.assert_array_equal(played(plan, a), expected)
        for stream in plan.streams:
            for tile in set(stream.tiles.tolist()):
                mine = [h for h, t in zip(stream.headers, stream.tiles, strict=True) if t == tile]
                exact = all(header.weight == UNIT for header in mine)
                assert {header.exact for header in mine} == {exact}
                assert exact or sum(header.weight for header in mine) == UNIT
        if fused.exact:
            np.testing.assert_array_equal(expected, matmul(a, fused.matrix))


def test_absent_parts_share_one_empty_block(rng: np.random.Generator):
    fused = random_fused(rng, 8, 4, (10000, 2000, 20000, 768))
    parts = tuple(np.where(np.arange(4) == i, p, 0).astype(np.int8)
                  for i, p in enumerate(fused.parts))  # fmt: skip
    parts[2][0, 2] = -128
    fused = replace(fused, parts=parts)
    block = fused.matrix[:, [2]]
    found = fused.at(block, 0, np.array([2]))
    assert [weight for _, _, weight in found] == [20000, UNIT - 20000]
    np.testing.assert_array_equal(found[0][1], block)
    assert not found[1][1].any()
    nothing = np.zeros((8, 1), np.int8)
    assert [weight for _, _, weight in fused.at(nothing, 0, np.array([-1]))] == [UNIT]


def test_from_scales_and_from_a_decomposition(rng: np.random.Generator):
    w = rng.normal(size=(40, 6))
    core = np.abs(w) < 1
    mixed = quantise_parts(w, (core, ~core))
    fused = FusedMatrix.of(mixed)
    assert fused.weights == tuple(mixed.weights.tolist())
    real = (np.stack(fused.parts) * np.array(fused.weights)[:, None, None]).sum(axis=0)
    np.testing.assert_allclose(real * mixed.total_scale / UNIT, mixed.real)
    with pytest.raises(BadInput, match="one per part"):
        FusedMatrix.of(quantise_parts(w, (core, ~core), per="column"))
    block = fused.matrix
    whole = FusedMatrix.of(decompose(block))
    assert whole.exact
    np.testing.assert_array_equal(whole.matrix, block)


def test_bad_parts_and_weights():
    one = np.ones((2, 2), np.int8)
    none = np.zeros_like(one)
    for parts, weights, kernels, message in (
        ((), (), (), "must have a weight and a kernel each"),
        ((one,), (UNIT,), (), "must have a weight and a kernel each"),
        ((one, none[:1]), (1, UNIT - 1), (None, None), "of one shape"),
        ((one.astype(int),), (UNIT,), (None,), "int8"),
        ((one, one), (1, UNIT - 1), (None, None), "disjoint"),
        ((one, none), (1, UNIT), (None, None), "must sum to 32768"),
        ((one, none), (-1, UNIT + 1), (None, None), "must sum to 32768"),
    ):
        with pytest.raises(BadInput, match=message):
            FusedMatrix(parts, weights, kernels)


def test_where_weighted_parts_cannot_be(rng: np.random.Generator):
    fused = random_fused(rng, 40, 3, (30000, 2768))
    a = rng.integers(-128, 128, (3, 40)).astype(np.int8)
    with pytest.raises(BadInput, match="fusion: must be true for parts with weights"):
        plan_matmul(replace(SHAPE, fusion=False), a, fused.matrix, fused=fused)
    with pytest.raises(BadInput, match="k_split: must be 1 where parts have weights, got 2"):
        plan_matmul(SHAPE, a, fused.matrix, fused=fused, k_split=2)
    plan = plan_matmul(SHAPE, a, fused.matrix, fused=fused, k_split="auto")
    assert plan.k_split == 1
    # Exact parts may be cut further, and need no fusion.
    exact = FusedMatrix(fused.parts, (UNIT, UNIT), fused.kernels)
    for shape in (SHAPE, replace(SHAPE, fusion=False)):
        plan_matmul(shape, a, exact.matrix, split=exact, k_split=2)


def test_weights_that_a_strategy_gets_wrong():
    one = np.ones((3, 2), np.int8)

    def split(weight: int) -> Split:
        return lambda block: [("dense", block, weight), ("dense", np.zeros_like(block), 5)]

    plan = plan_matmul(SHAPE, one.T.copy(), one, split=split(UNIT - 5))
    assert plan.streams[0].mixed
    for weight in (UNIT, UNIT - 4, -1):
        with pytest.raises(ValueError, match=f"must sum to 32768 or all be 32768, got .{weight}"):
            plan_matmul(SHAPE, one.T.copy(), one, split=split(weight))


def test_fusion_costs_no_cycle_but_the_longer_drain(rng: np.random.Generator):
    fused = random_fused(rng, 70, 9, (12345, UNIT - 12345))
    a = rng.integers(-128, 128, (11, 70)).astype(np.int8)
    plan = plan_matmul(SHAPE, a, fused.matrix, fused=fused)
    plain = replace(plan, shape=replace(SHAPE, fusion=False))
    longer = (DRAIN_LATENCY[True] - DRAIN_LATENCY[False]) * len(plan.jobs)
    assert count_cycles(plan).cycles == count_cycles(plain).cycles + longer


def test_the_option_is_a_boolean():
    with pytest.raises(BadInput, match="fusion: must be true or false, got 1"):
        replace(SHAPE, fusion=1)
    bits = SHAPE.partial_bits, replace(SHAPE, fusion=False).partial_bits
    assert bits == (96, 64)
