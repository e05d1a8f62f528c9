"""Results that a plan foresees, put together, are the product."""

from dataclasses import replace

import numpy as np
import pytest

from golden.operators.matmul import matmul_naive
from golden.planner.product import plan_matmul
from golden.program.plan import Plan
from golden.program.results import expected_results
from tests.golden.parted import random_parts
from tests.golden.plans import ALL


def collected(plan: Plan, activations: np.ndarray) -> np.ndarray:
    rows = []
    for job in plan.jobs:
        found = expected_results(plan, activations, job)
        for group in found:
            assert group.m_tiles.max() < len(job)
        rows.append(plan.collect(job, [(group.data, group.engines) for group in found]))
    return np.concatenate(rows)


@pytest.mark.parametrize("k_split", [1, 2])
@pytest.mark.parametrize(("rows", "depth", "outputs"), [(1, 1, 1), (9, 70, 13), (5, 300, 40)])
def test_they_add_up_to_the_product(rows, depth, outputs, k_split, rng):
    a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < 0.5] = 0
    plan = plan_matmul(ALL, a, w, k_split=k_split)
    assert np.array_equal(collected(plan, a), matmul_naive(a, w))


def test_each_place_says_whose_it_is(rng):
    a = rng.integers(-128, 128, (9, 70)).astype(np.int8)
    w = rng.integers(-128, 128, (70, 13)).astype(np.int8)
    plan = plan_matmul(ALL, a, w)
    wanted = matmul_naive(a, w)
    for job in plan.jobs:
        for group in expected_results(plan, a, job):
            for data, m_tile, column in zip(group.data, group.m_tiles, group.outputs, strict=True):
                low = (job.start + m_tile) * ALL.lanes
                real = wanted[low : low + ALL.lanes, column] if column >= 0 else np.zeros(0)
                assert np.array_equal(data[: len(real)], real)
                assert not data[len(real) :].any()


def test_weighted_parts_are_rounded_once(rng):
    shape = replace(ALL, fusion=True)
    a = rng.integers(-128, 128, (6, 90)).astype(np.int8)
    fused, plan = random_parts(rng, shape, 90, 10, len(a))
    assert np.array_equal(collected(plan, a), fused.product(a))
