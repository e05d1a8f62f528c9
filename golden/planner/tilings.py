"""Cuts the rows of k into tiles that the activation memory and the accumulators hold.

A tile has at most ``k_tile`` rows.  Where the accumulators are narrower than the worst weights of
so many rows need (`golden.shape.ArrayShape.acc_bits`), the magnitudes of a column's weights in one
tile must add up to at most ``shape.column_weight``.
"""

import numpy as np

from ..errors import BadInput
from ..formats import CHUNK, WORD_BITS
from ..shape import ArrayShape

__all__ = ["check_sums", "column_weights", "tilings"]

_LEAD = WORD_BITS  # a short first tile covers a whole number of so many rows


def column_weights(weights: np.ndarray) -> np.ndarray:
    """Add up the magnitudes of each column of int8 weights (K, N); int64 (N,)."""
    return np.abs(weights.astype(np.int16)).sum(axis=0, dtype=np.int64)


def check_sums(shape: ArrayShape, tile: np.ndarray) -> None:
    """Refuse a tile of int8 weights (depth, columns) whose sums might overflow.

    Raises:
        BadInput: the magnitudes of a column add up to more than ``shape.column_weight``.
    """
    if not shape.sums_bind or not tile.size:
        return
    heaviest = int(column_weights(tile).max())
    if heaviest > shape.column_weight:
        raise BadInput(
            f"weights: the magnitudes of a column in one k tile must add up to at most "
            f"{shape.column_weight}, which {shape.acc_bits}-bit sums hold, got {heaviest}"
        )


def tilings(shape: ArrayShape, weights: np.ndarray) -> list[np.ndarray]:
    """Return bounds of k tiles to try: whole tiles, then a short first one, then all of half depth.

    The engines idle while the first tile of a job loads.  A short first tile shortens that, and
    the next tile loads while the engines work on it.  It covers a whole number of index words, so
    that runs of rows stay together.  Where K is a multiple of the tile it adds a tile, and with it
    one close of each column.  Tiles of half the depth load in half the time throughout, for arrays
    that are large for the product, and close each column twice as often.

    Args:
        shape: the array.
        weights: int8 (K, N), the rows that are sent.

    Returns:
        int64 (k tiles + 1,) each, first row of each tile, then K.
    """
    tile, depth = shape.k_tile, len(weights)
    found = [_bounds(shape, weights, tile, tile)]
    lead = depth % tile // _LEAD * _LEAD or max(_LEAD, tile // 8)
    if lead < min(tile, depth):
        found.append(_bounds(shape, weights, lead, tile))
    if _LEAD <= tile // 2 < depth:
        found.append(_bounds(shape, weights, tile // 2, tile // 2))
    return found


def _bounds(shape: ArrayShape, weights: np.ndarray, first: int, following: int) -> np.ndarray:
    """Cut off ``first`` rows, then ``following`` each time, or as many as the sums hold."""
    bounds = [0]
    rows = first
    while bounds[-1] < len(weights):
        low = bounds[-1]
        bounds.append(low + _held(shape, weights[low : low + rows]))
        rows = following
    return np.array(bounds, np.int64)


def _held(shape: ArrayShape, rows: np.ndarray) -> int:
    """Count the first rows that the accumulators hold, in whole index words or else chunks."""
    if not shape.sums_bind or column_weights(rows).max(initial=0) <= shape.column_weight:
        return len(rows)
    grown = np.abs(rows.astype(np.int16)).cumsum(axis=0, dtype=np.int64).max(axis=1)
    held = int(np.searchsorted(grown, shape.column_weight, side="right"))
    unit = WORD_BITS if held >= WORD_BITS else CHUNK
    return held // unit * unit
