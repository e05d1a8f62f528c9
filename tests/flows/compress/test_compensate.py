"""Compensation: both passes are their naive loops, and lower the error as they promise."""

import numpy as np
import pytest

from flows.compress.compensate import (
    descend,
    descend_naive,
    problem_of,
    sequential,
    sequential_naive,
)
from golden.numerics.quantise import quantise_weights


def problem(rng, tokens=40, depth=13, outputs=5):
    few = max(1, depth // 3)
    inputs = rng.normal(0, 1, (tokens, few)) @ rng.normal(0, 1, (few, depth))
    inputs += rng.normal(0, 0.3, inputs.shape)
    weights = rng.normal(0, 1, (depth, outputs))
    weights[rng.random(weights.shape) < 0.1] = 0
    start, scale = quantise_weights(weights)
    return problem_of(inputs, inputs @ weights, weights, start, scale.astype(float)), inputs


def objective(found, weights, limits) -> np.ndarray:
    """Squared error of each column less a constant, plus the squared limits of what is kept."""
    real = weights * found.scale
    error = np.einsum("kn,kj,jn->n", real, found.gram, real) - 2 * (real * found.target).sum(axis=0)
    return error + (np.square(limits) * (weights != 0)).sum(axis=0)


def lengths(found, rng, share=0.3) -> np.ndarray:
    limit = np.quantile(found.saliency[found.start != 0], share)
    return limit * rng.choice((0.0, 0.5, 1.0), found.start.shape)


@pytest.mark.parametrize(("tokens", "depth"), [(40, 13), (3, 13), (200, 131), (1, 1)])
def test_both_passes_are_their_specification(tokens, depth, rng):
    found, _ = problem(rng, tokens, depth)
    limits = lengths(found, rng)
    got = sequential(found, limits)
    more = descend(found, got, limits, 2)
    for column in range(2 if depth > 100 else 5):
        want = sequential_naive(found, limits, column)
        # Sums of floats in another order may turn a tie of rounding; a value or two at most.
        assert np.count_nonzero(got[:, column] != want) <= depth // 60
        want = descend_naive(found, got, limits, column, 2)
        assert np.count_nonzero(more[:, column] != want) <= depth // 60


def test_the_order_of_surgery_is_by_loudness(rng):
    found, inputs = problem(rng)
    loud = np.square(inputs).sum(axis=0)[found.order]
    assert (np.diff(loud) <= 0).all()
    # H^-1 = R'R in that order.
    ordered = found.gram[np.ix_(found.order, found.order)]
    np.testing.assert_allclose(
        found.factor.T @ found.factor @ ordered, np.eye(len(ordered)), atol=1e-8
    )
    inverse = np.diag(np.linalg.inv(found.gram))
    want = np.abs(found.start * found.scale) / np.sqrt(inverse)[:, None]
    np.testing.assert_allclose(found.saliency, want)


def test_descent_never_rises(rng):
    found, _ = problem(rng, 60, 30)
    limits = 5 * lengths(found, rng, 0.5)
    held = found.start
    before = objective(found, held, limits)
    for _ in range(4):
        held = descend(found, held, limits)
        after = objective(found, held, limits)
        assert (after <= before + 1e-9 * np.abs(before)).all()
        before = after
    assert np.count_nonzero(held) < np.count_nonzero(found.start)


def test_surgery_beats_plain_dropping_of_the_same_weights(fixed_rng):
    found, inputs = problem(fixed_rng, 200, 48, 16)
    limits = np.full(found.start.shape, np.quantile(found.saliency[found.start != 0], 0.3))
    held = sequential(found, limits)
    plain = np.where(held, found.start, 0)
    target = found.target
    best = np.linalg.solve(found.gram, target)
    lost = [np.linalg.norm(inputs @ (w * found.scale - best)) for w in (held, plain)]
    assert np.count_nonzero(held) < 0.97 * np.count_nonzero(found.start)
    assert lost[0] < 0.7 * lost[1]


def test_zeros_stay_and_limits_of_zero_drop_only_what_rounds_to_zero(rng):
    found, inputs = problem(rng, 200, 30)
    none = np.zeros(found.start.shape)
    for held in (sequential(found, none), descend(found, found.start, none)):
        assert not held[found.start == 0].any()
        assert held.min() >= -127
        assert np.count_nonzero(held) > 0.9 * np.count_nonzero(found.start)
        # Rounding with feedback is better than without.
        best = np.linalg.solve(found.gram, found.target)
        mine, plain = (
            np.linalg.norm(inputs @ (w * found.scale - best)) for w in (held, found.start)
        )
        assert mine < plain
    everything = np.full(found.start.shape, np.inf)
    assert not sequential(found, everything).any()
    assert not descend(found, found.start, everything).any()


def test_damping_pulls_to_the_float_weights(fixed_rng):
    plain, inputs = problem(fixed_rng, 60)
    weights = plain.start * plain.scale
    target = inputs @ (weights + fixed_rng.normal(0, 0.1, weights.shape))
    moved = []
    for damping in (1e-3, 1.0, 1e6):
        found = problem_of(inputs, target, weights, plain.start, plain.scale, damping)
        np.testing.assert_allclose(
            found.gram - inputs.T @ inputs,
            np.eye(13) * damping * np.diag(inputs.T @ inputs).mean(),
            rtol=1e-6,
            atol=1e-9 * damping,
        )
        out = descend(found, plain.start, np.zeros(plain.start.shape), 8)
        moved.append(np.abs(out.astype(int) - plain.start).sum())
    assert moved[0] > moved[1] > moved[2] == 0
