"""Refinement: the simplex projection, a search that never loses, the adapter's integer step."""

from itertools import product

import numpy as np
import pytest

from golden.errors import BadInput
from golden.numerics.combine import UNIT, weights_valid
from golden.planner.refine import (
    adapt_step,
    adapt_step_naive,
    integer_gradients,
    project_simplex,
    refine_weights,
)
from golden.planner.scales import MixedScale, outlier_masks, output_error, quantise_parts


def naive_projection(point: list[float]) -> np.ndarray:
    """The nearest of the projections onto the faces: every set of positive coordinates."""
    best = None
    for kept in product((0, 1), repeat=len(point)):
        if any(kept):
            chosen = np.flatnonzero(kept)
            candidate = np.zeros(len(point))
            values = np.array(point)[chosen]
            candidate[chosen] = values - (values.sum() - 1) / len(chosen)
            if (candidate >= 0).all():
                distance = np.linalg.norm(candidate - point)
                if best is None or distance < best[0]:
                    best = distance, candidate
    assert best is not None
    return best[1]


def test_projection_is_the_nearest_point(rng: np.random.Generator):
    points = rng.normal(0, 2, (4, 100))
    together = project_simplex(points)
    for column in range(100):
        alone = project_simplex(points[:, column])
        np.testing.assert_allclose(alone, naive_projection(points[:, column].tolist()), atol=1e-12)
        np.testing.assert_allclose(alone, together[:, column])
    np.testing.assert_allclose(project_simplex([0.25, 0.75]), [0.25, 0.75])
    np.testing.assert_allclose(project_simplex([9.0, 0.0, -9.0]), [1, 0, 0])


def heavy_tailed(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Weights (96, 8) a few of which are large, and activations (200, 96) of unlike features."""
    weights = rng.standard_t(4, (96, 8)) * 0.02
    return weights, rng.normal(0, rng.gamma(1.0, 1.0, 96), (200, 96))


def fused(mixed: MixedScale, weights: np.ndarray) -> np.ndarray:
    """The real matrix with other weights."""
    shape = mixed.parts[0].block.shape
    scales = mixed.total_scale * weights.reshape(len(weights), -1) / UNIT
    return sum(
        (part.block * scale for part, scale in zip(mixed.parts, scales, strict=True)),
        np.zeros(shape),
    )


@pytest.mark.parametrize("per", ["part", "column"])
def test_refinement_never_loses(per, rng: np.random.Generator):
    weights, activations = heavy_tailed(rng)
    mixed = quantise_parts(weights, outlier_masks(weights, 0.05, per=per), per=per)
    refined = refine_weights(mixed, weights, activations)
    assert weights_valid(refined)
    assert refined.shape == mixed.weights.shape
    before, after = (
        output_error(weights, fused(mixed, chosen), activations=activations)
        for chosen in (mixed.weights, refined)
    )
    assert after <= before


@pytest.mark.parametrize("per", ["part", "column"])
def test_refinement_mends_bad_weights(per, fixed_rng: np.random.Generator):
    weights, activations = heavy_tailed(fixed_rng)
    mixed = quantise_parts(weights, outlier_masks(weights, 0.05, per=per), per=per)

    def error(chosen: np.ndarray) -> float:
        return output_error(weights, fused(mixed, chosen), activations=activations)

    # From weights that are off by a tenth it comes back to within a hair of the best.
    off = mixed.weights + np.where(np.arange(2) == 0, 1, -1).reshape(
        -1, *[1] * (mixed.weights.ndim - 1)
    ) * (UNIT // 10)
    wrong = MixedScale(mixed.parts, off, mixed.total_scale)
    mended = refine_weights(wrong, weights, activations, steps=2000)
    assert weights_valid(mended)
    assert error(off) > 100 * error(mixed.weights)
    assert error(mended) <= 1.1 * error(mixed.weights)


def test_refinement_of_one_column_is_the_best_on_a_grid(fixed_rng: np.random.Generator):
    weights = fixed_rng.standard_t(3, (40, 1))
    activations = fixed_rng.normal(size=(60, 40))
    mixed = quantise_parts(weights, outlier_masks(weights, 0.1))
    refined = refine_weights(mixed, weights, activations, steps=3000)

    def error(chosen: np.ndarray) -> float:
        return output_error(weights, fused(mixed, chosen), activations=activations)

    grid = [refined + np.array([d, -d]) for d in range(-40, 41)]
    best = min(error(point) for point in grid if weights_valid(point))
    assert error(refined) == pytest.approx(best, rel=1e-3)


def random_weights(rng: np.random.Generator, parts: int, sets: int) -> np.ndarray:
    cuts = np.sort(rng.integers(0, UNIT + 1, (parts - 1, sets)), axis=0)
    zeros, ones = np.zeros((1, sets), np.int64), np.full((1, sets), UNIT)
    return np.diff(np.vstack([zeros, cuts, ones]), axis=0)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_adapter_step_is_its_specification(parts: int, rng: np.random.Generator):
    for shift in (0, 1, 7, 16, 31):
        weights = random_weights(rng, parts, 300)
        gradients = rng.integers(-(2**31), 2**31, weights.shape) >> rng.integers(0, 31, 300)
        corner = rng.random(weights.shape) < 0.2
        corners = rng.choice([-(2**31), 2**31 - 1, 0], weights.shape)
        gradients = np.where(corner, corners, gradients)
        got = adapt_step(weights, gradients, shift)
        assert weights_valid(got)
        for column in range(300):
            want = adapt_step_naive(
                weights[:, column].tolist(), gradients[:, column].tolist(), shift
            )
            assert got[:, column].tolist() == want
        np.testing.assert_array_equal(adapt_step(weights[:, 0], gradients[:, 0], shift), got[:, 0])


@pytest.mark.parametrize(
    ("weights", "gradients", "shift", "after"),
    [
        # n g - sum g = 10, -10; halved.
        ([100, UNIT - 100], [10, 0], 1, [95, UNIT - 95]),
        # Equal gradients change nothing.
        ([1, 2, UNIT - 3], [77, 77, 77], 0, [1, 2, UNIT - 3]),
        # Rounding towards minus infinity: deltas 0 and -1; the unit too many leaves the largest.
        ([100, UNIT - 100], [1, 0], 2, [100, UNIT - 100]),
        # Clamped at 0; the largest takes the rest.
        ([5, UNIT - 5], [100000, 0], 0, [0, UNIT]),
        # Two parts at the limit: the first of equals gives all it has, the other stays.
        ([0, UNIT, 0], [-(2**31), -(2**31), 2**31 - 1], 0, [0, UNIT, 0]),
    ],
)
def test_documented_steps(weights, gradients, shift: int, after):
    assert adapt_step_naive(weights, gradients, shift) == after
    assert adapt_step(weights, gradients, shift).tolist() == after


def test_steps_with_integer_gradients_reach_the_best_weights(fixed_rng: np.random.Generator):
    products = fixed_rng.integers(-2000, 2000, (3, 400))
    goal = np.array([5000, 20000, UNIT - 25000])
    target = goal @ products
    weights = np.array([UNIT, 0, 0])
    errors = []
    for _ in range(300):
        residual = (target - weights @ products) >> 15
        errors.append(int(np.square(residual).sum()))
        gradients = integer_gradients(products, residual, shift=8)
        weights = adapt_step(weights, gradients, 8)
    assert np.abs(weights - goal).max() <= 40
    assert errors[-1] < errors[0] / 10000


def test_integer_gradients_are_exact_and_saturate():
    products = np.array([[3, -4], [2**31 - 1, 2**31 - 1], [-(2**31), -(2**31)]])
    assert integer_gradients(products[:1], [5, 1]).tolist() == [-11]
    assert integer_gradients(products[:1], [5, 1], shift=1).tolist() == [-6]
    large = integer_gradients(products, [2**31 - 1, 2**31 - 1])
    assert large.tolist() == [2**31 - 1, -(2**31), 2**31 - 1]


@pytest.mark.parametrize(
    ("weights", "gradients", "shift", "message"),
    [
        ([UNIT], [0], 0, "2 to 4 parts"),
        ([UNIT, 0], [0, 0, 0], 0, "one shape"),
        ([UNIT, 1], [0, 0], 0, "must sum to 32768"),
        ([UNIT, 0], [0, 2**31], 0, "must be int32"),
        ([UNIT, 0], [0, 0], 32, "shift: must be 0 to 31, got 32"),
    ],
)
def test_bad_steps_are_refused(weights, gradients, shift: int, message: str):
    with pytest.raises(BadInput, match=message):
        adapt_step(weights, gradients, shift)
