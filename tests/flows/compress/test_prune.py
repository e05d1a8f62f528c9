"""Pruning masks: exact counts, the right victims, reproducible ties, declared statistics."""

import math
from typing import Any, cast

import numpy as np
import pytest

from flows.compress.prune import clustered_mask, magnitude, random_mask, wanda
from golden.errors import BadInput

SPARSITIES = [0, 0.0, 0.01, 0.29, 0.5, 0.75, 0.95, 0.999, 1.0, 1]
BENCH_MASKS = [random_mask, clustered_mask]


def wanda_naive(w: np.ndarray, x: np.ndarray, drop: int) -> np.ndarray:
    """Column by column, a sorted list of (score, k): the specification."""
    keep = np.ones(w.shape, dtype=bool)
    for n in range(w.shape[1]):
        scores = []
        for k in range(w.shape[0]):
            norm = math.sqrt(sum(float(row[k]) ** 2 for row in x))
            scores.append((abs(float(w[k, n])) * norm, k))
        for _, k in sorted(scores)[:drop]:
            keep[k, n] = False
    return keep


@pytest.mark.parametrize("trial", range(3))
@pytest.mark.parametrize("drop", [0, 1, 7, 20])
def test_wanda_equals_its_specification(rng, trial, drop):
    # Small integers make ties frequent, and exact in floating point.
    w = rng.integers(-3, 4, size=(20, 6))
    x = np.eye(20)[rng.permutation(20)] * rng.integers(0, 3, size=20)
    np.testing.assert_array_equal(wanda(w, x, drop / 20), wanda_naive(w, x, drop))
    w, x = rng.normal(size=(20, 6)), rng.normal(size=(11, 20))
    np.testing.assert_array_equal(wanda(w, x, drop / 20), wanda_naive(w, x, drop))


def test_wanda_weighs_the_activations_and_magnitude_does_not():
    w = np.array([[3.0], [1.0]])
    x = np.array([[0.1, 1.0], [0.1, 1.0]])
    assert wanda(w, x, 0.5).ravel().tolist() == [False, True]
    assert magnitude(w, 0.5).ravel().tolist() == [True, False]


@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("rows", [1, 10, 100])
def test_every_column_loses_exactly_its_share(rng, sparsity, rows):
    w, x = rng.normal(size=(rows, 5)), rng.normal(size=(3, rows))
    # In thousandths, so that the expectation is integer arithmetic: 0.29 of 100 is 29.
    expected = round(sparsity * 1000) * rows // 1000
    for keep in (wanda(w, x, sparsity), magnitude(w, sparsity)):
        assert keep.dtype == bool
        assert keep.shape == w.shape
        np.testing.assert_array_equal(np.count_nonzero(~keep, axis=0), expected)


def test_ties_drop_the_lowest_rows():
    ones = np.ones((5, 2))
    expected = [[False] * 2] * 2 + [[True] * 2] * 3
    assert magnitude(ones, 0.4).tolist() == expected
    assert wanda(ones, ones.T, 0.4).tolist() == expected
    assert wanda(ones, np.zeros((4, 5)), 0.4).tolist() == expected


def test_huge_activations_do_not_overflow():
    w = np.array([[1.0], [2.0], [3.0]])
    keep = wanda(w, np.array([[1e200, 1e200, 1e200]]), 0.34)
    assert keep.ravel().tolist() == [False, True, True]


@pytest.mark.parametrize("mask", BENCH_MASKS)
@pytest.mark.parametrize("sparsity", SPARSITIES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (100, 37)])
def test_benchmark_masks_hold_an_exact_number_of_zeros(mask, sparsity, shape):
    keep = mask(shape, sparsity, seed=5)
    assert keep.dtype == bool
    assert keep.shape == shape
    assert np.count_nonzero(~keep) == round(sparsity * 1000) * math.prod(shape) // 1000


@pytest.mark.parametrize("mask", BENCH_MASKS)
def test_benchmark_masks_repeat_with_their_seed(mask):
    first = mask((40, 40), 0.5, seed=1)
    np.testing.assert_array_equal(first, mask((40, 40), 0.5, seed=1))
    assert np.any(first != mask((40, 40), 0.5, seed=2))


def test_clustered_masks_cluster():
    """Variance of the density of 16x16 blocks, against the binomial variance of random masks."""
    variance = {}
    for mask in BENCH_MASKS:
        keep = mask((256, 256), 0.8, seed=3)
        variance[mask] = keep.reshape(16, 16, 16, 16).mean(axis=(1, 3)).var()
    binomial = 0.8 * 0.2 / 256
    assert 0.7 * binomial < variance[random_mask] < 1.4 * binomial
    assert variance[clustered_mask] > 10 * binomial


def test_clustered_masks_vary_by_row_and_column():
    """Within one block row the block factors cancel, so rows must differ by their own factor."""
    keep = clustered_mask((1024, 1024), 0.8, seed=4)
    for side in (keep, keep.T):
        per_line = side.reshape(64, 16, 1024).mean(axis=2)
        within = per_line.var(axis=1, ddof=1).mean()
        assert within > 10 * 0.8 * 0.2 / 1024


@pytest.mark.parametrize("sparsity", [-0.01, 1.01, math.nan, math.inf, True])
def test_sparsity_out_of_range_is_refused(sparsity):
    ones = np.ones((2, 2))
    for call in (
        lambda: magnitude(ones, sparsity),
        lambda: wanda(ones, ones, sparsity),
        lambda: random_mask((2, 2), sparsity, 0),
        lambda: clustered_mask((2, 2), sparsity, 0),
    ):
        with pytest.raises(BadInput, match="sparsity: must be a number from 0 to 1"):
            call()


def test_shapes_and_values_are_checked():
    ones = np.ones((2, 3))
    with pytest.raises(BadInput, match=r"activations: .* rows \(2\), but have 3"):
        wanda(ones, ones, 0.5)
    with pytest.raises(BadInput, match="weights: must be a matrix"):
        magnitude(np.ones(3), 0.5)
    with pytest.raises(BadInput, match="activations: must be finite"):
        wanda(ones, [[np.nan, 1.0]], 0.5)
    for mask in BENCH_MASKS:
        with pytest.raises(BadInput, match="shape: must be two sizes"):
            mask((3, 0), 0.5, 0)
        with pytest.raises(BadInput, match="shape: must be two sizes"):
            mask(cast(Any, (3,)), 0.5, 0)
