"""Scales per k tile: exact weight sums, the best ratios, values within half a step."""

from itertools import pairwise

import numpy as np
import pytest

from golden.errors import BadInput
from golden.numerics.combine import UNIT, weights_valid
from golden.planner.fused import FusedMatrix
from golden.planner.scales import (
    Assignment,
    block_ratios,
    expected_error_naive,
    fuse_tiles,
    q15_weights,
    q15_weights_naive,
    tile_sums,
)
from tests.golden.parted import dealt


def test_weights_sum_exactly_and_are_the_specification(rng: np.random.Generator):
    for parts in (1, 2, 3, 4, 6):
        scales = 2.0 ** rng.uniform(-12, 12, (parts, 200))
        scales[rng.random(scales.shape) < 0.1] = 0.0
        scales[0, ~scales.any(axis=0)] = 1.0
        weights = q15_weights(scales)
        assert weights_valid(weights)
        assert ((weights > 0) == (scales > 0)).all()
        for column in range(200):
            # Away from ties of rounded quotients the two must agree exactly.
            want = q15_weights_naive(scales[:, column].tolist())
            assert weights[:, column].tolist() == want


@pytest.mark.parametrize(
    ("scales", "weights"),
    [
        ([5.0], [UNIT]),
        ([1.0, 1.0, 1.0], [10923, 10923, 10922]),  # equal remainders: the first ones
        ([1.0, 3.0], [UNIT // 4, 3 * UNIT // 4]),
        ([1e-30, 1.0], [1, UNIT - 1]),  # a part never vanishes
        ([0.0, 2.0, 2.0], [0, UNIT // 2, UNIT // 2]),
        ([1e308, 1e308], [UNIT // 2, UNIT // 2]),
    ],
)
def test_documented_weights(scales: list[float], weights: list[int]):
    assert q15_weights(scales).tolist() == weights
    assert q15_weights_naive(scales) == weights


@pytest.mark.parametrize("scales", [[0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0], []])
def test_bad_scales_are_refused(scales: list[float]):
    with pytest.raises(BadInput, match="fusion: scales: must be finite"):
        q15_weights(scales)


def test_sums_of_tiles_are_the_definition(rng: np.random.Generator):
    magnitude, energy = rng.random((2, 20, 6))
    bounds = np.array([0, 3, 4, 20])
    peaks, sums = tile_sums(magnitude, energy, bounds)
    for tile, (low, high) in enumerate(pairwise(bounds)):
        np.testing.assert_array_equal(peaks[tile], magnitude[low:high].max(axis=0))
        np.testing.assert_allclose(sums[tile], energy[low:high].sum(axis=0))


def test_ratios_are_never_worse_than_one_scale_and_near_the_best(rng: np.random.Generator):
    for _ in range(20):
        peaks = np.exp(rng.normal(0, 1, (2, int(rng.integers(1, 12)))))
        energy = rng.gamma(1.0, 1.0, peaks.shape)
        ratios = block_ratios(peaks, energy)
        assert ratios.max() == 1.0
        error = expected_error_naive(peaks, energy, ratios.tolist())
        assert error <= expected_error_naive(peaks, energy, [1.0, 1.0]) * (1 + 1e-9)
        grid = np.exp(np.linspace(-5, 5, 201))
        best = min(expected_error_naive(peaks, energy, [1.0, ratio]) for ratio in grid)
        assert error <= 1.1 * best


def test_tiles_without_weights_take_no_part(rng: np.random.Generator):
    peaks = np.array([[1.0, 2.0], [0.0, 0.0]])
    energy = np.array([[3.0, 4.0], [0.0, 0.0]])
    weights = q15_weights(block_ratios(peaks, energy))
    assert weights_valid(weights)
    assert weights.min() >= 1
    assert (block_ratios(np.zeros((3, 2)), np.zeros((3, 2))) <= 1).all()


def fused_of(
    rng: np.random.Generator, weights: np.ndarray, kept: np.ndarray, assignment: Assignment
) -> FusedMatrix:
    rows = len(weights)
    bounds = np.unique([0, rows // 3, rows - rows // 2, rows])
    order = rng.permutation(rows)
    return fuse_tiles(weights, kept, rng.gamma(1.0, 1.0, rows), order, bounds, assignment)


@pytest.mark.parametrize(("rows", "outputs"), [(1, 1), (2, 9), (67, 9), (96, 24)])
def test_values_are_within_half_a_step_and_none_saturates(rows, outputs, rng: np.random.Generator):
    weights = rng.standard_t(4, (rows, outputs)) * rng.uniform(0.01, 0.05, outputs)
    weights[:, outputs // 2] = 0
    weights[rng.random(weights.shape) < 0.3] = 0
    kept = (weights != 0) & (rng.random(weights.shape) < 0.9)
    fused = fused_of(rng, weights, kept, dealt(rng, 3, outputs, 4))
    wanted = np.where(kept, weights, 0.0)[fused.order]
    step = fused.row_scale
    assert (np.abs(wanted - fused.matrix * step) <= 0.500001 * step).all()
    assert not fused.matrix[~kept[fused.order]].any()
    assert np.abs(fused.matrix.astype(int)).max(initial=0) <= 127
    assert weights_valid(fused.weights)
    # A user stores S as float32 without loss.
    assert (fused.scale == fused.scale.astype(np.float32)).all()
    assert fused.scale[outputs // 2] == 1.0
    real = fused.real(rows)
    np.testing.assert_allclose(real[fused.order], fused.matrix * step)
    np.testing.assert_array_equal(fused.unordered(rows)[fused.order], fused.matrix)
    for segment in fused.assignment:
        for columns in segment:
            assert len(np.unique(fused.weights[:, columns], axis=1).T) <= 1


@pytest.mark.parametrize("magnitude", [1e-37, 1e-30, 1.0, 1e30, 3e38])
def test_huge_and_tiny_weights_keep_their_precision(magnitude, rng: np.random.Generator):
    weights = rng.uniform(-1, 1, (40, 6)) * magnitude
    fused = fused_of(rng, weights, weights != 0, dealt(rng, 2, 6, 3))
    assert np.abs(weights - fused.real(40)).max() < 0.02 * magnitude


def test_a_scale_beyond_float32_is_refused(rng: np.random.Generator):
    weights = np.full((40, 6), 4.3e40)
    with pytest.raises(BadInput, match="weights: magnitude must fit a float32 scale"):
        fused_of(rng, weights, weights != 0, dealt(rng, 2, 6, 3))


def test_one_loud_weight_coarsens_its_tile_alone():
    weights = np.full((8, 2), 0.01)
    weights[0] = 1.27
    assignment = ((np.array([0]), np.array([1])),)
    every = weights != 0
    fused = fuse_tiles(weights, every, np.ones(8), np.arange(8), np.array([0, 1, 8]), assignment)
    assert (np.abs(weights - fused.real(8)) < 1e-4).all()
    one = fuse_tiles(weights, every, np.ones(8), np.arange(8), np.array([0, 8]), assignment)
    np.testing.assert_allclose(one.scale, 0.01, rtol=1e-6)
    assert one.weights.tolist() == [[UNIT, UNIT]]
