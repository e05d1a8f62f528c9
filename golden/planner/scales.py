"""Scales of fused parts: Q15 weights that sum to one, and INT8 parts with scales of their own.

One INT8 scale must reach the largest weight of its column, so a few outliers coarsen all others.
Split into parts, each with the scale that its own largest weight asks for, the dense core keeps a
fine scale and only the outliers a coarse one.  The parts are put together as

    W ~ sum_i s_i * q_i,   s_i = S * w_i / 32768,   sum_i w_i = 32768

Folding: from the wanted scales ``p_i = peak_i / 127`` come the Q15 weights by largest remainder,
then the smallest ``S`` with ``S * w_i / 32768 >= p_i`` for all parts, then the *effective* scales
``s_i``, and only then the values ``q_i = round(W / s_i)``.  The Q15 rounding thus costs a little
scale, never a value: what the fusion unit computes is exactly the sum above.

``per="part"``: one scale and weight per part for the whole block, which is what a part header
carries.  ``per="column"``: a set per output column.

Errors are energy-weighted: with ``energy[k]`` the mean square of activation k,
``sum energy[k] * (W - W')[k, n]**2`` is the expected squared output error for uncorrelated
activations.  Given the activations themselves, it is the exact error ``|X (W - W')|**2``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInput
from ..numerics.combine import UNIT
from ..numerics.quantise import finite_matrix
from ..shape import ArrayShape
from .decompose import Objective, Part, best_single, dense_core, total_cost

__all__ = [
    "MixedScale",
    "Per",
    "fold_scales",
    "mixed_scale",
    "outlier_masks",
    "output_error",
    "q15_weights",
    "q15_weights_naive",
    "quantise_parts",
    "run_masks",
    "tile_masks",
]

Per = Literal["part", "column"]
Mask = NDArray[np.bool_]

_QMAX = 127
_OUTLIER_SHARES = (0.00001, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.06, 0.1, 0.2)
_RUN_LEVELS = ((0.6, 1.0), (0.5, 0.75, 1.0), (0.4, 0.6, 0.8, 1.0))


@dataclass(frozen=True, eq=False)
class MixedScale:
    """Float weights as fused INT8 parts.

    Attributes:
        parts: the parts; ``scale`` is the effective one.
        weights: int64 Q15, (parts,), or (parts, columns); they sum to 32768.
        total_scale: S, float64, (1,), or (columns,).
        error: squared output error that the search measured, 0 before.
        bytes, cycles: price of the parts (`decompose.total_cost`), 0 before the search.
    """

    parts: tuple[Part, ...]
    weights: NDArray[np.int64]
    total_scale: NDArray[np.float64]
    error: float = 0.0
    bytes: int = 0
    cycles: int = 0

    @property
    def real(self) -> NDArray[np.float64]:
        """The real matrix that the parts stand for, (depth, columns)."""
        total = np.zeros(self.parts[0].block.shape, np.float64)
        for part in self.parts:
            total += part.block * part.scale
        return total


def q15_weights(scales: ArrayLike) -> NDArray[np.int64]:
    """``scales / sum(scales)`` in Q15, summing to 32768 exactly in each column.

    Largest remainder: every quotient is rounded down, then the units that are missing go to the
    largest remainders, the first of equals.  A positive scale keeps at least one unit, taken
    from the largest weight, since a weight of 0 would drop its part.

    Args:
        scales: finite and >= 0, (parts,) or (parts, columns); at least one > 0 per column.

    Returns:
        int64, the shape of ``scales``.
    """
    values = np.asarray(scales, np.float64)
    bad = values.ndim not in (1, 2) or not values.size or not np.isfinite(values).all()
    if bad or (values < 0).any() or not (values.max(axis=0) > 0).all():
        raise BadInput(
            "fusion: scales: must be finite, at least 0 and not all 0 in a column, "
            f"got {values.tolist()}"
        )
    flat = values.reshape(len(values), -1)
    flat = flat / flat.max(axis=0)  # the sum must not overflow
    exact = flat / flat.sum(axis=0) * UNIT
    weights = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - weights), axis=0, kind="stable")
    rank = np.argsort(order, axis=0, kind="stable")
    weights += rank < UNIT - weights.sum(axis=0)
    starved = (values.reshape(flat.shape) > 0) & (weights == 0)
    largest = np.argmax(weights, axis=0)
    weights += starved
    weights[largest, np.arange(flat.shape[1])] -= starved.sum(axis=0)
    return weights.reshape(values.shape)


def q15_weights_naive(scales: Sequence[float]) -> list[int]:
    """The specification of `q15_weights` for one column, in rational numbers."""
    values = [Fraction(scale) for scale in scales]
    exact = [UNIT * value / sum(values) for value in values]
    weights = [int(value) for value in exact]
    order = sorted(range(len(values)), key=lambda i: (weights[i] - exact[i], i))
    for part in order[: UNIT - sum(weights)]:
        weights[part] += 1
    largest = weights.index(max(weights))
    for part, value in enumerate(values):
        if value > 0 and weights[part] == 0:
            weights[part] += 1
            weights[largest] -= 1
    return weights


def fold_scales(wanted: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Q15 weights and S of wanted scales (parts, columns), none of which the fused ones fall below.

    Returns:
        Weights int64 (parts, columns) and S float64 (columns,).
    """
    fractions = q15_weights(wanted)
    shares = np.where(fractions > 0, fractions, 1) / UNIT
    return fractions, (wanted / shares).max(axis=0)


def quantise_parts(
    weights: ArrayLike,
    masks: Sequence[Mask],
    *,
    per: Per = "part",
    shape: ArrayShape | None = None,
    objective: Objective = "bytes",
) -> MixedScale:
    """Quantise float weights (K, N) in parts of one scale each.

    Args:
        weights: finite, (K, N).
        masks: bool (K, N) each, disjoint, together covering every non-zero.
        per: the scope of a scale.
        shape: the array, for its kernels.
        objective: how each part's kernel is chosen.
    """
    matrix = finite_matrix("weights", weights)
    owned = np.sum(masks, axis=0) if len(masks) else np.zeros(matrix.shape, int)
    if np.shape(owned) != matrix.shape or (owned > 1).any() or ((matrix != 0) & (owned < 1)).any():
        raise BadInput(
            "fusion: masks: must be disjoint and cover every non-zero of the weights, "
            f"got {len(masks)} masks that cover {int(np.sum(owned))} of {matrix.size} places"
        )
    magnitude = np.abs(matrix)
    peaks = np.array([np.where(mask, magnitude, 0).max(axis=0) for mask in masks])
    if per == "part":
        peaks = peaks.max(axis=1, keepdims=True)
    elif per != "column":
        raise BadInput(f"fusion: per: must be 'part' or 'column', got {per!r}")
    # A column without magnitude has scale 1, as everywhere.
    wanted = peaks / _QMAX
    wanted[0] = np.where((wanted > 0).any(axis=0), wanted[0], 1.0)
    fractions, total = fold_scales(wanted)
    scales = total * fractions / UNIT
    parts = []
    for mask, scale in zip(masks, scales, strict=True):
        divisor = np.where(scale > 0, scale, 1.0)
        real = np.where(mask, matrix / divisor, 0.0)
        block = np.clip(np.rint(real), -_QMAX, _QMAX).astype(np.int8)
        part, _ = best_single(block, shape, objective=objective)
        value = float(scale[0]) if per == "part" else scale
        parts.append(replace(part, mask=mask, scale=value))
    return MixedScale(tuple(parts), fractions[:, 0] if per == "part" else fractions, total)


def outlier_masks(weights: ArrayLike, share: float, *, per: Per = "part") -> tuple[Mask, Mask]:
    """Core and outliers: the ``share`` of largest magnitudes, of the block or of each column.

    The count is rounded up; ties with the smallest outlier stay in the core.
    """
    magnitude = np.abs(np.asarray(weights, np.float64))
    scope = magnitude.reshape(-1, 1) if per == "part" else magnitude
    count = min(len(scope) - 1, int(np.ceil(share * len(scope))))
    threshold = np.sort(scope, axis=0)[len(scope) - 1 - count]
    core = magnitude <= threshold
    return core, ~core


def run_masks(weights: ArrayLike, rows: int, levels: Sequence[float]) -> tuple[Mask, ...]:
    """Runs of ``rows`` rows of a column, sorted by their peak relative to the column's.

    ``levels`` ascend to 1; a run belongs to the first level that its peak does not exceed.  Each
    part is held by the ``block`` kernel without losing a byte to zeros.
    """
    magnitude = np.abs(np.asarray(weights, np.float64))
    starts = np.arange(0, len(magnitude), rows)
    peak = np.maximum.reduceat(magnitude, starts, axis=0)
    limit = np.asarray(levels)[:, None, None] * magnitude.max(axis=0)
    level = (peak > limit[:-1]).sum(axis=0)
    sizes = np.minimum(rows, len(magnitude) - starts)
    level = np.repeat(level, sizes, axis=0)
    return tuple(level == number for number in range(len(levels)))


def tile_masks(depth: int, columns: int, k_tile: int) -> tuple[Mask, ...]:
    """One part per k tile: a scale of its own for no index and no byte of value.

    The parts of a column then are its k tiles, and the running sum fuses them on its way.
    """
    tile = np.broadcast_to(np.arange(depth)[:, None] // k_tile, (depth, columns))
    return tuple(tile == number for number in range(-(-depth // k_tile)))


def output_error(
    weights: ArrayLike,
    other: ArrayLike,
    *,
    energy: ArrayLike | None = None,
    activations: ArrayLike | None = None,
) -> float:
    """Squared output error of ``other`` in place of ``weights``; see the module.

    Without energy and activations every row counts alike.
    """
    difference = np.asarray(weights, np.float64) - np.asarray(other, np.float64)
    if activations is not None:
        return float(np.square(np.asarray(activations, np.float64) @ difference).sum())
    rows = np.ones(len(difference)) if energy is None else np.asarray(energy, np.float64)
    if rows.shape != (len(difference),):
        raise BadInput(
            f"fusion: energy: must have one value per row ({len(difference)}), got {rows.shape}"
        )
    return float((rows @ np.square(difference)).sum())


def mixed_scale(
    weights: ArrayLike,
    *,
    energy: ArrayLike | None = None,
    activations: ArrayLike | None = None,
    per: Per = "part",
    shape: ArrayShape | None = None,
    byte_limit: float = 1.1,
    cycle_limit: float = 1.5,
) -> MixedScale:
    """The split of float weights with the least output error within a price.

    Candidates: one part; core and outliers at several shares; runs of the ``block`` kernel's
    rows at several levels.  One part is always allowed, so the error never exceeds its own.

    Args:
        weights: finite, (K, N).
        energy, activations: what the error is weighted with (`output_error`).
        per: the scope of a scale.
        shape: the array, for its kernels; None: all with their usual parameters.
        byte_limit, cycle_limit: most bytes and cycles, relative to one part in the kernel with
            the fewest bytes.
    """
    matrix = finite_matrix("weights", weights)

    def measured(masks: tuple[Mask, ...]) -> MixedScale:
        mixed = quantise_parts(matrix, masks, per=per, shape=shape)
        cost = total_cost(mixed.parts, shape)
        error = output_error(matrix, mixed.real, energy=energy, activations=activations)
        return replace(mixed, error=error, bytes=cost.bytes, cycles=cost.cycles)

    best = single = measured((np.ones(matrix.shape, bool),))
    for masks in _candidates(matrix, per, shape):
        mixed = measured(masks)
        cheap = mixed.bytes <= byte_limit * single.bytes
        quick = mixed.cycles <= cycle_limit * single.cycles
        if cheap and quick and mixed.error < best.error:
            best = mixed
    return best


def _candidates(
    matrix: NDArray[np.float64], per: Per, shape: ArrayShape | None
) -> Iterable[tuple[Mask, ...]]:
    """Masks of several parts to try; places that hold zero belong to none."""
    kept = matrix != 0
    for share in _OUTLIER_SHARES:
        core, outliers = outlier_masks(matrix, share, per=per)
        if outliers.any():
            yield core & kept, outliers
    if shape is None or "block" in shape.kernels:
        rows = 8 if shape is None else shape.block_rows
        # Runs save an index only where they are nearly full.
        if dense_core(matrix, rows, 0.75).sum() >= 0.75 * kept.sum():
            for levels in _RUN_LEVELS:
                yield tuple(mask & kept for mask in run_masks(matrix, rows, levels))
