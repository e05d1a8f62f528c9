"""Scales per k tile in no more bytes than one float32 scale per output column.

A column's rows are cut into parts of whole 64-row words, or of half ones; each part has a scale
of its own, so that a large weight coarsens only its part.  Parts are k tiles: they need no index
beyond the kernel's own, one block header each, and their sums are weighted in Q15 and fused as
all parts are (`golden.planner.scales`).  Rows may be permuted, in both operands alike, so that loud
rows share a part.

The bytes for it come from the scales themselves.  A column's one INT8 scale is a float32
(`golden.numerics.quantise`), 4 bytes.  Here it is coded:

| per      | stored for each column                                         | bytes / column   |
|----------|----------------------------------------------------------------|------------------|
| `shared` | S rounded up to 8 significant bits; Q15 weights in the headers | 2                |
| `column` | a code of 6 bits for each part                                 | 6 * parts / 8    |

Code c stands for ``top * 2**(-c / 16)``, 0 to 63, with ``top`` the block's largest scale (4
bytes); the smallest scale that is not below the wanted one is taken, so nothing saturates.

With `shared`, all columns of a block have the same ratio between the scales of their parts, which
is what a part header carries; `column` asks for a weight per column, which no part header holds.
A column's S follows from the ratios: the least for which no value saturates.  The ratios start at
the parts' peaks relative to those of the columns and are then searched by steps of `_RATIO_STEP`,
since one column with a peak in every part should not coarsen all others.

Values are rounded plainly, half to even.  Errors are `golden.planner.scales.output_error`.
Shapes: weights (K, N); scale and codes (parts, N).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInput
from ..numerics.combine import UNIT
from ..numerics.quantise import finite_matrix
from ..shape import ArrayShape
from .decompose import Cost, best_single
from .scales import fold_scales, output_error, q15_weights

__all__ = [
    "FLOAT_BYTES",
    "Scope",
    "TiledScale",
    "one_scale",
    "row_orders",
    "tile_rows",
    "tiled",
    "tiled_scale",
]

Scope = Literal["shared", "column"]

FLOAT_BYTES = 4
"""Bytes of a float32 scale."""

_QMAX = 127
_UNITS = (64, 32)  # rows that parts are multiples of; a whole index word costs none beside it
_CODE_BITS = 6
_STEPS = 16  # codes per octave
_SHARED_BYTES = 2
_MOST_PARTS = 12
_RATIO_STEP = 0.9
_PASSES = 3


@dataclass(frozen=True, eq=False)
class TiledScale:
    """Float weights as INT8 with a scale per k tile.

    Attributes:
        block: int8 (K, N), rows in their own order.
        tiles: row numbers of each part.
        weights: int64 Q15 (parts, N); they sum to 32768 in each column.
        total_scale: S, float64 (N,).
        bytes, cycles: price, scales and headers included.
        error: squared output error that the search measured, 0 before.
    """

    block: NDArray[np.int8] = field(repr=False)
    tiles: tuple[NDArray[np.int64], ...] = field(repr=False)
    weights: NDArray[np.int64] = field(repr=False)
    total_scale: NDArray[np.float64] = field(repr=False)
    bytes: int
    cycles: int
    error: float = 0.0

    @property
    def real(self) -> NDArray[np.float64]:
        """The real matrix that the parts stand for, (K, N)."""
        total = np.zeros(self.block.shape)
        for rows, weight in zip(self.tiles, self.weights, strict=True):
            total[rows] = self.block[rows] * (self.total_scale * weight / UNIT)
        return total


def tile_rows(
    order: NDArray[np.int64], parts: int, unit: int = 64
) -> tuple[NDArray[np.int64], ...]:
    """Rows in ``order`` cut into at most ``parts`` parts of whole units of rows, nearly equal."""
    units = -(-len(order) // unit)
    count = min(parts, units)
    cuts = [number * units // count * unit for number in range(1, count)]
    return tuple(np.sort(rows) for rows in np.split(order, cuts))


def row_orders(weights: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
    """Orders of the rows to try: as they are, and by three measures of loudness."""
    yield np.arange(len(weights))
    magnitude = np.abs(weights)
    peak = magnitude.max(axis=0)
    relative = magnitude / np.where(peak > 0, peak, 1.0)
    for loudness in (relative.max(axis=1), relative.mean(axis=1), np.square(relative).mean(axis=1)):
        yield np.argsort(loudness, kind="stable")


def _coded(wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scales that codes stand for, the least that are not below the wanted ones."""
    top = wanted.max()
    ratio = top / np.maximum(wanted, top * 2.0 ** (-((1 << _CODE_BITS) - 1) / _STEPS))
    # A hair less, so that rounding of the logarithm never yields a scale below the wanted one.
    code = np.floor(_STEPS * np.log2(ratio) + 1e-9)
    return np.maximum(top * 2.0 ** (-code / _STEPS), wanted)


def _short(scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scales rounded up to 8 significant bits."""
    fraction, exponent = np.frexp(scales)
    return np.ldexp(np.ceil(np.ldexp(fraction, 8)), exponent - 8)


def _price(
    block: NDArray[np.int8], tiles: tuple[NDArray[np.int64], ...], shape: ArrayShape | None
) -> Cost:
    costs = (best_single(block[rows], shape, objective="bytes")[1] for rows in tiles)
    return sum(costs, Cost(0, 0))


def one_scale(weights: ArrayLike, shape: ArrayShape | None = None) -> TiledScale:
    """One float32 scale per column, plain rounding, in the kernel with the fewest bytes."""
    matrix = finite_matrix("weights", weights)
    peak = np.abs(matrix).max(axis=0)
    scale = np.where(peak > 0, peak / _QMAX, 1.0)
    block = np.rint(matrix / scale).astype(np.int8)
    tiles = (np.arange(len(matrix)),)
    cost = _price(block, tiles, shape)
    stored = cost.bytes + FLOAT_BYTES * matrix.shape[1]
    return TiledScale(block, tiles, np.full((1, len(scale)), UNIT), scale, stored, cost.cycles)


def _peaks(
    magnitude: NDArray[np.float64], tiles: tuple[NDArray[np.int64], ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wanted scales (parts, N), and the largest of each column, 1 where it has no magnitude."""
    peaks = np.stack([magnitude[rows].max(axis=0) for rows in tiles]) / _QMAX
    column = peaks.max(axis=0)
    return peaks, np.where(column > 0, column, 1.0)


def _filled(
    matrix: NDArray[np.float64],
    tiles: tuple[NDArray[np.int64], ...],
    weight: NDArray[np.int64],
    total: NDArray[np.float64],
) -> TiledScale:
    """The parts under given scales, not priced yet."""
    block = np.zeros(matrix.shape, np.int8)
    for rows, share in zip(tiles, weight, strict=True):
        real = np.rint(matrix[rows] / (total * share / UNIT))
        block[rows] = np.clip(real, -_QMAX, _QMAX)
    return TiledScale(block, tiles, weight, total, 0, 0)


def _shared(
    matrix: NDArray[np.float64],
    tiles: tuple[NDArray[np.int64], ...],
    ratio: NDArray[np.float64],
) -> TiledScale:
    """Parts with one ratio of scales (parts,) for all columns, not priced yet."""
    peaks, _ = _peaks(np.abs(matrix), tiles)
    weight = np.repeat(q15_weights(ratio)[:, None], matrix.shape[1], axis=1)
    total = (peaks * UNIT / weight).max(axis=0)
    return _filled(matrix, tiles, weight, _short(np.where(total > 0, total, 1.0)))


def _searched(
    matrix: NDArray[np.float64],
    tiles: tuple[NDArray[np.int64], ...],
    ratio: NDArray[np.float64],
    error: Callable[[TiledScale], float],
) -> TiledScale:
    """Shared ratios moved one at a time while the error falls."""
    best = _shared(matrix, tiles, ratio)
    least = error(best)
    for _ in range(_PASSES):
        for part in range(len(ratio)):
            for factor in (_RATIO_STEP, 1 / _RATIO_STEP):
                moved = ratio.copy()
                moved[part] *= factor
                found = _shared(matrix, tiles, moved)
                if (value := error(found)) < least:
                    best, least, ratio = found, value, moved
    return best


def tiled(
    weights: ArrayLike,
    tiles: tuple[NDArray[np.int64], ...],
    *,
    per: Scope = "column",
    shape: ArrayShape | None = None,
    error: Callable[[TiledScale], float] | None = None,
) -> TiledScale:
    """Quantise float weights with a scale for each part of rows.

    Args:
        weights: finite, (K, N).
        tiles: row numbers of each part, disjoint, all rows together.
        per: see the module.
        shape: the array, for its kernels; None: all with their usual parameters.
        error: what the ratios of ``shared`` are searched by; None: they follow from the peaks.
    """
    matrix = finite_matrix("weights", weights)
    if not np.array_equal(np.sort(np.concatenate(tiles)), np.arange(len(matrix))):
        raise BadInput(
            f"fusion: tiles: must hold each of {len(matrix)} rows once, "
            f"got parts of {[len(rows) for rows in tiles]} rows"
        )
    peaks, column = _peaks(np.abs(matrix), tiles)
    if per == "column":
        # A part without magnitude takes the column's scale: it costs nothing.
        weight, total = fold_scales(_coded(np.where(peaks > 0, peaks, column)))
        found = _filled(matrix, tiles, weight, total)
        extra = FLOAT_BYTES - (-_CODE_BITS * len(tiles) * matrix.shape[1] // 8)
    elif per == "shared":
        ratio = (peaks / column).max(axis=1)
        ratio = np.where(ratio > 0, ratio, 1.0)
        if error is None:
            found = _shared(matrix, tiles, ratio)
        else:
            found = _searched(matrix, tiles, ratio, error)
        extra = _SHARED_BYTES * matrix.shape[1]
    else:
        raise BadInput(f"fusion: per: must be 'shared' or 'column', got {per!r}")
    cost = _price(found.block, tiles, shape)
    return replace(found, bytes=cost.bytes + extra, cycles=cost.cycles)


def tiled_scale(
    weights: ArrayLike,
    *,
    energy: ArrayLike | None = None,
    activations: ArrayLike | None = None,
    per: Scope = "column",
    shape: ArrayShape | None = None,
    byte_limit: float = 1.0,
    cycle_limit: float = 1.5,
) -> TiledScale:
    """The parts with the least output error in no more bytes than `one_scale`, or it itself.

    Args:
        weights: finite, (K, N).
        energy, activations: what the error is weighted with (`golden.planner.scales.output_error`).
        per: see the module; `column` takes shared ratios where they do better.
        shape: the array, for its kernels.
        byte_limit, cycle_limit: most bytes and cycles, relative to `one_scale`.
    """
    matrix = finite_matrix("weights", weights)

    def error(found: TiledScale) -> float:
        return output_error(matrix, found.real, energy=energy, activations=activations)

    def judged(found: TiledScale) -> TiledScale:
        return replace(found, error=error(found))

    def allowed(found: TiledScale) -> bool:
        cheap = found.bytes <= byte_limit * single.bytes
        return cheap and found.cycles <= cycle_limit * single.cycles

    best = single = judged(one_scale(matrix, shape))
    # What holds a scale for each part of a column can hold shared ratios as well.
    for scope in dict.fromkeys((per, "shared")):
        chosen: TiledScale | None = None
        for order in row_orders(matrix):
            for unit in _UNITS:
                for parts in range(2, _MOST_PARTS + 1):
                    tiles = tile_rows(order, parts, unit)
                    found = judged(tiled(matrix, tiles, per=scope, shape=shape))
                    if allowed(found) and (chosen is None or found.error < chosen.error):
                        chosen = found
        if chosen is not None and scope == "shared":
            found = judged(tiled(matrix, chosen.tiles, per=scope, shape=shape, error=error))
            if allowed(found) and found.error < chosen.error:
                chosen = found
        if chosen is not None and chosen.error < best.error:
            best = chosen
    return best
