"""Quantises float weights with a scale for each k tile.

One INT8 scale must reach the largest weight of its column, so a few large weights coarsen all
others.  With a scale for each k tile a large weight coarsens only the weights of its own tile:

    W[k, n] ~ s[t, n] * q[k, n],   s[t, n] = S[n] * w[t, n] / 32768,   sum over t of w[t, n] = 32768

The Q15 weights ``w`` stand in the block headers and are the same for all columns of a block.  ``S``
is one factor per column and belongs to the requantisation that follows.  The scales are
rounded to Q15 first, and the values ``q`` are quantised with the rounded scales, so that rounding
the scales adds no error to the products.

*Ratios.*  Rounding errors of values are independent and uniform, so the expected squared output
error of column n is proportional to

    S[n]^2 * sum over t of w[t]^2 * E[t, n],   S[n] = max over t of peak[t, n] / w[t]

with ``E[t, n]`` the energy of the activations that meet the tile's non-zeros in that column.  The
ratios of a block are chosen to minimise this error, summed over the block's columns.
"""

from collections.abc import Sequence
from fractions import Fraction

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInput
from ..numerics.combine import UNIT
from .fused import FusedMatrix

__all__ = [
    "Assignment",
    "block_ratios",
    "expected_error_naive",
    "fuse_tiles",
    "q15_weights",
    "q15_weights_naive",
    "tile_sums",
]

Assignment = tuple[tuple[NDArray[np.int64], ...], ...]
"""Output columns by segment and engine."""

_QMAX = 127
_STEPS = (0.2, 0.05)  # steps of the logarithm of a ratio, the larger ones first
_PASSES = 8
_LEAST = np.log(2.0**-10)  # smallest ratio, well above the step of a Q15 weight


def q15_weights(scales: ArrayLike) -> NDArray[np.int64]:
    """``scales / sum(scales)`` in Q15, summing to 32768 exactly in each column.

    The method is that of the largest remainder: every quotient is rounded down, then the missing
    units go to the largest remainders, the first of equals.  A positive scale gets at least one
    unit, taken from the largest weight, since a weight of 0 would drop its part.

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
    """Specification of `q15_weights` for one column, in rational numbers."""
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


def tile_sums(
    magnitude: NDArray[np.float64], energy: NDArray[np.float64], bounds: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest magnitude and the energy of each column in each tile.

    Args:
        magnitude: (rows, N), rows in the order of the tiles.
        energy: (rows, N), 0 where there is no weight.
        bounds: first row of each tile, then the number of rows.

    Returns:
        float64 (tiles, N) each.
    """
    starts = bounds[:-1]
    return np.maximum.reduceat(magnitude, starts), np.add.reduceat(energy, starts)


def expected_error_naive(
    peaks: NDArray[np.float64], energy: NDArray[np.float64], ratios: Sequence[float]
) -> float:
    """Specification of the error that `block_ratios` lowers, one scalar at a time."""
    total = 0.0
    for n in range(peaks.shape[1]):
        scale = max(float(peaks[t, n]) / ratio for t, ratio in enumerate(ratios))
        total += scale**2 * sum(ratio**2 * float(energy[t, n]) for t, ratio in enumerate(ratios))
    return total


@numba.njit(cache=True)
def _expected_error(peaks: np.ndarray, energy: np.ndarray, logs: np.ndarray) -> float:
    """Compute `expected_error_naive` from the logarithms of the ratios."""
    tiles, columns = peaks.shape
    total = 0.0
    for n in range(columns):
        scale = spread = 0.0
        for t in range(tiles):
            ratio = np.exp(logs[t])
            scale = max(scale, peaks[t, n] / ratio)
            spread += ratio * ratio * energy[t, n]
        total += scale * scale * spread
    return total


@numba.njit(cache=True)
def _descend(
    peaks: np.ndarray,
    energy: np.ndarray,
    logs: np.ndarray,
    steps: tuple[float, ...],
    passes: int,
    least: float,
) -> float:
    """Move one ratio at a time, in place, while the expected error falls; return that error."""
    best = _expected_error(peaks, energy, logs)
    for step in steps:
        for _ in range(passes):
            moved = False
            for t in range(len(logs)):
                for change in (step, -step):
                    before = logs[t]
                    logs[t] = min(0.0, max(least, before + change))
                    error = _expected_error(peaks, energy, logs)
                    if error < best:
                        best, moved = error, True
                    else:
                        logs[t] = before
            if not moved:
                break
    return best


def block_ratios(peaks: NDArray[np.float64], energy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Choose the ratios of the scales of a block's tiles.

    The search descends from three starts: equal scales for all tiles, and for each tile the
    largest or the root mean square of the scales that the columns would take by themselves.

    Args:
        peaks, energy: (tiles, columns of the block), as from `tile_sums`.

    Returns:
        float64 (tiles,), at most 1.
    """
    top = peaks.max(axis=0)
    wanted = peaks / np.where(top > 0, top, 1.0)
    starts = (np.ones(len(peaks)), wanted.max(axis=1), np.sqrt(np.square(wanted).mean(axis=1)))
    found, least = np.zeros(len(peaks)), np.inf
    for start in starts:
        logs = np.log(np.maximum(start, np.exp(_LEAST)))
        error = _descend(peaks, energy, logs, _STEPS, _PASSES, _LEAST)
        if error < least:
            found, least = logs, error
    return np.exp(found - found.max())


def fuse_tiles(
    weights: NDArray[np.float64],
    kept: NDArray[np.bool_],
    energy: NDArray[np.float64],
    order: NDArray[np.int64],
    bounds: NDArray[np.int64],
    assignment: Assignment,
) -> FusedMatrix:
    """Quantise float weights with the best ratios of scales for each block.

    Args:
        weights: (K, N), finite.
        kept: bool (K, N), weights that may become values; the others become zero.
        energy: (K,), mean square of each channel of the activations.
        order: rows in the order in which they are sent.
        bounds: first of these rows in each k tile, then their number.
        assignment: columns of each segment and engine.

    Raises:
        BadInput: a scale does not fit float32.
    """
    real = np.where(kept, weights, 0.0)[order]
    magnitude = np.abs(real)
    # Relative to the largest weight, so that squares neither overflow nor vanish.
    top = float(magnitude.max(initial=0.0)) or 1.0
    met = np.where(kept[order], energy[order][:, None], 0.0)
    peaks, energies = tile_sums(magnitude / top, met, bounds)
    shares = np.zeros(peaks.shape, np.int64)
    for segment in assignment:
        for columns in segment:
            if len(columns):
                ratios = block_ratios(
                    np.ascontiguousarray(peaks[:, columns]),
                    np.ascontiguousarray(energies[:, columns]),
                )
                shares[:, columns] = q15_weights(ratios)[:, None]
    exact = (peaks / (shares / UNIT)).max(axis=0) * top / _QMAX
    if exact.max() > np.finfo(np.float32).max:
        raise BadInput(
            f"weights: magnitude must fit a float32 scale, but reaches {float(magnitude.max()):g}"
        )
    scale = exact.astype(np.float32)
    # Rounded up, so that no value saturates.
    scale = np.where(scale < exact, np.nextafter(scale, np.float32(np.inf)), scale)
    scale = np.where(exact > 0, scale, 1.0).astype(np.float64)
    step = np.repeat(scale * shares / UNIT, np.diff(bounds), axis=0)
    values = np.clip(np.rint(real / step), -_QMAX, _QMAX).astype(np.int8)
    return FusedMatrix(values, order, bounds, assignment, shares, scale)
