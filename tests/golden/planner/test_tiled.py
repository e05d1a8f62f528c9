"""Rows dealt to k tiles: each row once, runs kept, and less expected error than in their order."""

from itertools import pairwise

import numpy as np
import pytest

from golden.planner.tiled import equal_tiles, row_tiles


def expected(weights: np.ndarray, energy: np.ndarray, order: np.ndarray, bounds) -> float:
    """The sum of the module's docstring, one tile and column at a time."""
    total = 0.0
    for low, high in pairwise(bounds):
        rows = order[low:high]
        for n in range(weights.shape[1]):
            values = weights[rows, n]
            total += float(np.abs(values).max()) ** 2 * float(energy[rows][values != 0].sum())
    return total


@pytest.mark.parametrize(
    ("rows", "tiles", "unit", "bounds"),
    [
        (384, 2, 64, [0, 192, 384]),
        (400, 3, 64, [0, 128, 256, 400]),
        (65, 9, 64, [0, 64, 65]),
        (5, 2, 2, [0, 2, 5]),
        (1, 4, 1, [0, 1]),
    ],
)
def test_equal_tiles_are_whole_units(rows, tiles, unit, bounds):
    assert equal_tiles(rows, tiles, unit).tolist() == bounds


@pytest.mark.parametrize("run", [1, 4, 8])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (2, 3), (70, 5), (192, 40)])
def test_every_row_once_in_whole_runs(rows, columns, run, rng: np.random.Generator):
    weights = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < 0.7)
    energy = rng.gamma(1.0, 1.0, rows)
    for tiles in (1, 2, 3):
        bounds = equal_tiles(rows, tiles, 16)
        order = row_tiles(weights, energy, bounds, run=run, seed=int(rng.integers(1 << 32)))
        assert np.array_equal(np.sort(order), np.arange(rows))
        for low, high in pairwise(bounds):
            assert (np.diff(order[low:high]) > 0).all()
            whole = order[low : low + (high - low) // run * run].reshape(-1, run)
            assert (whole % run == np.arange(run)).all() or run == 1
        again = row_tiles(weights, energy, bounds, run=run, seed=5)
        assert np.array_equal(again, row_tiles(weights, energy, bounds, run=run, seed=5))


def test_the_expected_error_falls(rng: np.random.Generator):
    for _ in range(5):
        loud = np.exp(rng.normal(0, 0.7, (128, 1)))
        weights = rng.normal(size=(128, 30)) * loud
        energy = rng.gamma(1.0, 1.0, 128)
        bounds = equal_tiles(128, 3, 32)
        found = row_tiles(weights, energy, bounds)
        before = expected(weights, energy, np.arange(128), bounds)
        assert expected(weights, energy, found, bounds) < before


def test_a_loud_row_shares_a_tile_with_what_matters_least():
    # One row far above the others, half of which meet no activation worth the name.
    weights = np.ones((64, 4))
    weights[3] = 100
    energy = np.where(np.arange(64) % 2, 1e-6, 1.0)
    order = row_tiles(weights, energy, np.array([0, 32, 64]))
    with_loud = order[:32] if 3 in order[:32] else order[32:]
    assert set(with_loud.tolist()) == {3, *np.flatnonzero(energy < 1e-3).tolist()}


def test_zeros_and_extremes_have_an_order():
    bounds = np.array([0, 8, 16])
    for weights in (np.zeros((16, 3)), np.full((16, 3), 1e38), np.full((16, 3), 1e-300)):
        for energy in (np.zeros(16), np.full(16, 1e300)):
            order = row_tiles(weights, energy, bounds)
            assert np.array_equal(np.sort(order), np.arange(16))
