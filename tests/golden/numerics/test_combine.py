"""Fusion arithmetic: rational specification, exact vectors, the 48-bit accumulator."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.numerics.combine import (
    UNIT,
    accumulate,
    combine,
    combine_naive,
    round_accumulator,
    weights_valid,
)
from golden.numerics.quantise import ROUNDINGS, Rounding

CORNERS = np.array([-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 2, 2**31 - 1], np.int64)


def random_weights(rng: np.random.Generator, parts: int, columns: int | None = None) -> np.ndarray:
    """Weights that sum to UNIT, zeros and UNIT among them."""
    count = columns or 1
    cuts = np.sort(rng.integers(0, UNIT + 1, (parts - 1, count)), axis=0)
    cuts[:, rng.random(count) < 0.2] = UNIT
    weights = np.diff(np.vstack([np.zeros((1, count)), cuts, np.full((1, count), UNIT)]), axis=0)
    return weights.astype(np.int64)[:, :count] if columns else weights.astype(np.int64)[:, 0]


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("parts", [1, 2, 3, 4, 7])
def test_combine_is_the_rational_specification(
    parts: int, rounding: Rounding, rng: np.random.Generator
):
    for columns in (1, 2, 13):
        partials = rng.integers(-(2**31), 2**31, (parts, 11, columns))
        partials[:, :4] = rng.choice(CORNERS, (parts, 4, columns))
        partials[:, 4:8] >>= 29  # small ones, where ties are frequent
        partials = partials.astype(np.int32)
        for weights in (random_weights(rng, parts), random_weights(rng, parts, columns)):
            got = combine(partials, weights, rounding=rounding)
            assert got.dtype == np.int32
            expected = combine_naive(partials, weights, rounding=rounding)
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [("half_even", [0, 2, 0, -2, 2]), ("half_away", [1, 2, -1, -2, 3])],
)
def test_ties_go_where_the_rounding_says(rounding: Rounding, expected: list[int]):
    half = UNIT // 2
    partials = np.array([[1, 3, -1, -3, 5], [0, 0, 0, 0, 0]], np.int32)
    assert combine(partials, [half, half], rounding=rounding).tolist() == expected
    assert combine_naive(partials, [half, half], rounding=rounding).tolist() == expected
    beside = [half - 1, half + 1, -half - 1, -half + 1]
    assert round_accumulator(beside, rounding).tolist() == [0, 1, -1, 0]


def test_an_unknown_rounding_is_refused():
    with pytest.raises(BadInput, match="fusion: rounding: must be one of half_even, half_away"):
        round_accumulator([0], "up")


def test_exact_mode_is_the_plain_sum(rng: np.random.Generator):
    partials = rng.integers(-(2**29), 2**29, (4, 50, 3)).astype(np.int32)
    fused = combine(partials, [UNIT] * 4, exact=True)
    np.testing.assert_array_equal(fused, partials.sum(axis=0, dtype=np.int64))


def test_convex_weights_neither_overflow_nor_saturate(rng: np.random.Generator):
    for value in (-(2**31), 2**31 - 1):
        for parts in (1, 2, 3, 4):
            partials = np.full((parts, 2), value, np.int32)
            assert combine(partials, random_weights(rng, parts)).tolist() == [value] * 2


def test_accumulator_wraps_at_48_bits_and_the_result_saturates():
    top = (1 << 47) - 1
    assert accumulate(top, 1, 1).tolist() == -(1 << 47)
    assert accumulate(-top - 1, -1, 1).tolist() == top
    assert accumulate(top, 5, 3, first=True).tolist() == 15
    assert round_accumulator([top, -top - 1]).tolist() == [2**31 - 1, -(2**31)]


def test_weights_valid():
    assert weights_valid([UNIT])
    assert weights_valid([0, UNIT])
    assert weights_valid([[1, UNIT], [UNIT - 1, 0]])
    assert not weights_valid([[1, UNIT], [UNIT - 1, 1]])
    assert not weights_valid([UNIT, UNIT])
    assert weights_valid([UNIT, UNIT], exact=True)
    assert not weights_valid([0, UNIT], exact=True)
    assert not weights_valid([-1, UNIT + 1])
    assert not weights_valid([0.5, 0.5])
    assert not weights_valid([])


@pytest.mark.parametrize(
    ("partials", "weights", "message"),
    [
        (np.zeros((2, 3), np.int32), [UNIT - 1, 0], "sum to 32768"),
        (np.zeros((2, 3), np.int32), [UNIT], "one row per part"),
        (np.zeros((2, 3)), [UNIT, 0], "must hold integers"),
        (np.full((1, 3), 2**31), [UNIT], "must fit 32 signed bits"),
    ],
)
def test_bad_input(partials: np.ndarray, weights: list[int], message: str):
    with pytest.raises(BadInput, match=message):
        combine(partials, weights)


def test_weights_out_of_range_are_refused():
    with pytest.raises(BadInput, match=r"fusion: weight: must be 0\.\.32768, got 40000"):
        accumulate(0, 1, 40000)
