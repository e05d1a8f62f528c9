"""Approximate mode: the budget holds against the float layer, recomputed here from scratch."""

import math

import numpy as np
import pytest

from flows.compress.approximate import approximate, check_budget
from flows.compress.equalise import equalised_layer
from flows.compress.layer import layer_of, sample_of
from golden.errors import BadInput, CheckFailed
from golden.planner.model_table import computed_table
from golden.shape import ArrayShape

SHAPE = ArrayShape(
    lanes=4,
    engines=4,
    group=2,
    k_tile=32,
    columns=16,
    activation_tiles=4,
    index_words=128,
    value_words=128,
    queue=8,
    data_bits=128,
    kernels=("dense", "bitmap", "block", "nm"),
    mac="packed",
)


@pytest.fixture(scope="module")
def table():
    return computed_table(SHAPE, "0" * 64, [(32, 4)])


def integers(rng, tokens=24):
    activations = rng.integers(-128, 128, (tokens, 75)).astype(np.int8)
    weights = np.clip(np.rint(rng.normal(0, 30, (75, 37))), -128, 127).astype(np.int8)
    return activations, weights


def floats(rng, tokens=300):
    """Correlated activations, as layers have them, and normal weights."""
    mix = rng.normal(0, 1, (20, 75)) * 3 + rng.normal(0, 0.1, 75)
    activations = rng.normal(0, 1, (tokens, 20)) @ mix + rng.normal(0, 0.5, (tokens, 75))
    return activations, rng.normal(0, 0.05, (75, 37))


def recomputed(activations, weights, near, divisors=None) -> float:
    """The error in plain float64 arithmetic, rounding written out once more."""
    exact = activations.astype(np.float64) @ weights.astype(np.float64)
    if divisors is not None:
        activations, weights = activations / divisors, weights * divisors[:, None]
    inputs, columns = activations.astype(np.float64), np.ones(weights.shape[1])
    if activations.dtype != np.int8:
        step = (np.abs(activations).max(axis=1, keepdims=True) / 127).astype(np.float32)
        step = np.where(step == 0, 1, step).astype(np.float64)
        inputs = np.rint(activations / step) * step
    if weights.dtype != np.int8:
        columns = (np.abs(weights).max(axis=0) / 127).astype(np.float32).astype(np.float64)
    got = inputs @ (near.weights.astype(np.float64) * columns)
    return float(np.linalg.norm(got - exact) / np.linalg.norm(exact))


def run(activations, weights, budget, table, **options):
    layer = layer_of(weights)
    return approximate(layer, sample_of(activations, layer), budget, SHAPE, table, **options)


@pytest.mark.parametrize("budget", [0.0, 0.001, 0.018, 0.1, 0.5, 1.0])
def test_the_measured_error_of_int8_operands_stays_within_the_budget(budget, table, rng):
    activations, weights = integers(rng)
    near = run(activations, weights, budget, table)
    assert near.error == pytest.approx(recomputed(activations, weights, near), abs=1e-12)
    assert near.error <= budget
    assert near.error_quantisation == 0
    stays = near.weights != 0
    assert not near.weights[weights == 0].any()
    assert near.dropped == np.count_nonzero(weights) - np.count_nonzero(stays)
    assert near.changed == np.count_nonzero((near.weights != weights) & stays)
    assert near.levels.shape == (3, 4)
    if budget == 0:
        assert np.array_equal(near.weights, weights)


@pytest.mark.parametrize("held_out", [0.0, 0.25])
@pytest.mark.parametrize("budget", [0.018, 0.06, 1.0])
def test_the_measured_error_of_float_operands_stays_within_the_budget(budget, held_out, table, rng):
    activations, weights = floats(rng)
    near = run(activations, weights, budget, table, held_out=held_out)
    assert near.error == pytest.approx(recomputed(activations, weights, near))
    assert near.error <= budget
    assert near.held_out == held_out * 300
    if held_out:
        assert recomputed(activations[-75:], weights, near) <= budget
    assert 0 < near.error_quantisation < 0.02


@pytest.mark.parametrize("held_out", [0.0, 0.25])
def test_the_budget_holds_with_divisors_and_more_is_dropped(held_out, table, fixed_rng):
    activations, weights = floats(fixed_rng)
    activations[:, ::15] *= 25
    activations[:, 4], activations[7], weights[11], weights[:, 3] = 0, 0, 0, 0
    layer = equalised_layer(weights, activations, held_out=held_out)
    sample = sample_of(activations, layer)
    near = approximate(layer, sample, 0.05, SHAPE, table, held_out=held_out)
    want = recomputed(activations, weights, near, layer.divisors)
    assert near.error == pytest.approx(want, rel=1e-6)
    assert want <= 0.05
    if held_out:
        assert recomputed(activations[-75:], weights, near, layer.divisors) <= 0.05
    plain = run(activations, weights, 0.05, table, held_out=held_out)
    assert near.error_quantisation < plain.error_quantisation
    assert np.count_nonzero(near.weights) < np.count_nonzero(plain.weights)


def test_a_larger_budget_drops_more_and_the_others_make_up_for_it(table, fixed_rng):
    activations, weights = floats(fixed_rng)
    found = [run(activations, weights, b, table) for b in (0.018, 0.05, 0.2)]
    dropped = [near.dropped for near in found]
    assert 0 < dropped[0] < dropped[1] < dropped[2] < weights.size
    # The same weights dropped from plain rounding, with nothing to make up for them.
    layer = layer_of(weights)
    for near in found:
        alone = sample_of(activations, layer).error(
            layer, np.where(near.weights, layer.weights, 0).astype(np.int8)
        )
        assert alone > 1.5 * near.error
        assert near.changed > 0


def test_a_budget_below_rounding_fails_with_both_figures(table, rng):
    activations, weights = floats(rng)
    near = run(activations, weights, 0.05, table)
    with pytest.raises(CheckFailed, match=r"at most 0\.0100%.*plain INT8, and .* compensated") as e:
        run(activations, weights, 0.0001, table)
    assert f"{near.error_quantisation:.4%}" in str(e.value)
    with pytest.raises(CheckFailed, match=r"at most 0\.0000%"):
        run(activations, weights, 0.0, table)


def test_compensated_rounding_reaches_what_plain_rounding_misses(table, fixed_rng):
    # Activations that are int8 exactly, so that rounding of weights is the whole error.
    activations = np.rint(floats(fixed_rng)[0] * 5).clip(-127, 127).astype(np.int8)
    weights = floats(fixed_rng)[1]
    plain = run(activations, weights, 1.0, table).error_quantisation
    near = run(activations, weights, 0.8 * plain, table)
    assert near.error <= 0.8 * plain < near.error_quantisation
    assert recomputed(activations, weights, near) == pytest.approx(near.error)


def test_zeros_silence_and_the_smallest_sizes(table, fixed_rng):
    activations, weights = integers(fixed_rng)
    nothing = run(activations, np.zeros_like(weights), 0.1, table)
    assert (nothing.dropped, nothing.error) == (0, 0.0)
    nothing = run(activations.astype(np.float32), np.zeros((75, 37), np.float32), 0.0, table)
    assert (nothing.dropped, nothing.error) == (0, 0.0)
    silent = run(np.zeros_like(activations), weights, 0.1, table)
    assert (silent.dropped, silent.error) == (0, 0.0)
    for tokens, depth, outputs in ((1, 75, 37), (5, 1, 3), (1, 1, 1), (2, 67, 1)):
        a, w = activations[:tokens, :depth].copy(), weights[:depth, :outputs].copy()
        a[0], w[w == 0] = 127, 9
        for left, right in ((a, w), (a / 3.7, w / 900)):
            near = run(left, right, 0.05, table, held_out=0.2)
            assert near.error == pytest.approx(recomputed(left, right, near), abs=1e-12)
            assert near.error <= 0.05
            assert near.held_out < tokens
    # All may go where the budget is the whole output.
    assert not run(activations, weights, 1.0, table).weights[:, 0].all()


def test_where_only_the_reference_vanishes_no_error_is_finite():
    layer = layer_of(np.array([[5], [-5]], np.int8))
    sample = sample_of(np.array([[1, 1]], np.int8), layer)
    assert sample.error(layer, np.array([[5], [0]], np.int8)) == math.inf
    assert sample.error(layer, layer.weights) == 0.0


def test_the_same_operands_give_the_same_weights(table, rng):
    activations, weights = floats(rng)
    one, two = (run(activations, weights, 0.03, table, held_out=0.2) for _ in range(2))
    assert np.array_equal(one.weights, two.weights)
    assert (one.error, one.threshold) == (two.error, two.threshold)


@pytest.mark.parametrize("budget", [-0.1, 1.1, math.nan, math.inf, True])
def test_a_bad_budget_is_refused(budget):
    with pytest.raises(BadInput, match="error_budget: must be a number from 0 to 1"):
        check_budget(budget)


def test_bad_operands_are_refused(rng):
    layer = layer_of(rng.normal(0, 1, (4, 3)))
    with pytest.raises(BadInput, match=r"K must agree, got \(2, 5\) and \(4, 3\)"):
        sample_of(np.ones((2, 5), np.int8), layer)
    with pytest.raises(BadInput, match="activations: must be finite"):
        sample_of(np.full((2, 4), np.nan), layer)
    with pytest.raises(BadInput, match="weights: must be finite"):
        layer_of(np.full((2, 4), np.inf))
