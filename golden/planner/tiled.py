"""Chooses which rows share a k tile, so that large weights coarsen few others.

Rows may be sent in any order, as long as it is the same in both operands.  If the tiles have scales
of their own, the expected rounding error of a column is proportional to the sum over its tiles of

    peak[t, n]^2 * E[t, n]

where ``peak`` is the largest magnitude in the tile and ``E`` the energy of the activations that
meet its non-zeros.  The search first sorts rows by their loudness: their magnitude relative to the
energy that they meet.  Then pairs of rows change places while the error, summed over the columns,
falls.  Formats that hold runs of rows (``nm``, ``block``) need these runs, so rows then move in
whole runs.
"""

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["equal_tiles", "row_tiles"]

_SAMPLED = 256  # columns that the rows are dealt by
_TRIES = 64  # exchanges tried for each unit of rows
_LOUD = 8  # power of a magnitude relative to its column's largest


def equal_tiles(rows: int, tiles: int, unit: int) -> NDArray[np.int64]:
    """Cut rows into nearly equal k tiles; all tiles but the last are whole units of rows.

    Args:
        rows: number of rows.
        tiles: most tiles.
        unit: rows of a unit, 1 or more.

    Returns:
        int64, first row of each tile, then the number of rows.
    """
    units = -(-rows // unit)
    count = min(tiles, units)
    return np.array([*(n * units // count * unit for n in range(count)), rows], np.int64)


def _orders(magnitude: NDArray[np.float64], energy: NDArray[np.float64]) -> Iterator[np.ndarray]:
    """Yield orders of rows to start from: the given one, and sorted by loudness, both ways."""
    yield np.arange(len(magnitude))
    peak = magnitude.max(axis=0)
    relative = magnitude / np.where(peak > 0, peak, 1.0)
    loud = np.power(relative, _LOUD).mean(axis=1)
    met = energy.mean(axis=1)
    for measure in (relative.max(axis=1), loud / np.maximum(met, met.max() * 1e-9 + 1e-300)):
        order = np.argsort(measure, kind="stable")
        yield order
        yield order[::-1]


@numba.njit(cache=True)
def _without(magnitude: np.ndarray, owner: np.ndarray, tile: int, unit: int, column: int) -> float:
    """Return the largest magnitude of a column in a tile, one unit of rows left out."""
    largest = 0.0
    for other in range(len(owner)):
        if owner[other] == tile and other != unit and magnitude[other, column] > largest:
            largest = magnitude[other, column]
    return largest


@numba.njit(cache=True)
def _exchange(
    magnitude: np.ndarray, energy: np.ndarray, owner: np.ndarray, tiles: int, tries: int, seed: int
) -> None:
    """Exchange units of rows between tiles where that lowers the error; ``owner`` is changed."""
    np.random.seed(seed)
    units, columns = magnitude.shape
    peak = np.zeros((tiles, columns))
    met = np.zeros((tiles, columns))
    for unit in range(units):
        for n in range(columns):
            peak[owner[unit], n] = max(peak[owner[unit], n], magnitude[unit, n])
            met[owner[unit], n] += energy[unit, n]
    first = np.zeros(columns)
    second = np.zeros(columns)
    for _ in range(tries):
        one, two = np.random.randint(units), np.random.randint(units)
        a, b = owner[one], owner[two]
        if a == b:
            continue
        change = 0.0
        for n in range(columns):
            rest = peak[a, n]
            if magnitude[one, n] >= rest:
                rest = _without(magnitude, owner, a, one, n)
            first[n] = max(rest, magnitude[two, n])
            rest = peak[b, n]
            if magnitude[two, n] >= rest:
                rest = _without(magnitude, owner, b, two, n)
            second[n] = max(rest, magnitude[one, n])
            moved = energy[two, n] - energy[one, n]
            change += first[n] ** 2 * (met[a, n] + moved) - peak[a, n] ** 2 * met[a, n]
            change += second[n] ** 2 * (met[b, n] - moved) - peak[b, n] ** 2 * met[b, n]
        if change < 0.0:
            owner[one], owner[two] = b, a
            for n in range(columns):
                moved = energy[two, n] - energy[one, n]
                peak[a, n], peak[b, n] = first[n], second[n]
                met[a, n] += moved
                met[b, n] -= moved


def row_tiles(
    weights: NDArray[np.float64],
    energy: NDArray[np.float64],
    bounds: NDArray[np.int64],
    *,
    run: int = 1,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Find an order of the rows in which the tiles between ``bounds`` have a small expected error.

    Args:
        weights: (rows, N).
        energy: (rows,), mean square of each channel of the activations.
        bounds: first row of each tile, then the number of rows; multiples of ``run`` but the last.
        run: number of consecutive rows that stay together.
        seed: seed of the exchanges.

    Returns:
        int64 (rows,), ascending within each tile.
    """
    rows, outputs = weights.shape
    chosen = np.unique(np.linspace(0, outputs - 1, min(outputs, _SAMPLED)).astype(np.int64))
    magnitude = np.abs(weights[:, chosen])
    magnitude /= float(magnitude.max(initial=0.0)) or 1.0
    met = np.where(magnitude > 0, energy[:, None], 0.0)
    met /= float(met.max(initial=0.0)) or 1.0
    # A short run at the end stays in the last tile.
    whole = rows // run
    starts = np.arange(0, whole * run, run)
    magnitude = np.maximum.reduceat(magnitude[: whole * run], starts)
    met = np.add.reduceat(met[: whole * run], starts)
    cuts = np.minimum(bounds // run, whole)
    sizes = np.diff(cuts)
    if whole < 2 or np.count_nonzero(sizes) < 2:
        return np.arange(rows)
    occupied = cuts[:-1][sizes > 0]
    best, least = np.arange(whole), np.inf
    for order in _orders(magnitude, met):
        peaks = np.maximum.reduceat(magnitude[order], occupied)
        error = float((np.square(peaks) * np.add.reduceat(met[order], occupied)).sum())
        if error < least:
            best, least = order, error
    owner = np.empty(whole, np.int64)
    owner[best] = np.repeat(np.arange(len(sizes)), sizes)
    _exchange(magnitude, met, owner, len(sizes), _TRIES * whole, seed % (1 << 32))
    own = np.append(np.repeat(owner, run), np.full(rows - whole * run, len(sizes) - 1))
    return np.concatenate([np.flatnonzero(own == tile) for tile in range(len(sizes))])
