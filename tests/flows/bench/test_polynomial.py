"""Polynomials of a sparse matrix: integer specification, closeness to float, smoothing."""

import numpy as np
import pytest

from flows.bench.study.polynomial import (
    evaluate,
    evaluate_naive,
    matrix_polynomial,
    plan_polynomial,
)
from flows.bench.study.smoother import plan_smoother, smooth
from golden.errors import BadInput
from golden.numerics.quantise import quantise_activations
from golden.operators.matmul import matmul, matmul_naive


def poisson(side: int) -> np.ndarray:
    """Five-point Laplacian on a square grid, Dirichlet boundary: (side**2, side**2)."""
    line = 2 * np.eye(side) - np.eye(side, k=1) - np.eye(side, k=-1)
    return np.kron(line, np.eye(side)) + np.kron(np.eye(side), line)


def circuit(rng: np.random.Generator, n: int) -> np.ndarray:
    """Irregular sparse matrix with a dominant diagonal of very different sizes."""
    a = np.where(rng.random((n, n)) < 0.08, rng.normal(size=(n, n)), 0.0)
    np.fill_diagonal(a, 0)
    np.fill_diagonal(a, (np.abs(a).sum(axis=1) + 0.5) * 1.2)
    return a * 10.0 ** rng.uniform(-1, 1, (n, 1))


POLYNOMIALS = [[3.0], [0.0, 1.0], [1.0, -0.5], [0.25, 0.0, -1.0], [1.0, 1.0, 1.0, 1.0, 1.0]]


def test_the_recurrence_is_the_polynomial(rng: np.random.Generator):
    a = rng.normal(size=(5, 5))
    x = rng.normal(size=(3, 5))
    direct = 2 * x + 3 * x @ a.T - x @ a.T @ a.T
    np.testing.assert_allclose(matrix_polynomial(a, [2.0, 3.0, -1.0], x)[-1], direct)


@pytest.mark.parametrize("coefficients", POLYNOMIALS, ids=str)
def test_integer_evaluation(coefficients: list[float], rng: np.random.Generator):
    for a in (poisson(3) / 8, circuit(rng, 13) / 50, np.zeros((3, 3)), np.eye(1)):
        x = rng.uniform(-1, 1, (4, len(a)))
        plan = plan_polynomial(a, coefficients, x)
        vectors, unit = quantise_activations(x)
        corners = rng.choice([-128, 127, 0], vectors.shape).astype(np.int8)
        for q in (vectors, corners, np.zeros_like(vectors)):
            got = evaluate(plan, q)
            np.testing.assert_array_equal(got, evaluate_naive(plan, q))
            np.testing.assert_array_equal(got, evaluate(plan, q, matmul_naive))
        exact = matrix_polynomial(a, coefficients, vectors * float(unit[0]))[-1]
        fixed = evaluate(plan, vectors) * plan.scale * float(unit[0])
        # Each of the degree's states is rounded to 1/254 of its peak, and so are the weights.
        size = max(np.abs(state).max() for state in matrix_polynomial(a, coefficients, x))
        assert np.abs(fixed - exact).max() <= 0.03 * len(coefficients) * size


def test_every_product_is_one_the_array_takes(rng: np.random.Generator):
    a = circuit(rng, 20)
    seen = []

    def product(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        seen.append((vectors.dtype, weights.dtype, np.count_nonzero(weights)))
        return matmul(vectors, weights)

    smooth(a, rng.normal(size=20), 3, degree=2, product=product)
    assert len(seen) == 3 * (1 + 2)  # the inverse, then one per degree, in every round
    assert {kind[:2] for kind in seen} == {(np.dtype(np.int8), np.dtype(np.int8))}
    assert max(count for *_, count in seen) <= np.count_nonzero(a)


@pytest.mark.parametrize("degree", [0, 1, 3])
@pytest.mark.parametrize("block", [1, 4])
def test_smoothing_follows_float(degree: int, block: int, fixed_rng: np.random.Generator):
    for a in (poisson(7), circuit(fixed_rng, 50)):
        done = smooth(a, fixed_rng.normal(size=len(a)), 12, degree=degree, block=block)
        assert (np.diff(done.fixed) < 0).all()
        # The reduction per round is float's to a few per cent.
        rate, reference = (
            (history[-1] / history[0]) ** (1 / (len(history) - 1))
            for history in (done.fixed, done.reference)
        )
        assert rate <= reference + 0.05
        assert done.solution.shape == (len(a),)


def test_degree_zero_with_one_block_solves(fixed_rng: np.random.Generator):
    a = circuit(fixed_rng, 12)
    done = smooth(a, fixed_rng.normal(size=12), 8, degree=0, block=12, damping=1.0)
    # Each round leaves what INT8 could not express, under a twentieth.
    assert done.fixed[-1] < 1e-8
    assert done.reference[0] < 1e-10


def test_a_higher_degree_reduces_more_per_round(fixed_rng: np.random.Generator):
    b = fixed_rng.normal(size=49)
    last = [smooth(poisson(7), b, 6, degree=degree).fixed[-1] for degree in (0, 1, 3)]
    assert last == sorted(last, reverse=True)


def test_same_seed_same_plan(rng: np.random.Generator):
    a = circuit(rng, 10)
    first, second = plan_smoother(a, degree=2), plan_smoother(a, degree=2)
    assert first.series is not None
    assert second.series is not None
    np.testing.assert_array_equal(first.series.scale, second.series.scale)
    np.testing.assert_array_equal(first.inverse, second.inverse)


@pytest.mark.parametrize(
    ("matrix", "coefficients", "calibration", "message"),
    [
        (np.ones((2, 3)), [1.0], np.ones((1, 3)), "must be square"),
        (np.ones((2, 2)), [1.0], np.ones((1, 3)), "as wide as the vectors"),
        (np.ones((2, 2)), [1.0, 0.0], np.ones((1, 2)), "the highest not 0"),
        (np.ones((2, 2)), [], np.ones((1, 2)), "coefficients"),
        (np.ones((2, 2)), [1.0, 1.0], np.zeros((1, 2)), "must not be all zero"),
        (np.ones((2, 2)), [1e9, 1.0], np.ones((1, 2)), "within int32"),
    ],
)
def test_bad_polynomials(matrix, coefficients, calibration, message: str):
    with pytest.raises(BadInput, match=message):
        plan_polynomial(matrix, coefficients, calibration)


@pytest.mark.parametrize(
    ("matrix", "options", "message"),
    [
        (np.diag([1.0, 0.0]), {}, "singular one at row 1"),
        (np.eye(2), {"degree": -1}, "degree, block and damping"),
        (np.eye(2), {"damping": 0.0}, "degree, block and damping"),
    ],
)
def test_bad_smoothers(matrix, options: dict, message: str):
    with pytest.raises(BadInput, match=message):
        plan_smoother(matrix, **options)


def test_a_zero_right_side_is_refused():
    with pytest.raises(BadInput, match="right side: must have 2 values"):
        smooth(np.eye(2), np.zeros(2), 1)
