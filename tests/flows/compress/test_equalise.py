"""Divisors of channels: energies as their loops say, the optimum of a convex program, no harm."""

import numpy as np
import pytest

from flows.compress.equalise import (
    channel_divisors,
    equalised_layer,
    log_energy,
    rounding_energy,
    rounding_energy_naive,
)
from flows.compress.layer import layer_of, sample_of
from golden.errors import BadInput


def operands(rng, tokens=120, depth=40, outputs=24):
    """Channels of very different loudness, and weights that know nothing of it."""
    loud = np.exp(rng.normal(0, 1.2, depth))
    return rng.normal(0, 1, (tokens, depth)) * loud, rng.normal(0, 0.05, (depth, outputs))


def logs(values):
    return np.log(np.square(values))


def smooth(activations, weights, divisors) -> float:
    place = 2 * np.log(divisors.astype(np.float64))
    return log_energy(logs(activations), logs(weights).T, place)[0]


@pytest.mark.parametrize("size", [(7, 5, 3), (1, 13, 1), (4, 1, 2), (1, 1, 1)])
def test_the_energies_are_their_loops(size, rng):
    activations, weights = operands(rng, *size)
    activations[0], weights[:, 0] = 0, 0
    divisors = np.exp(rng.normal(0, 1, size[1]))
    want = rounding_energy_naive(activations, weights, divisors)
    assert rounding_energy(activations, weights, divisors) == pytest.approx(want, rel=1e-12)


def test_the_energies_foretell_what_rounding_costs(fixed_rng):
    activations, weights = operands(fixed_rng, 1500, 64, 400)
    activations = activations * np.exp(-0.5 * np.log(np.abs(activations).max(axis=0)))
    divisors = channel_divisors(activations, weights)
    for each in (np.ones(64), divisors.astype(np.float64)):
        layer = layer_of(weights, each)
        inputs = activations / each
        step = np.abs(inputs).max(axis=1, keepdims=True) / 127
        by_inputs = np.square((np.rint(inputs / step) * step - inputs) @ layer.real).sum()
        by_weights = np.square(inputs @ (layer.weights * layer.scale - layer.real)).sum()
        want = rounding_energy(activations, weights, each)
        # Not equal: the peak of each token and column is rounded without an error, and few channels
        # make up most of it.
        assert by_inputs == pytest.approx(want[0], rel=0.25)
        assert by_weights == pytest.approx(want[1], rel=0.25)


def test_the_gradient_is_the_slope_and_the_smooth_maximum_is_close(rng):
    activations, weights = operands(rng, 9, 6, 4)
    place = rng.normal(0, 1, 6)
    first, second = logs(activations), logs(weights).T
    value, slope = log_energy(first, second, place)
    for k in range(6):
        step = np.zeros(6)
        step[k] = 1e-5
        up, down = (log_energy(first, second, place + s)[0] for s in (step, -step))
        assert slope[k] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-8)
    for share, number in ((0.0, 0), (1e12, 1)):
        value = log_energy(first, second, place, share)[0]
        exact = rounding_energy(activations, weights, np.exp(place / 2))[number] * 12 * 127**2
        exact = np.log(exact * max(share, 1.0))
        assert exact - 1e-6 <= value <= exact + np.log(6) / 24 + 1e-6


def test_no_other_divisors_are_better(fixed_rng):
    activations, weights = operands(fixed_rng)
    found = channel_divisors(activations, weights)
    least = smooth(activations, weights, found)
    for size in (0.003, 0.03, 0.3):
        for _ in range(20):
            other = found * np.exp(size * fixed_rng.normal(0, 1, len(found)))
            assert smooth(activations, weights, other) > least - 2e-3
    for exponent in (0.0, 0.3, 0.5, 0.7, 1.0):
        peaks = np.abs(activations).max(axis=0), np.abs(weights).max(axis=1)
        other = peaks[0] ** exponent / peaks[1] ** (1 - exponent)
        assert smooth(activations, weights, other) > least
    assert smooth(activations, weights, np.ones(40)) > least + 0.3


def test_rounding_costs_less_on_tokens_that_were_not_seen(fixed_rng):
    activations, weights = operands(fixed_rng, 600, 64, 48)
    layer = equalised_layer(weights, activations[:300])
    assert layer.divisors is not None
    assert layer.divisors.std() > 0.1
    np.testing.assert_allclose(layer.real, weights * layer.divisors[:, None])
    assert np.exp(np.log(layer.divisors).mean()) == pytest.approx(1.0, rel=1e-5)
    plain = layer_of(weights)
    unseen = activations[300:]
    errors = [sample_of(unseen, each).error(each, each.weights) for each in (plain, layer)]
    assert errors[1] < 0.8 * errors[0]
    # The target is the float product all the same.
    np.testing.assert_allclose(sample_of(unseen, layer).target, unseen @ weights, atol=1e-9)


def test_the_same_operands_give_the_same_divisors_whatever_their_units(rng):
    activations, weights = operands(rng)
    one = channel_divisors(activations, weights)
    assert one.dtype == np.float32
    assert np.array_equal(one, channel_divisors(activations.copy(), weights.copy()))
    scaled = channel_divisors(activations * 1e-12, weights * 1e9)
    np.testing.assert_allclose(scaled, one, rtol=1e-3)
    # Only so many tokens are looked at, and which is fixed.
    many = np.repeat(activations, 20, axis=0)
    assert np.array_equal(channel_divisors(many, weights), channel_divisors(many[::3], weights))


def test_the_tokens_held_out_do_not_choose(fixed_rng):
    activations, weights = operands(fixed_rng)
    strange = activations.copy()
    strange[96:] = strange[96:, ::-1]
    one, two = (equalised_layer(weights, a, held_out=0.2) for a in (activations, strange))
    assert one.divisors is not None
    assert two.divisors is None or np.array_equal(one.divisors, two.divisors)
    assert np.array_equal(one.divisors, channel_divisors(activations[:96], weights))


def test_silent_channels_tokens_and_operands(rng):
    activations, weights = operands(rng)
    activations[:, 3] = weights[5] = activations[7] = weights[:, 2] = 0
    activations[:, 9], weights[9] = 1e6, 0
    layer = equalised_layer(weights, activations)
    assert layer.divisors is not None
    assert np.isfinite(layer.divisors).all()
    assert (layer.divisors > 0).all()
    # What no weight reads is rounded away, where it would drown all others.
    sample = sample_of(activations, layer)
    plain = layer_of(weights)
    assert sample.error(layer, layer.weights) < 0.04
    assert sample_of(activations, plain).error(plain, plain.weights) > 0.5
    for left, right in ((np.zeros((3, 40)), weights), (activations, np.zeros((40, 2)))):
        assert (channel_divisors(left, right) == 1).all()
        assert equalised_layer(right, left).divisors is None
    for size in ((1, 40, 24), (1, 1, 1), (2, 3, 1), (5, 1, 4)):
        left, right = operands(rng, *size)
        layer, plain = equalised_layer(right, left, held_out=0.5), layer_of(right)
        errors = [sample_of(left, each).error(each, each.weights) for each in (layer, plain)]
        assert errors[0] <= errors[1]


def test_int8_operands_stay_as_they_are(rng):
    activations, weights = operands(rng)
    whole = rng.integers(-128, 128, (40, 24)).astype(np.int8)
    tokens = rng.integers(-128, 128, (9, 40)).astype(np.int8)
    for left, right in ((activations, whole), (tokens, weights), (tokens, whole)):
        assert equalised_layer(right, left).divisors is None
    assert np.array_equal(equalised_layer(whole, activations).weights, whole)


@pytest.mark.parametrize("bad", [np.ones(3), np.array([1.0, 0, 1, 1]), np.array([1, np.inf, 1, 1])])
def test_bad_divisors_are_refused(bad, rng):
    weights = rng.normal(0, 1, (4, 3))
    with pytest.raises(BadInput, match="divisors: must be 4 finite numbers greater than 0"):
        layer_of(weights, bad)
    with pytest.raises(BadInput, match="divisors: must come with float weights, got int8"):
        layer_of(np.ones((4, 3), np.int8), np.ones(4))
    with pytest.raises(BadInput, match="must be float for a layer with divisors, got int8"):
        sample_of(np.ones((2, 4), np.int8), layer_of(weights, np.ones(4)))
    with pytest.raises(BadInput, match=r"K must agree, got \(2, 5\) and \(4, 3\)"):
        channel_divisors(np.ones((2, 5)), weights)
