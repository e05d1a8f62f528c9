"""Columns to engines by simulated annealing (Kirkpatrick, Gelatt, Vecchi, Science 220, 1983).

Columns are exchanged between the engines of a segment, or moved from one to another, to lessen::

    sum over engines and tiles of  min over variants of (sum of column prices + headers)
    + tile_weight  * sum over engines and tiles of (cycles - mean of the tile)^2
    + total_weight * sum over engines of (cycles - mean)^2

A *variant* is a way to hold a block; the cycles are those of the variant of least price.  With
one variant that costs nothing, only the balance counts (`balance_columns`): longest processing
time first evens out an engine's load over all of K, but engines wait for each other every few
activation tiles, which the second line sees.  With prices, like columns gather on an engine
(`golden.planner.grouping`).

A step costs time proportional to tiles and variants, whatever the number of engines; the maximum
that matters follows the sum of squares, and callers keep the better of start and end.
Deterministic by the seed.
"""

import numba
import numpy as np

__all__ = ["anneal", "balance_columns"]

_MOST_MOVES = 400_000
_MOVES_PER_COLUMN = 400
_HEAT = 0.1  # of a usual change, at the start
_DECADES = 6.0  # that the heat falls by


@numba.njit(cache=True)
def _square(value: float, mean: float) -> float:
    return (value - mean) * (value - mean)


@numba.njit(cache=True)
def anneal(
    prices: np.ndarray,
    cycles: np.ndarray,
    header: np.ndarray,
    owner: np.ndarray,
    engines: int,
    capacity: int,
    tile_weight: float,
    total_weight: float,
    heat: float,
    decades: float,
    moved: float,
    moves: int,
    seed: int,
) -> np.ndarray:
    """Owners of the least energy seen.

    Args:
        prices, cycles: float64 (columns, tiles, variants).
        header: float64 (variants,), price of a block in each variant beside its columns.
        owner: int64 (columns,), engine of each column at the start.
        engines: number of engines.
        capacity: most columns of an engine.
        tile_weight, total_weight: see the module.
        heat: first temperature, in usual changes.
        decades: powers of ten that the temperature falls by.
        moved: share of the steps that move one column instead of exchanging two; an engine keeps
            at least one.
        moves: steps tried.
        seed: of the steps.
    """
    np.random.seed(seed)
    size, tiles, variants = prices.shape
    sums = np.zeros((engines, tiles, variants))
    load = np.zeros((engines, tiles, variants))
    count = np.zeros(engines, np.int64)
    for item in range(size):
        sums[owner[item]] += prices[item]
        load[owner[item]] += cycles[item]
        count[owner[item]] += 1
    cost = np.zeros(engines)
    total = np.zeros(engines)
    held = np.zeros((engines, tiles))
    for e in range(engines):
        for t in range(tiles):
            best = 0
            for v in range(1, variants):
                if sums[e, t, v] + header[v] < sums[e, t, best] + header[best]:
                    best = v
            cost[e] += sums[e, t, best] + header[best]
            held[e, t] = load[e, t, best]
            total[e] += held[e, t]
    mean = total.mean()
    means = np.zeros(tiles)
    for t in range(tiles):
        means[t] = held[:, t].mean()
    energy, least = 0.0, 0.0
    best_owner = owner.copy()
    usual = 0.0
    measured = min(moves, 256)  # steps that only measure the usual size of a change
    source_held = np.zeros(tiles)
    target_held = np.zeros(tiles)
    for move in range(-measured, moves):
        one = np.random.randint(size)
        source = owner[one]
        two = -1
        if moved > 0.0 and np.random.random() < moved:
            target = np.random.randint(engines)
            if target == source or count[target] == capacity or count[source] == 1:
                continue
        else:
            two = np.random.randint(size)
            target = owner[two]
            if target == source:
                continue
        source_cost, target_cost, source_total, target_total = 0.0, 0.0, 0.0, 0.0
        change = 0.0
        for t in range(tiles):
            low_s, low_t = np.inf, np.inf
            for v in range(variants):
                step, run = prices[one, t, v], cycles[one, t, v]
                if two >= 0:
                    step -= prices[two, t, v]
                    run -= cycles[two, t, v]
                here = sums[source, t, v] - step + header[v]
                there = sums[target, t, v] + step + header[v]
                if here < low_s:
                    low_s, source_held[t] = here, load[source, t, v] - run
                if there < low_t:
                    low_t, target_held[t] = there, load[target, t, v] + run
            source_cost += low_s
            target_cost += low_t
            source_total += source_held[t]
            target_total += target_held[t]
            if tile_weight > 0.0:
                change += tile_weight * (
                    _square(source_held[t], means[t])
                    + _square(target_held[t], means[t])
                    - _square(held[source, t], means[t])
                    - _square(held[target, t], means[t])
                )
        change += source_cost + target_cost - cost[source] - cost[target]
        change += total_weight * (
            _square(source_total, mean)
            + _square(target_total, mean)
            - _square(total[source], mean)
            - _square(total[target], mean)
        )
        if move < 0:
            usual += abs(change) / measured
            continue
        warmth = heat * usual * 10.0 ** (-decades * move / moves)
        if change > 0.0 and not (warmth > 0.0 and np.random.random() < np.exp(-change / warmth)):
            continue
        for t in range(tiles):
            for v in range(variants):
                step, run = prices[one, t, v], cycles[one, t, v]
                if two >= 0:
                    step -= prices[two, t, v]
                    run -= cycles[two, t, v]
                sums[source, t, v] -= step
                sums[target, t, v] += step
                load[source, t, v] -= run
                load[target, t, v] += run
            held[source, t] = source_held[t]
            held[target, t] = target_held[t]
        if two >= 0:
            owner[two] = source
        else:
            count[source] -= 1
            count[target] += 1
        owner[one] = target
        cost[source], cost[target] = source_cost, target_cost
        total[source], total[target] = source_total, target_total
        energy += change
        if energy < least - 1e-6:
            least = energy
            best_owner[:] = owner
    return best_owner


def balance_columns(
    costs: np.ndarray, assignment: list[list[np.ndarray]], seed: int = 0, moves: int | None = None
) -> list[list[np.ndarray]]:
    """Refine a distribution by exchanging columns between the engines of each segment.

    Args:
        costs: int64 (k tiles, N), decoder cycles of each column in each k tile.
        assignment: ``[segment][engine]`` -> column numbers, as from
            `golden.planner.distribute.assign_columns`.
        seed: of the random moves; the same seed gives the same result.
        moves: exchanges tried per segment; 400 for each of its columns by default, 400,000 at
            most.

    Returns:
        The same form; every engine has as many columns as before, and the sum of squares is not
        greater.
    """
    tiles = len(costs)
    refined = []
    for number, segment in enumerate(assignment):
        items = np.concatenate(segment).astype(np.int64)
        owner = np.repeat(np.arange(len(segment)), [len(part) for part in segment])
        if len(items) > 1 and len(segment) > 1:
            tried = moves if moves is not None else _MOVES_PER_COLUMN * len(items)
            part = np.ascontiguousarray(costs[:, items].T).astype(np.float64)[:, :, None]
            owner = anneal(
                np.zeros_like(part),
                part,
                np.zeros(1),
                owner,
                len(segment),
                len(items),
                1.0,
                float(tiles),
                _HEAT,
                _DECADES,
                0.0,
                min(tried, _MOST_MOVES),
                (seed + number) % (1 << 32),
            )
        refined.append([np.sort(items[owner == engine]) for engine in range(len(segment))])
    return refined
