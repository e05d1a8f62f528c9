"""Scales per k tile: real values, honest bytes, and less error than one scale."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.numerics.combine import UNIT, combine, weights_valid
from golden.operators.matmul import matmul
from golden.planner.scales import output_error
from golden.planner.tiled import one_scale, row_orders, tile_rows, tiled, tiled_scale


def loud_rows(rng: np.random.Generator, depth: int = 384, columns: int = 32) -> np.ndarray:
    """Normal weights whose rows differ in loudness, as input features do."""
    rows = np.exp(rng.normal(0, 0.5, (depth, 1)))
    return rng.normal(0, 1, (depth, columns)) * rows * rng.uniform(0.01, 0.05, columns)


def naive(weights, found) -> np.ndarray:
    """Each value rounded to its part's scale, one scalar at a time."""
    out = np.zeros(weights.shape)
    for part, rows in enumerate(found.tiles):
        for k in rows:
            for n in range(weights.shape[1]):
                scale = found.total_scale[n] * found.weights[part, n] / UNIT
                out[k, n] = min(max(round(weights[k, n] / scale), -127), 127) * scale
    return out


@pytest.mark.parametrize("per", ["shared", "column"])
@pytest.mark.parametrize("depth", [384, 67, 1])
def test_parts_stand_for_the_weights(per, depth, rng):
    weights = loud_rows(rng, depth, 9)
    weights[:, 4] = 0
    weights[rng.random(weights.shape) < 0.3] = 0
    for order in row_orders(weights):
        assert np.array_equal(np.sort(order), np.arange(depth))
        found = tiled(weights, tile_rows(order, 3, 32), per=per)
        assert weights_valid(found.weights)
        np.testing.assert_allclose(found.real, naive(weights, found))
        # Nothing saturates: every value is within half a unit of its part's scale.
        for rows, weight in zip(found.tiles, found.weights, strict=True):
            step = found.total_scale * weight / UNIT
            assert (np.abs(weights - found.real)[rows] <= 0.5000001 * step).all()
        assert (found.weights == found.weights[:, :1]).all() or per == "column"


@pytest.mark.parametrize("per", ["shared", "column"])
def test_fused_integers_are_the_real_product(per, rng):
    weights = loud_rows(rng)
    found = tiled(weights, tile_rows(np.arange(384), 4), per=per)
    activations = rng.integers(-128, 128, (17, 384)).astype(np.int8)
    partials = []
    for rows in found.tiles:
        part = np.zeros_like(found.block)
        part[rows] = found.block[rows]
        partials.append(matmul(activations, part))
    fused = combine(np.stack(partials), found.weights) * found.total_scale
    exact = activations.astype(np.float64) @ found.real
    # One rounding to a unit of S, nothing else.
    assert (np.abs(fused - exact) <= 0.5000001 * found.total_scale).all()


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
@pytest.mark.parametrize("per", ["shared", "column"])
def test_less_error_in_no_more_bytes(per, sparsity, fixed_rng):
    weights = loud_rows(fixed_rng)
    weights[fixed_rng.random(weights.shape) < sparsity] = 0
    energy = fixed_rng.gamma(1.0, 1.0, 384)
    one = one_scale(weights)
    found = tiled_scale(weights, energy=energy, per=per)
    assert found.bytes <= one.bytes
    assert found.cycles <= 1.5 * one.cycles
    held_out = fixed_rng.normal(0, np.sqrt(energy), (128, 384))
    before = output_error(weights, one.real, activations=held_out)
    after = output_error(weights, found.real, activations=held_out)
    # A finer scale keeps small weights that one scale rounds to zero. In a bitmap they take bytes,
    # so that a sparse block may have to stay as it is.
    assert np.sqrt(after / before) <= (1.02 if sparsity else 0.75)
    assert found.error <= output_error(weights, one.real, energy=energy) * (1 + 1e-12)
    assert found.error == pytest.approx(output_error(weights, found.real, energy=energy))


def test_bytes_count_headers_and_scales(rng):
    weights = loud_rows(rng, 128, 20)
    weights[weights == 0] = 1e-3
    # Dense, since no index is cheaper: a header and the values, and a float32 for each column.
    assert one_scale(weights).bytes == 8 + 128 * 20 + 4 * 20
    tiles = tile_rows(np.arange(128), 2)
    assert tiled(weights, tiles, per="shared").bytes == 2 * 8 + 128 * 20 + 2 * 20
    # 6 bits for each of 40 scales, and the largest as a float32.
    assert tiled(weights, tiles, per="column").bytes == 2 * 8 + 128 * 20 + 30 + 4


def test_the_search_keeps_its_limits_and_never_loses(fixed_rng):
    weights = loud_rows(fixed_rng, 256, 16)
    one = one_scale(weights)
    alone = output_error(weights, one.real)
    errors = []
    for limit in (0.5, 1.0, 1.02, 1.1):
        found = tiled_scale(weights, per="column", byte_limit=limit)
        assert found.bytes <= max(limit, 1.0) * one.bytes
        errors.append(found.error)
    assert errors[0] == pytest.approx(alone)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[1] < alone
    slow = tiled_scale(weights, byte_limit=9.0, cycle_limit=0.5)
    assert slow.error == pytest.approx(alone)


def test_a_wide_span_of_scales_is_clamped_not_saturated(rng):
    weights = loud_rows(rng, 128, 4) * np.array([1.0, 1e-3, 1e-6, 0.0])
    found = tiled(weights, tile_rows(np.arange(128), 2), per="column")
    steps = found.total_scale * found.weights / UNIT
    assert (np.abs(weights - found.real).max(axis=0) <= 0.5000001 * steps.max(axis=0)).all()
    # 6 bits of 16 to an octave reach a bit less than 4 octaves, and Q15 rounds once more.
    assert steps.min() >= 0.99 * steps.max() * 2 ** (-63 / 16)


def test_corners():
    zero = tiled_scale(np.zeros((3, 2)))
    assert not zero.real.any()
    tiny = tiled_scale(np.array([[-3.0]]), per="shared")
    assert tiny.real.tolist() == [[pytest.approx(-3.0, rel=1e-2)]]
    assert [len(rows) for rows in tile_rows(np.arange(150), 9)] == [64, 64, 22]


def test_bad_parts_are_refused():
    weights = np.ones((4, 2))
    with pytest.raises(BadInput, match="must hold each of 4 rows once, got parts of"):
        tiled(weights, (np.arange(3),))
    with pytest.raises(BadInput, match="per: must be 'shared' or 'column', got 'row'"):
        tiled(weights, (np.arange(4),), per="row")
    with pytest.raises(BadInput, match="weights: must be finite"):
        one_scale(np.array([[np.nan]]))
