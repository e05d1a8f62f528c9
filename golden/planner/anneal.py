"""Columns to engines by simulated annealing, on top of longest processing time.

Longest processing time evens out an engine's load over all of K, but engines wait for each other
every few activation tiles.  Columns are swapped between the engines of a segment (Kirkpatrick,
Gelatt, Vecchi 1983) to lessen::

    sum over engines, k tiles of (load - mean)^2 + k_tiles * sum over engines of (total - mean)^2

A swap costs time proportional to the k tiles, whatever the number of engines; the maximum that
matters follows the sum of squares, and the caller keeps the better of start and end.  Swaps keep
each engine's number of columns, so the drain's work stays as it is.
"""

import numba
import numpy as np

__all__ = ["anneal_columns"]

_MOST_MOVES = 400_000
_MOVES_PER_COLUMN = 400


@numba.njit(cache=True)
def _anneal(
    costs: np.ndarray, owner: np.ndarray, engines: int, moves: int, seed: int
) -> np.ndarray:
    np.random.seed(seed)
    k_tiles, size = costs.shape
    loads = np.zeros((k_tiles, engines))
    totals = np.zeros(engines)
    for item in range(size):
        for tile in range(k_tiles):
            loads[tile, owner[item]] += costs[tile, item]
            totals[owner[item]] += costs[tile, item]
    energy = 0.0
    least = 0.0
    best = owner.copy()
    temperature = 0.0
    # The mean size of a change sets the temperature; the first pass only measures it.
    measured = min(moves, 256)
    for move in range(-measured, moves):
        one = np.random.randint(size)
        two = np.random.randint(size)
        source, target = owner[one], owner[two]
        if source == target:
            continue
        change = 0.0
        whole = 0.0
        for tile in range(k_tiles):
            step = costs[tile, two] - costs[tile, one]
            whole += step
            change += 2.0 * step * (loads[tile, source] - loads[tile, target] + step)
        change += k_tiles * 2.0 * whole * (totals[source] - totals[target] + whole)
        if move < 0:
            temperature += abs(change) / measured
            continue
        # From a tenth of a usual change, geometrically down by 1e-6.
        heat = 0.1 * temperature * 10.0 ** (-6.0 * move / moves)
        if change <= 0.0 or (heat > 0.0 and np.random.random() < np.exp(-change / heat)):
            for tile in range(k_tiles):
                step = costs[tile, two] - costs[tile, one]
                loads[tile, source] += step
                loads[tile, target] -= step
            totals[source] += whole
            totals[target] -= whole
            owner[one], owner[two] = target, source
            energy += change
            if energy < least - 0.5:
                least = energy
                best[:] = owner
    return best


def anneal_columns(
    costs: np.ndarray, assignment: list[list[np.ndarray]], seed: int = 0, moves: int | None = None
) -> list[list[np.ndarray]]:
    """Refine a distribution by swapping columns between the engines of each segment.

    Args:
        costs: int64 (k tiles, N), decoder cycles of each column in each k tile.
        assignment: ``[segment][engine]`` -> column numbers, as from `assign_columns`.
        seed: of the random moves; the same seed gives the same result.
        moves: swaps tried per segment; 400 for each of its columns by default, 400,000 at most.

    Returns:
        The same form; every engine has as many columns as before, and the sum of squares is not
        greater.
    """
    refined = []
    for number, segment in enumerate(assignment):
        items = np.concatenate(segment).astype(np.int64)
        owner = np.repeat(np.arange(len(segment)), [len(part) for part in segment])
        if len(items) > 1 and len(segment) > 1:
            tried = moves if moves is not None else _MOVES_PER_COLUMN * len(items)
            part = np.ascontiguousarray(costs[:, items]).astype(np.float64)
            budget = min(tried, _MOST_MOVES)
            owner = _anneal(part, owner, len(segment), budget, (seed + number) % (1 << 32))
        refined.append([np.sort(items[owner == engine]) for engine in range(len(segment))])
    return refined
