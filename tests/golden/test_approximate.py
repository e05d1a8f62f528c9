"""Approximate mode: the budget holds, nothing but small weights goes."""

import math

import numpy as np
import pytest

from golden.errors import BadInput
from golden.fuse.approximate import approximate, check_budget, output_error
from golden.fuse.computed import computed_table
from golden.matmul import matmul_naive
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


def operands(rng):
    activations = rng.integers(-128, 128, (24, 75)).astype(np.int8)
    weights = np.clip(np.rint(rng.normal(0, 30, (75, 37))), -128, 127).astype(np.int8)
    return activations, weights


@pytest.mark.parametrize("budget", [0.0, 0.001, 0.018, 0.1, 0.5, 1.0])
def test_the_measured_error_stays_within_the_budget(budget, table, rng):
    activations, weights = operands(rng)
    near = approximate(weights, activations, budget, SHAPE, table)
    exact, got = (matmul_naive(activations, w).astype(float) for w in (weights, near.weights))
    measured = np.linalg.norm(got - exact) / np.linalg.norm(exact)
    assert near.error == pytest.approx(measured)
    assert output_error(activations, weights, near.weights) == pytest.approx(measured)
    assert measured <= budget
    # What stays is as it was.
    stays = near.weights != 0
    assert np.array_equal(near.weights[stays], weights[stays])
    assert near.dropped == np.count_nonzero(weights) - np.count_nonzero(stays)
    assert near.levels.shape == (3, 4)
    if budget == 0:
        assert near.dropped == 0


def test_a_larger_budget_drops_more(table, rng):
    activations, weights = operands(rng)
    dropped = [
        approximate(weights, activations, b, SHAPE, table).dropped for b in (0.01, 0.05, 0.2)
    ]
    assert 0 < dropped[0] < dropped[1] < dropped[2] < weights.size


def test_zeros_and_silent_activations(table, rng):
    activations, weights = operands(rng)
    nothing = approximate(np.zeros_like(weights), activations, 0.1, SHAPE, table)
    assert (nothing.dropped, nothing.error) == (0, 0.0)
    silent = approximate(weights, np.zeros_like(activations), 0.1, SHAPE, table)
    assert (silent.dropped, silent.error) == (0, 0.0)
    # Where only the reference vanishes, no error is finite.
    a, w = np.array([[1, 1]], np.int8), np.array([[5], [-5]], np.int8)
    assert output_error(a, w, np.array([[5], [0]], np.int8)) == math.inf


@pytest.mark.parametrize("budget", [-0.1, 1.1, math.nan, math.inf, True])
def test_a_bad_budget_is_refused(budget):
    with pytest.raises(BadInput, match="error_budget: must be a number from 0 to 1"):
        check_budget(budget)
