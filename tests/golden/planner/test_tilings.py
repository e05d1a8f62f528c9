"""Tiles end where the activation memory or the accumulators do."""

from dataclasses import replace

import numpy as np
import pytest

from golden.errors import BadInput
from golden.planner.choose import built_kernels
from golden.planner.grouping import Grouping
from golden.planner.product import operand_of, plan_matmul, plan_without_search
from golden.planner.tilings import tilings
from tests.golden.plans import BASE, operands, results_of

NARROW = replace(BASE, k_tile=512, sum_bits=22, index_words=1024, value_words=1024)


def heaviest(weights: np.ndarray, bounds: np.ndarray) -> int:
    """Largest sum of magnitudes of a column in a tile."""
    tiles = np.split(np.abs(weights.astype(int)), bounds[1:-1])
    return max(int(tile.sum(axis=0).max()) for tile in tiles)


def test_light_weights_use_the_whole_memory():
    whole, short, half = tilings(NARROW, np.ones((2048, 3), np.int8))
    assert whole.tolist() == [0, 512, 1024, 1536, 2048]
    assert short.tolist() == [0, 64, 576, 1088, 1600, 2048]
    assert half.tolist() == list(range(0, 2049, 256))


def test_the_heaviest_weights_are_cut_to_what_the_sums_hold():
    weights = np.zeros((400, 5), np.int8)
    weights[:, 2] = -128
    # 16383 = 2^21 / 128 - 1 is the most: 127 rows, in whole index words 64.
    whole, *_ = tilings(NARROW, weights)
    assert NARROW.column_weight == 16383
    assert whole.tolist() == [0, 64, 128, 192, 256, 320, 400]


def test_random_weights_stay_within_the_limit(rng: np.random.Generator):
    for _ in range(20):
        shape = (int(rng.integers(1, 1500)), int(rng.integers(1, 20)))
        weights = (rng.integers(-128, 128, shape) * (rng.random(shape) < rng.random())).astype(
            np.int8
        )
        sent = operand_of(NARROW, np.zeros((1, shape[0]), np.int8), weights).sent(
            built_kernels(NARROW, "auto")
        )
        grouped = Grouping(NARROW, 0.1).bounds(sent)
        for bounds in (*tilings(NARROW, sent.weights), grouped):
            assert bounds[0] == 0
            assert bounds[-1] == len(sent.weights)
            assert np.diff(bounds).min() > 0
            assert np.diff(bounds).max() <= NARROW.k_tile
            assert heaviest(sent.weights, bounds) <= NARROW.column_weight


def test_sums_at_the_limit_are_exact(rng: np.random.Generator):
    weights = np.full((1000, 4), -128, np.int8)
    activations = np.full((4, 1000), -128, np.int8)
    plan = plan_matmul(NARROW, activations, weights, "dense")
    (job,) = plan.jobs
    assert (plan.collect(job, results_of(plan, activations, job, rng)) == 1000 << 14).all()


def test_tiles_whose_sums_might_overflow_are_refused(rng: np.random.Generator):
    _, weights = operands(rng, (1, 512, 4), 0.0)
    kernels = built_kernels(NARROW, "dense")
    with pytest.raises(BadInput, match=r"^weights: .* at most 16383, .* got \d+$"):
        plan_without_search(NARROW, kernels, weights, np.array([0, 512]), 4)
