"""Improves which engine gets which columns by simulated annealing.

The method is that of Kirkpatrick, Gelatt, Vecchi, Science 220, 1983.  A step exchanges two columns
between engines of a segment, or moves one column to another engine, to lower the energy::

    sum over engines and tiles of  min over variants of (sum of column prices + headers)
    + tile_weight  * sum over engines and tiles of (cycles - mean of the tile)^2
    + total_weight * sum over engines of (cycles - mean)^2

A *variant* is a way to hold a block.  The cycles in the second and third line are those of the
block's cheapest variant.

- With one variant of price 0 only the balance counts (`balance_columns`).  Dealing columns out by
  longest processing time evens out the load of an engine over all of K, but engines wait for each
  other every few activation tiles; the second line accounts for that.
- With real prices, columns that are cheapest in the same variants gather on an engine
  (`golden.planner.grouping`).

The time of a step is proportional to tiles and variants and does not depend on the number of
engines.  What decides the makespan is the greatest load, which the sum of squares only follows, so
callers compare start and end and keep the better one.  The same seed gives the same result.
"""

import numba
import numpy as np

__all__ = ["anneal", "balance_columns"]

_MOST_MOVES = 400_000
_MOVES_PER_COLUMN = 400
_HEAT = 0.1  # first temperature, in usual changes of the energy
_DECADES = 6.0  # powers of ten that the temperature falls by


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
    """Anneal and return the engine of each column at the least energy seen.

    Args:
        prices, cycles: price and cycles of each column, float64 (columns, tiles, variants).
        header: float64 (variants,), price of a block in each variant beside its columns.
        owner: int64 (columns,), engine of each column at the start.
        engines: number of engines.
        capacity: most columns of an engine.
        tile_weight, total_weight: weights in the energy, see the module.
        heat: first temperature, in usual changes of the energy.
        decades: powers of ten that the temperature falls by.
        moved: share of the steps that move one column instead of exchanging two; an engine keeps
            at least one column.
        moves: number of steps.
        seed: seed of the random steps.
    """
    np.random.seed(seed)
    size, tiles, variants = prices.shape
    # The last row stands for the column that is not exchanged where a step moves one alone.
    price = np.zeros((size + 1, tiles, variants))
    cycle = np.zeros((size + 1, tiles, variants))
    price[:size], cycle[:size] = prices, cycles
    sums = np.zeros((engines, tiles, variants))
    sums[:, :] = header
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
                if sums[e, t, v] < sums[e, t, best]:
                    best = v
            cost[e] += sums[e, t, best]
            held[e, t] = load[e, t, best]
            total[e] += held[e, t]
    mean = total.mean()
    means = np.zeros(tiles)
    for t in range(tiles):
        means[t] = held[:, t].mean()
    energy, least = 0.0, 0.0
    best_owner = owner.copy()
    usual = 0.0
    measured = min(moves, 256)  # first steps, which only measure the usual change of the energy
    source_held = np.zeros(tiles)
    target_held = np.zeros(tiles)
    warmth = 0.0
    cooling = 10.0 ** (-decades / max(moves, 1))
    for move in range(-measured, moves):
        warmth = heat * usual if move == 0 else warmth * cooling
        one, two = np.random.randint(size), size
        source = owner[one]
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
            source_best, target_best = 0, 0
            for v in range(variants):
                step = price[one, t, v] - price[two, t, v]
                here = sums[source, t, v] - step
                there = sums[target, t, v] + step
                if here < low_s:
                    low_s, source_best = here, v
                if there < low_t:
                    low_t, target_best = there, v
            run = cycle[one, t, source_best] - cycle[two, t, source_best]
            source_held[t] = load[source, t, source_best] - run
            run = cycle[one, t, target_best] - cycle[two, t, target_best]
            target_held[t] = load[target, t, target_best] + run
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
        if change > 0.0 and not (warmth > 0.0 and np.random.random() < np.exp(-change / warmth)):
            continue
        for t in range(tiles):
            for v in range(variants):
                step = price[one, t, v] - price[two, t, v]
                run = cycle[one, t, v] - cycle[two, t, v]
                sums[source, t, v] -= step
                sums[target, t, v] += step
                load[source, t, v] -= run
                load[target, t, v] += run
            held[source, t] = source_held[t]
            held[target, t] = target_held[t]
        if two < size:
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
    """Balance a distribution better by exchanging columns between the engines of each segment.

    Args:
        costs: int64 (k tiles, N), decoder cycles of each column in each k tile.
        assignment: column numbers as ``[segment][engine]``, as from
            `golden.planner.distribute.assign_columns`.
        seed: seed of the random exchanges; the same seed gives the same result.
        moves: exchanges to try in each segment; by default 400 for each of its columns, 400,000 at
            most.

    Returns:
        The new distribution in the same form.  Every engine has as many columns as before, and
        the sum of squares is not greater.
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
