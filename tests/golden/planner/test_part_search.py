"""Scales per part: less error within the limits, one scale where nothing is gained."""

from dataclasses import replace

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.errors import BadInput
from golden.numerics.quantise import quantise_weights
from golden.planner.part_search import OneScale, SplitScales, split_scales
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape

SHAPE = ArrayShape(
    lanes=8, engines=4, group=2, k_tile=64, columns=32, activation_tiles=2, index_words=256,
    value_words=512, queue=8, data_bits=128, kernels=("dense", "bitmap"), mac="packed",
    fusion=True,
)  # fmt: skip


def loud_rows(rng: np.random.Generator, depth: int = 160, columns: int = 24) -> np.ndarray:
    """Weights whose rows differ in loudness, as input features do; half of them zero."""
    rows = np.exp(rng.normal(0, 0.8, (depth, 1)))
    weights = rng.normal(0, 1, (depth, columns)) * rows * rng.uniform(0.01, 0.05, columns)
    weights[rng.random(weights.shape) < 0.5] = 0
    return weights


def one_scale(shape: ArrayShape, weights: np.ndarray, tokens: int = 20, kernel: str = "auto"):
    rounded, scale = quantise_weights(weights)
    activations = np.ones((tokens, len(weights)), np.int8)
    plan = plan_matmul(shape, activations, rounded, kernel)
    return OneScale(rounded, scale.astype(np.float64), plan)


def check(
    found: SplitScales, one: OneScale, weights: np.ndarray, inputs: np.ndarray, limits
) -> None:
    """Figures recomputed from the plan and the definition of the error."""
    byte_limit, cycle_limit = limits
    before, after = one.plan, found.plan
    assert found.weight_bytes == after.weight_bytes <= byte_limit * before.weight_bytes
    assert found.cycles == count_cycles(after).cycles <= cycle_limit * count_cycles(before).cycles
    assert found.weight_bytes_one_scale == before.weight_bytes
    assert found.cycles_one_scale == count_cycles(before).cycles
    whole = np.linalg.norm(inputs @ weights)
    plain = np.linalg.norm(inputs @ (weights - one.weights * one.scale)) / whole
    assert found.error_one_scale == pytest.approx(plain, rel=1e-6)
    if found.fused is None:
        assert (found.plan, found.error) == (one.plan, found.error_one_scale)
        return
    real = found.fused.real(len(weights))
    error = np.linalg.norm(inputs @ (weights - real)) / whole
    assert found.error == pytest.approx(error, rel=1e-6)
    assert found.error < found.error_one_scale


@pytest.mark.parametrize("tokens", [30, 400])
def test_less_error_for_no_more_bytes_and_cycles(tokens, rng: np.random.Generator):
    for limits in ((1.0, 1.0), (1.2, 1.3)):
        weights = loud_rows(rng)
        inputs = rng.normal(size=(tokens, len(weights))) * rng.gamma(1.0, 1.0, len(weights))
        one = one_scale(SHAPE, weights)
        found = split_scales(one, weights, inputs, byte_limit=limits[0], cycle_limit=limits[1])
        check(found, one, weights, inputs, limits)
    # Generous limits always leave room for parts of such weights.
    assert found.fused is not None
    assert found.fused.tiles >= 3


def test_more_room_never_takes_more_error(rng: np.random.Generator):
    weights = loud_rows(rng)
    inputs = rng.normal(size=(64, len(weights)))
    one = one_scale(SHAPE, weights)
    errors = [
        split_scales(one, weights, inputs, byte_limit=limit, cycle_limit=limit).error
        for limit in (1.0, 1.05, 1.5)
    ]
    assert errors == sorted(errors, reverse=True)


def test_weights_that_one_scale_loses_come_back_where_there_is_room(rng: np.random.Generator):
    # One row so loud that all others vanish beside it.
    weights = rng.choice([-1.0, 1.0], (128, 8)) * rng.uniform(0.5, 1.0, (128, 8))
    weights[7] = 1000.0
    one = one_scale(SHAPE, weights, kernel="bitmap")
    assert np.count_nonzero(one.weights) == 8
    inputs = rng.normal(size=(50, 128))
    tight = split_scales(one, weights, inputs, byte_limit=1.0, cycle_limit=1.0)
    check(tight, one, weights, inputs, (1.0, 1.0))
    wide = split_scales(one, weights, inputs, byte_limit=1e6, cycle_limit=1e6)
    assert wide.fused is not None
    assert np.count_nonzero(wide.fused.matrix) > 500
    # The loud row takes half of the others with it, as many as a word of rows has.
    assert wide.error < 0.8 * wide.error_one_scale


@pytest.mark.parametrize(
    ("depth", "columns"), [(1, 1), (1, 9), (2, 1), (64, 1), (65, 3), (5, 40), (200, 2)]
)
def test_odd_sizes(depth, columns, rng: np.random.Generator):
    weights = rng.normal(size=(depth, columns))
    inputs = rng.normal(size=(9, depth))
    one = one_scale(SHAPE, weights, tokens=9)
    for limit in (1.0, 4.0):
        found = split_scales(one, weights, inputs, byte_limit=limit, cycle_limit=limit)
        check(found, one, weights, inputs, (limit, limit))
        if depth == 1:
            assert found.fused is None


def test_zeros_stay_one_scale(rng: np.random.Generator):
    weights = np.zeros((130, 5))
    found = split_scales(
        one_scale(SHAPE, weights), weights, np.ones((3, 130)), byte_limit=2.0, cycle_limit=2.0
    )
    assert (found.fused, found.error, found.error_one_scale, found.planned) == (None, 0.0, 0.0, 0)


def test_columns_of_zeros_tiny_columns_and_silent_inputs(rng: np.random.Generator):
    weights = loud_rows(rng)
    weights[:, 3] = 0
    weights[:, 5] = 1e-44  # vanishes in float32
    inputs = np.zeros((4, len(weights)))
    one = one_scale(SHAPE, weights)
    found = split_scales(one, weights, inputs, byte_limit=1.5, cycle_limit=1.5)
    assert (found.error, found.error_one_scale) == (0.0, 0.0)
    inputs = rng.normal(size=(4, len(weights)))
    found = split_scales(one, weights, inputs, byte_limit=1.5, cycle_limit=1.5)
    check(found, one, weights, inputs, (1.5, 1.5))
    assert found.fused is not None
    assert not found.fused.matrix[:, [3, 5]].any()


def test_formats_with_runs_keep_them(rng: np.random.Generator):
    shape = replace(SHAPE, kernels=("nm",), nm_n=2, nm_m=4)
    order = rng.random((40, 4, 24)).argsort(axis=1).reshape(160, 24)
    weights = np.where(order < 2, loud_rows(rng) + 0.001, 0.0)
    one = one_scale(shape, weights)
    inputs = rng.normal(size=(50, 160))
    found = split_scales(one, weights, inputs, byte_limit=1.3, cycle_limit=1.3)
    check(found, one, weights, inputs, (1.3, 1.3))
    assert found.fused is not None
    assert set(found.plan.kernel_blocks) == {"nm"}


def test_channels_without_activations_are_left_out(rng: np.random.Generator):
    weights = loud_rows(rng)
    inputs = rng.normal(size=(30, len(weights)))
    silent = rng.random(len(weights)) < 0.3
    inputs[:, silent] = 0
    one = one_scale(SHAPE, weights)
    found = split_scales(one, weights, inputs, byte_limit=1.3, cycle_limit=1.3, silent=silent)
    assert found.fused is not None
    assert not set(found.fused.order.tolist()) & set(np.flatnonzero(silent).tolist())
    assert found.plan.depth == int((~silent & weights.any(axis=1)).sum())


def test_an_array_without_fusion_is_refused(rng: np.random.Generator):
    weights = loud_rows(rng)
    one = one_scale(replace(SHAPE, fusion=False), weights)
    with pytest.raises(BadInput, match=r"schedule\.fusion: must be true"):
        split_scales(one, weights, np.ones((2, 160)), byte_limit=1.0, cycle_limit=1.0)
