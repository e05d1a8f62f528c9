"""Scales of fused parts: exact weight sums, effective scales, and less error than one scale."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.numerics.combine import UNIT, combine, weights_valid
from golden.operators.matmul import matmul
from golden.planner.scales import (
    MixedScale,
    mixed_scale,
    outlier_masks,
    output_error,
    q15_weights,
    q15_weights_naive,
    quantise_parts,
    run_masks,
    tile_masks,
)
from golden.shape import ArrayShape


def heavy_tailed(rng: np.random.Generator, depth: int = 256, columns: int = 24) -> np.ndarray:
    """Student-t weights with four degrees of freedom: a few weights far above the others."""
    return rng.standard_t(4, (depth, columns)) * rng.uniform(0.01, 0.05, columns)


def test_weights_sum_exactly_and_are_the_specification(rng: np.random.Generator):
    for parts in (1, 2, 3, 4, 6):
        scales = 2.0 ** rng.uniform(-12, 12, (parts, 200))
        scales[rng.random(scales.shape) < 0.1] = 0.0
        scales[0, ~scales.any(axis=0)] = 1.0
        weights = q15_weights(scales)
        assert weights_valid(weights)
        assert ((weights > 0) == (scales > 0)).all()
        for column in range(200):
            # Away from ties of rounded quotients the two must agree exactly.
            want = q15_weights_naive(scales[:, column].tolist())
            assert weights[:, column].tolist() == want


@pytest.mark.parametrize(
    ("scales", "weights"),
    [
        ([5.0], [UNIT]),
        ([1.0, 1.0, 1.0], [10923, 10923, 10922]),  # equal remainders: the first ones
        ([1.0, 3.0], [UNIT // 4, 3 * UNIT // 4]),
        ([1e-30, 1.0], [1, UNIT - 1]),  # a part never vanishes
        ([0.0, 2.0, 2.0], [0, UNIT // 2, UNIT // 2]),
        ([1e308, 1e308], [UNIT // 2, UNIT // 2]),
    ],
)
def test_documented_weights(scales: list[float], weights: list[int]):
    assert q15_weights(scales).tolist() == weights
    assert q15_weights_naive(scales) == weights


@pytest.mark.parametrize("scales", [[0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0], []])
def test_bad_scales_are_refused(scales: list[float]):
    with pytest.raises(BadInput, match="fusion: scales: must be finite"):
        q15_weights(scales)


def check(mixed: MixedScale, weights: np.ndarray, masks) -> None:
    """Every value is within half a unit of its effective scale, and scales are what is fused."""
    assert weights_valid(mixed.weights)
    for part, factor, mask in zip(mixed.parts, mixed.weights, masks, strict=True):
        np.testing.assert_allclose(part.scale, np.squeeze(mixed.total_scale * factor / UNIT))
        step = np.broadcast_to(part.scale, weights.shape)
        assert (np.abs(weights - part.block * step)[mask] <= step[mask] * 0.5000001).all()
        assert not part.block[~mask].any()
        assert part.block.min() >= -127


@pytest.mark.parametrize("per", ["part", "column"])
def test_parts_hold_the_weights(per, rng: np.random.Generator):
    weights = heavy_tailed(rng, 67, 9)
    weights[:, 4] = 0
    weights[rng.random(weights.shape) < 0.3] = 0
    for masks in (
        (np.ones(weights.shape, bool),),
        outlier_masks(weights, 0.03, per=per),
        run_masks(weights, 8, (0.5, 0.75, 1.0)),
        tile_masks(*weights.shape, 16),
    ):
        assert (np.sum(masks, axis=0) == 1).all()
        mixed = quantise_parts(weights, masks, per=per)
        check(mixed, weights, masks)
        assert mixed.weights.shape == ((len(masks), 9) if per == "column" else (len(masks),))


@pytest.mark.parametrize("per", ["part", "column"])
def test_fused_integers_are_the_real_product(per, rng: np.random.Generator):
    weights = heavy_tailed(rng)
    mixed = quantise_parts(weights, outlier_masks(weights, 0.02, per=per), per=per)
    activations = rng.integers(-128, 128, (17, len(weights))).astype(np.int8)
    partials = np.stack([matmul(activations, part.block) for part in mixed.parts])
    fused = combine(partials, mixed.weights) * mixed.total_scale
    exact = activations.astype(np.float64) @ mixed.real
    # One rounding to a unit of S, nothing else.
    assert (np.abs(fused - exact) <= 0.5000001 * mixed.total_scale).all()


@pytest.mark.parametrize("per", ["part", "column"])
def test_two_scales_beat_one(per, fixed_rng: np.random.Generator):
    weights = heavy_tailed(fixed_rng, 256, 64)
    activations = fixed_rng.normal(0, fixed_rng.gamma(1.0, 1.0, 256), (128, 256))
    energy = np.square(activations).mean(axis=0)
    one = quantise_parts(weights, [np.ones(weights.shape, bool)], per=per)
    best = mixed_scale(weights, energy=energy, per=per, byte_limit=1.15)
    held_out = fixed_rng.normal(0, np.sqrt(energy), (128, 256))
    before = output_error(weights, one.real, activations=held_out)
    after = output_error(weights, best.real, activations=held_out)
    assert np.sqrt(after / before) <= 0.6
    assert best.bytes > 0
    # The split itself adds nothing to the error: the same parts with one scale gain nothing.
    assert len(best.parts) > 1


def test_search_respects_its_limits_and_never_loses(fixed_rng: np.random.Generator):
    weights = heavy_tailed(fixed_rng, 128, 16)
    one = quantise_parts(weights, [np.ones(weights.shape, bool)])
    alone = output_error(weights, one.real)
    single = mixed_scale(weights, byte_limit=1.0)
    assert single.error == pytest.approx(alone)
    assert len(single.parts) == 1
    errors = []
    for limit in (1.0, 1.02, 1.05, 1.2):
        best = mixed_scale(weights, byte_limit=limit, cycle_limit=2.0)
        assert best.bytes <= limit * single.bytes
        errors.append(best.error)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0]
    slow = mixed_scale(weights, byte_limit=9.0, cycle_limit=1.0)
    assert slow.cycles <= single.cycles


def test_search_uses_the_kernels_of_the_array(fixed_rng: np.random.Generator):
    shape = ArrayShape(
        lanes=4,
        engines=2,
        group=2,
        k_tile=64,
        columns=16,
        activation_tiles=2,
        index_words=64,
        value_words=64,
        queue=8,
        data_bits=64,
        kernels=("dense", "bitmap"),
        mac="packed",
    )
    best = mixed_scale(
        heavy_tailed(fixed_rng, 64, 16), shape=shape, byte_limit=2.0, cycle_limit=2.0
    )
    assert {part.kernel for part in best.parts} <= {"dense", "bitmap"}
    assert len(best.parts) == 2


def test_corners():
    zero = mixed_scale(np.zeros((3, 2)), per="column")
    assert not zero.real.any()
    assert zero.weights.tolist() == [[UNIT, UNIT]]
    assert zero.total_scale.tolist() == [1.0, 1.0]
    tiny = mixed_scale(np.array([[-3.0]]))
    assert tiny.parts[0].block.tolist() == [[-127]]
    assert tiny.real.tolist() == [[pytest.approx(-3.0)]]


def test_outliers_are_the_largest(rng: np.random.Generator):
    weights = rng.permutation(np.arange(1, 101)).reshape(50, 2) * 1.0
    core, outliers = outlier_masks(weights, 0.05)
    assert sorted(weights[outliers].tolist()) == [96, 97, 98, 99, 100]
    assert (core ^ outliers).all()
    _, each = outlier_masks(weights, 0.05, per="column")
    assert each.sum(axis=0).tolist() == [3, 3]
    for column in range(2):
        largest = np.sort(weights[:, column])[-3:]
        assert sorted(weights[each[:, column], column]) == largest.tolist()


def test_output_error_is_the_sum_of_squares(rng: np.random.Generator):
    weights, other = rng.normal(size=(2, 4, 3))
    energy = rng.random(4)
    naive = sum(energy[k] * (weights[k, n] - other[k, n]) ** 2 for k in range(4) for n in range(3))
    assert output_error(weights, other, energy=energy) == pytest.approx(naive)
    rows = np.diag(np.sqrt(energy))
    assert output_error(weights, other, activations=rows) == pytest.approx(naive)


@pytest.mark.parametrize(
    ("masks", "options", "message"),
    [
        ([np.ones((2, 2), bool)] * 2, {}, "must be disjoint"),
        ([np.zeros((2, 2), bool)], {}, "cover every non-zero"),
        ([], {}, "got 0 masks"),
        ([np.ones((2, 2), bool)], {"per": "row"}, "per: must be 'part' or 'column', got 'row'"),
    ],
)
def test_bad_masks(masks: list[np.ndarray], options: dict, message: str):
    with pytest.raises(BadInput, match=message):
        quantise_parts(np.ones((2, 2)), masks, **options)


def test_bad_energy():
    with pytest.raises(BadInput, match="one value per row"):
        output_error(np.ones((2, 2)), np.ones((2, 2)), energy=[1.0])
