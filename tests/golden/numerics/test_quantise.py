"""INT8 quantisation and requantisation against their definitions."""

from typing import Any, cast

import numpy as np
import pytest

from golden.errors import BadInput
from golden.numerics.quantise import (
    MAX_MULTIPLIER,
    MAX_SHIFT,
    finite_matrix,
    quantise_activations,
    quantise_weights,
    requantise,
    requantise_naive,
    requantise_parameters,
)

INT32 = np.iinfo(np.int32)
CORNERS = [INT32.min, INT32.min + 1, -129, -128, -127, -3, -2, -1, 0, 1, 2, 3, 127, 128, INT32.max]


def test_weights_have_one_scale_per_output_channel():
    w = np.array([[1.0, 0.0, -254.0], [-0.5, 0.0, 3.0]])
    q, scale = quantise_weights(w)
    assert q.dtype == np.int8
    assert scale.dtype == np.float32
    # Channel 1 is all zero: scale 1. -0.5 / (1/127) = -63.5 and 3/2 = 1.5 are ties, to even.
    np.testing.assert_array_equal(scale, np.array([1 / 127, 1.0, 2.0], np.float32))
    np.testing.assert_array_equal(q[:, 1:], [[0, -127], [0, 2]])
    assert q[0, 0] == 127


def test_ties_round_to_even():
    values = np.array([[127.0], [0.5], [1.5], [2.5], [-0.5], [-1.5], [-2.5]])
    q, scale = quantise_weights(values)
    assert scale.tolist() == [1.0]
    assert q.ravel().tolist() == [127, 0, 2, 2, 0, -2, -2]


@pytest.mark.parametrize("trial", range(4))
def test_quantisation_error_is_half_a_step_and_the_peak_is_127(rng, trial):
    x = rng.normal(size=(13, 29)) * 10.0 ** rng.integers(-20, 20, size=(13, 1))
    for matrix, (q, scale) in (
        (x.T, quantise_weights(x.T)),
        (x.T, [a.T for a in quantise_activations(x, per="token")]),
    ):
        step = scale.astype(np.float64)
        # 1e-5: the scale is rounded to float32, which moves a value of 127 steps by 127 * 2**-24.
        assert np.all(np.abs(q * step - matrix) <= step * (0.5 + 1e-5))
        np.testing.assert_array_equal(np.abs(q.astype(int)).max(axis=0), 127)


def test_activations_per_tensor_and_per_token():
    x = np.array([[1.0, -2.0], [0.0, 0.0], [254.0, 127.0]], dtype=np.float32)
    q, scale = quantise_activations(x)
    assert scale.tolist() == [2.0]
    assert q.tolist() == [[0, -1], [0, 0], [127, 64]]
    q, scale = quantise_activations(x, per="token")
    np.testing.assert_array_equal(scale, np.array([2 / 127, 1.0, 2.0], np.float32))
    assert q.tolist() == [[64, -127], [0, 0], [127, 64]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_zero_and_vanishing_magnitudes_have_scale_one(dtype):
    vanishing = np.full((2, 3), 1e-44, dtype=dtype)
    for matrix in (np.zeros((2, 3), dtype=dtype), vanishing):
        for q, scale in (
            quantise_weights(matrix),
            quantise_activations(matrix),
            quantise_activations(matrix, per="token"),
        ):
            assert np.all(scale == 1)
            assert not q.any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([[1.0, np.nan]], r"\[0, 1\] is nan"),
        ([[1.0], [-np.inf]], r"\[1, 0\] is -inf"),
        ([1.0, 2.0], r"shape \(2,\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        ([["a"]], "dtype"),
        ([[1j]], "dtype"),
        ([[True]], "dtype bool"),
        ([[1e300]], "float32 scale"),
    ],
)
def test_bad_matrices_are_refused(values, message):
    for quantise in (quantise_weights, quantise_activations):
        with pytest.raises(BadInput, match=message):
            quantise(values)


def test_unknown_granularity_is_refused():
    with pytest.raises(BadInput, match="'channel'"):
        quantise_activations([[1.0]], per=cast(Any, "channel"))


def test_finite_matrix_names_its_input():
    assert finite_matrix("x", [[1, 2]]).dtype == np.float64
    with pytest.raises(BadInput, match=r"^bias: "):
        finite_matrix("bias", [1])


@pytest.mark.parametrize("rounding", ["half_even", "half_away"])
@pytest.mark.parametrize("shift", [0, 1, 2, 7, 31, 32, 61, MAX_SHIFT])
@pytest.mark.parametrize("multiplier", [0, 1, 3, 2**14, 2**30, MAX_MULTIPLIER])
def test_requantise_equals_its_specification_at_the_corners(rounding, shift, multiplier):
    got = requantise(CORNERS, multiplier, shift, rounding)
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, requantise_naive(CORNERS, multiplier, shift, rounding))


@pytest.mark.parametrize("rounding", ["half_even", "half_away"])
@pytest.mark.parametrize("trial", range(4))
def test_requantise_equals_its_specification_at_random(rounding, rng, trial):
    inside = 0
    for _ in range(60):
        shift = int(rng.integers(0, MAX_SHIFT + 1))
        multiplier = int(rng.integers(0, 2 ** int(rng.integers(1, 32))))
        # Aim at outputs within INT8: most 32-bit accumulators would only test saturation.
        reach = min(200 * 2**shift // max(multiplier, 1) + 2, INT32.max)
        acc = rng.integers(-reach, reach, size=(4, 9), dtype=np.int32, endpoint=True)
        expected = requantise_naive(acc, multiplier, shift, rounding)
        np.testing.assert_array_equal(requantise(acc, multiplier, shift, rounding), expected)
        inside += np.count_nonzero(np.abs(expected.astype(int)) < 127)
    assert inside > 100


@pytest.mark.parametrize("rounding", ["half_even", "half_away"])
def test_requantise_equals_its_specification_at_every_tie(rounding):
    # An odd number times 2**10 / 2**11 lies exactly between two results.
    acc = np.arange(-301, 303, 2)
    expected = requantise_naive(acc, 2**10, 11, rounding)
    np.testing.assert_array_equal(requantise(acc, 2**10, 11, rounding), expected)


def test_the_two_roundings_differ_exactly_at_ties():
    acc = np.arange(-7, 8, dtype=np.int32)
    assert requantise(acc, 1, 1).tolist() == [-4, -3, -2, -2, -2, -1, 0, 0, 0, 1, 2, 2, 2, 3, 4]
    away = [-4, -3, -3, -2, -2, -1, -1, 0, 1, 1, 2, 2, 3, 3, 4]
    assert requantise(acc, 1, 1, "half_away").tolist() == away


def test_requantise_takes_one_factor_per_channel():
    acc = np.array([[100, 100, -100], [300, 7, 1]], dtype=np.int32)
    multiplier, shift = np.array([1, 3, 5]), np.array([0, 1, 2])
    got = requantise(acc, multiplier, shift)
    for column in range(3):
        expected = requantise_naive(acc[:, column], int(multiplier[column]), int(shift[column]))
        np.testing.assert_array_equal(got[:, column], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([2**31], 1, 0), "acc must be in"),
        (([1.0], 1, 0), "acc must hold integers"),
        (([1], -1, 0), "multiplier must be in"),
        (([1], 2**31, 0), "multiplier must be in"),
        (([1], 0.5, 0), "multiplier must hold integers"),
        (([1], 1, -1), "shift must be in"),
        (([1], 1, 63), "shift must be in"),
        (([1, 2], [1, 2, 3], 0), "must broadcast"),
        (([1, 2], 1, [1, 2, 3]), "must broadcast"),
        (([1], 1, 1, "floor"), "'floor'"),
    ],
)
def test_requantise_refuses_what_it_cannot_do_exactly(arguments, message):
    with pytest.raises(BadInput, match=message):
        requantise(*arguments)


@pytest.mark.parametrize("bits", [2, 8, 16, 31])
def test_requantise_parameters_hold_the_promised_precision(rng, bits):
    scale = np.concatenate([2.0 ** rng.uniform(-25, 1, 200), [1.0, 0.5, np.nextafter(1.0, 0)]])
    multiplier, shift = requantise_parameters(scale, bits)
    assert multiplier.min() >= 2 ** (bits - 1)
    assert multiplier.max() < 2**bits
    error = np.abs(multiplier / 2.0**shift - scale) / scale
    assert error.max() <= 2.0**-bits


@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf, 1e30, 1e-30])
def test_requantise_parameters_refuse_impossible_scales(scale):
    with pytest.raises(BadInput, match="scale must"):
        requantise_parameters([0.5, scale])


def test_requantise_parameters_refuse_impossible_widths():
    with pytest.raises(BadInput, match=r"multiplier_bits must be in 2\.\.31, but is 32"):
        requantise_parameters(0.5, 32)
