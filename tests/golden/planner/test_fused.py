"""A matrix in k tiles with scales of their own: its product, its plans, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from golden.cycles.count import DRAIN_LATENCY, count_cycles
from golden.errors import BadInput
from golden.numerics.combine import UNIT, combine_naive
from golden.operators.matmul import matmul, matmul_naive
from golden.planner.fused import FusedMatrix, plan_fused
from golden.program.plan import Plan
from golden.shape import ArrayShape
from tests.golden.parted import dealt, random_parts, random_shares
from tests.golden.plans import BY_CODE

SHAPE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=32, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=64, kernels=("dense", "bitmap", "runlength", "block"),
    mac="packed", fusion=True,
)  # fmt: skip


def random_fused(
    rng: np.random.Generator, depth: int, outputs: int, engines: int = 4
) -> FusedMatrix:
    """Random values, order, tiles and columns; weights of each block its own."""
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < 0.6] = 0
    cuts = rng.choice(np.arange(1, depth), min(depth - 1, depth // 16), replace=False)
    bounds = np.unique([0, *range(0, depth, 32), *cuts, depth])
    assignment = dealt(rng, engines, outputs, 5)
    weights = np.zeros((len(bounds) - 1, outputs), np.int64)
    for segment in assignment:
        for columns in segment:
            weights[:, columns] = np.array(random_shares(rng, len(weights)))[:, None]
    return FusedMatrix(w, rng.permutation(depth), bounds, assignment, weights, np.ones(outputs))


def played(plan: Plan, a: np.ndarray) -> np.ndarray:
    """What the plan's words say, decoded and summed column by column in whole numbers."""
    out = np.zeros((len(a), plan.outputs), np.int64)
    for stream in plan.streams:
        running: dict[int, np.ndarray] = {}
        for block, header, tile in zip(stream.blocks, stream.headers, stream.tiles, strict=True):
            kernel = BY_CODE[header.kernel].configured(plan.shape)
            words, values = kernel.encode(block)
            assert np.array_equal(kernel.decode(words, values, *block.shape), block)
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


def test_product_and_plan_are_the_definition(rng: np.random.Generator):
    for depth, outputs in ((1, 1), (2, 3), (31, 5), (101, 13), (64, 50)):
        fused = random_fused(rng, depth, outputs)
        a = rng.integers(-128, 128, (5, depth)).astype(np.int8)
        partials = np.stack(
            [
                matmul_naive(a[:, fused.order[low:high]], fused.matrix[low:high])
                for low, high in zip(fused.bounds, fused.bounds[1:], strict=False)
            ]
        )
        expected = combine_naive(partials, fused.weights)
        np.testing.assert_array_equal(fused.product(a), expected)
        plan = plan_fused(SHAPE, len(a), fused)
        np.testing.assert_array_equal(played(plan, a), expected)
        for stream in plan.streams:
            sums: dict[int, int] = {}
            for header, tile in zip(stream.headers, stream.tiles, strict=True):
                segment = int(tile) // plan.k_tiles
                if stream.columns[segment][0] >= 0 and not header.exact:
                    sums[segment] = sums.get(segment, 0) + header.weight
            assert set(sums.values()) <= {UNIT}
    assert plan.segments > 1


def test_parts_of_a_tile_are_the_definition(rng: np.random.Generator):
    for _ in range(8):
        depth, outputs = (int(n) for n in rng.integers(1, (90, 40)))
        fused, plan = random_parts(rng, SHAPE, depth, outputs, 6)
        a = rng.integers(-128, 128, (6, depth)).astype(np.int8)
        np.testing.assert_array_equal(played(plan, a), fused.product(a))


def test_a_single_tile_is_the_plain_product(rng: np.random.Generator):
    w = rng.integers(-128, 128, (30, 7)).astype(np.int8)
    one = FusedMatrix(
        w, np.arange(30), np.array([0, 30]), dealt(rng, 4, 7, 5), np.full((1, 7), UNIT), np.ones(7)
    )
    a = rng.integers(-128, 128, (9, 30)).astype(np.int8)
    np.testing.assert_array_equal(one.product(a), matmul(a, w))
    plan = plan_fused(SHAPE, 9, one)
    assert all(header.exact for stream in plan.streams for header in stream.headers)


def test_fusion_costs_nothing_but_the_length_of_the_drain(rng: np.random.Generator):
    fused = random_fused(rng, 70, 30)
    plan = plan_fused(SHAPE, 10, fused)
    plain = count_cycles(replace(plan, shape=replace(SHAPE, fusion=False)))
    longer = (DRAIN_LATENCY[True] - DRAIN_LATENCY[False]) * len(plan.jobs)
    assert count_cycles(plan).cycles == plain.cycles + longer


def test_rows_that_are_silent_leave_but_never_a_whole_tile(rng: np.random.Generator):
    fused = random_fused(rng, 90, 10)
    a = rng.integers(-128, 128, (5, 90)).astype(np.int8)
    silent = rng.random(90) < 0.5
    silent[fused.order[fused.bounds[1] : fused.bounds[2]]] = True
    a[:, silent] = 0
    less = fused.without(silent)
    assert less.tiles == fused.tiles
    assert len(less.order) < 90
    np.testing.assert_array_equal(less.product(a), fused.product(a))
    np.testing.assert_array_equal(played(plan_fused(SHAPE, 5, less), a), fused.product(a))
    everything = fused.without(np.ones(90, bool))
    assert len(everything.order) == fused.tiles


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bounds": np.array([0, 5, 5, 20])}, "bounds: must ascend"),
        ({"bounds": np.array([0, 5, 19])}, "bounds: must ascend"),
        ({"weights": np.full((2, 4), UNIT)}, "sum to 32768"),
        ({"weights": np.full((2, 4), UNIT // 2 - 1)}, "sum to 32768"),
        ({"weights": np.full((1, 4), UNIT)}, "must be 2 for each of 4"),
        ({"assignment": ((np.array([0, 1]), np.array([1, 2])),)}, "hold each of 4 columns once"),
        ({"weights": np.array([[1, 2, 1, 1], [32767, 32766, 32767, 32767]])}, "be the same in all"),
    ],
)
def test_what_breaks_a_rule_is_refused(change, message):
    good = {
        "matrix": np.ones((20, 4), np.int8),
        "order": np.arange(20),
        "bounds": np.array([0, 10, 20]),
        "assignment": ((np.array([0, 1]), np.array([2, 3])),),
        "weights": np.full((2, 4), UNIT // 2),
        "scale": np.ones(4),
    }
    FusedMatrix(**good)
    with pytest.raises(BadInput, match=message):
        FusedMatrix(**{**good, **change})


def test_what_an_array_cannot_run_is_refused(rng: np.random.Generator):
    fused = random_fused(rng, 60, 20)
    for shape, message in (
        (replace(SHAPE, fusion=False), r"schedule\.fusion: must be true"),
        (replace(SHAPE, k_tile=16), "cut tiles of at most 16"),
        (replace(SHAPE, engines=2), "each of 2 engines"),
        (replace(SHAPE, columns=2), "at most 2 columns"),
    ):
        with pytest.raises(BadInput, match=message):
            plan_fused(shape, 4, fused)
    with pytest.raises(BadInput, match="one this array has"):
        plan_fused(SHAPE, 4, fused, "nm")
    large = replace(SHAPE, index_words=16, value_words=16, columns=64, kernels=("bitmap",))
    # One tile of tokens streams its weights, but a block must be in the ring of index words.
    many = FusedMatrix(
        np.ones((32, 64), np.int8), np.arange(32), np.array([0, 16, 32]),
        ((np.arange(64), *[np.array([], int)] * 3),), np.full((2, 64), UNIT // 2), np.ones(64),
    )  # fmt: skip
    with pytest.raises(BadInput, match="index_words"):
        plan_fused(large, 4, many)
