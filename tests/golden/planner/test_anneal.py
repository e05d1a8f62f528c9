"""Simulated annealing of columns over engines: the same columns, fewer squares, one seed."""

import numpy as np
import pytest

from golden.planner.anneal import balance_columns
from golden.planner.distribute import assign_columns


def energy(costs: np.ndarray, segment: list[np.ndarray]) -> float:
    """The sum that the module's docstring defines."""
    loads = np.array([costs[:, part].sum(axis=1) for part in segment], float)
    totals = loads.sum(axis=1)
    spread = ((loads - loads.mean(axis=0)) ** 2).sum()
    return spread + len(costs) * ((totals - totals.mean()) ** 2).sum()


@pytest.mark.parametrize("k_tiles", [1, 2, 7])
@pytest.mark.parametrize(("columns", "engines", "segments"), [(64, 4, 1), (101, 8, 3), (17, 5, 2)])
def test_the_same_columns_with_fewer_squares(
    columns: int, engines: int, segments: int, k_tiles: int, rng: np.random.Generator
):
    costs = rng.integers(1, 200, (k_tiles, columns))
    start = assign_columns(costs.sum(axis=0), engines, segments)
    end = balance_columns(costs, start, seed=3)
    for before, after in zip(start, end, strict=True):
        assert [len(part) for part in before] == [len(part) for part in after]
        assert all((np.diff(part) > 0).all() for part in after)
        assert sorted(np.concatenate(before)) == sorted(np.concatenate(after))
        assert energy(costs, after) <= energy(costs, before) * (1 + 1e-9)


def test_tiles_are_evened_out(fixed_rng: np.random.Generator):
    costs = fixed_rng.binomial(256, 0.5, (4, 256))
    start = assign_columns(costs.sum(axis=0), 16, 1)
    end = balance_columns(costs, start)
    assert energy(costs, end[0]) < 0.1 * energy(costs, start[0])

    def slowest(segment: list[np.ndarray]) -> int:
        return sum(max(int(tile[part].sum()) for part in segment) for tile in costs)

    assert slowest(end[0]) < slowest(start[0])


def test_one_seed_one_result(fixed_rng: np.random.Generator):
    costs = fixed_rng.integers(1, 200, (2, 120))
    kept = costs.copy()
    start = assign_columns(costs.sum(axis=0), 8, 2)
    runs = [balance_columns(costs, start, seed=s) for s in (5, 5, 6)]
    flat = [[part.tolist() for segment in run for part in segment] for run in runs]
    assert flat[0] == flat[1]
    assert flat[0] != flat[2]
    np.testing.assert_array_equal(costs, kept)


@pytest.mark.parametrize(("columns", "engines"), [(0, 4), (1, 4), (1, 1), (9, 1), (3, 8)])
def test_nothing_to_swap(columns: int, engines: int):
    costs = np.arange(2 * columns).reshape(2, columns)
    start = assign_columns(costs.sum(axis=0), engines, 1)
    end = balance_columns(costs, start)
    assert sorted(np.concatenate(end[0]).tolist()) == list(range(columns))
    assert [len(part) for part in end[0]] == [len(part) for part in start[0]]


def test_no_moves_change_nothing(rng: np.random.Generator):
    costs = rng.integers(1, 200, (2, 40))
    start = assign_columns(costs.sum(axis=0), 4, 1)
    end = balance_columns(costs, start, moves=0)
    assert [part.tolist() for part in end[0]] == [part.tolist() for part in start[0]]
