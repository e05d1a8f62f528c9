"""Columns to engines: every column once, deterministic, even."""

import numpy as np
import pytest

from golden.balance import assign_columns


def costs_of(rng: np.random.Generator, columns: int, style: str) -> np.ndarray:
    if style == "equal":
        return np.full(columns, 7, np.int64)
    if style == "skewed":
        return (rng.pareto(1.2, columns) * 50).astype(np.int64)
    return rng.integers(0, 257, columns)


@pytest.mark.parametrize("style", ["equal", "uniform", "skewed"])
@pytest.mark.parametrize(
    ("columns", "engines", "segments"),
    [
        (1, 1, 1),
        (1, 8, 1),
        (7, 8, 1),
        (64, 8, 1),
        (65, 8, 2),
        (101, 3, 5),
        (256, 16, 4),
        (17, 5, 3),
    ],
)
def test_every_column_once_and_within_capacity(
    columns: int, engines: int, segments: int, style: str, rng: np.random.Generator
):
    assignment = assign_columns(costs_of(rng, columns, style), engines, segments)
    assert len(assignment) == segments
    assert all(len(segment) == engines for segment in assignment)
    chosen = np.concatenate([part for segment in assignment for part in segment])
    assert sorted(chosen.tolist()) == list(range(columns))
    most = -(-columns // (engines * segments))
    for segment in assignment:
        assert max(len(part) for part in segment) <= most
        for part in segment:
            assert part.dtype == np.int64
            assert (np.diff(part) > 0).all()


def test_deterministic_and_independent_of_the_array_passed(rng: np.random.Generator):
    costs = rng.integers(0, 4, 200)  # many ties
    kept = costs.copy()
    first = assign_columns(costs, 8, 3)
    np.testing.assert_array_equal(costs, kept)
    second = assign_columns(costs.copy(), 8, 3)
    for a, b in zip(first, second, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


def test_ties_go_to_the_lower_engine():
    assignment = assign_columns(np.array([5, 5, 5]), 4, 1)
    assert [part.tolist() for part in assignment[0]] == [[0], [1], [2], []]


def test_heaviest_first():
    # Longest processing time: 7 | 6 | 5+4 would be 9, so 4 joins 5, the least load.
    assignment = assign_columns(np.array([4, 7, 5, 6]), 3, 1)
    assert [part.tolist() for part in assignment[0]] == [[1], [3], [0, 2]]


def test_loads_are_even(rng: np.random.Generator):
    for _ in range(50):
        costs = rng.integers(1, 257, 512)
        engines = int(rng.choice([2, 4, 8, 16]))
        loads = np.array([costs[part].sum() for part in assign_columns(costs, engines, 1)[0]])
        assert loads.max() <= loads.mean() + costs.max()
        blind = costs.reshape(engines, -1).sum(axis=1).max()
        assert loads.max() <= blind


def test_segments_are_even(rng: np.random.Generator):
    for _ in range(50):
        costs = rng.integers(1, 257, 480)
        sums = [
            sum(costs[part].sum() for part in segment) for segment in assign_columns(costs, 8, 4)
        ]
        # Snake order: rounds alternate, so that segments differ by less than one round of engines.
        assert max(sums) - min(sums) <= 8 * 256
