"""Schedule: which engine takes which block, and in which order.

Engines work through queues of their own and wait for nobody. A job starts when its engine is
free and its operands are there (``release``)::

    time[engine] = max(time[engine], release[job]) + cost[job]

Jobs of one *chain*, the parts of an output column, share an engine, because their partial sums
do, and stay in the order of their numbers. Start: longest processing time first over chains
(Graham 1969). Then simulated annealing (Kirkpatrick, Gelatt, Vecchi, Science 220, 1983) with
three moves: a chain to another engine, two chains exchanged, two jobs exchanged in the order.
The best schedule seen is kept, so the result is never worse than its start.
"""

from dataclasses import dataclass

import numba
import numpy as np

from ..errors import BadInput

__all__ = ["Schedule", "anneal_schedule", "finish_times", "longest_first"]

_COOLING_END = 1e-3  # last temperature over first: by then only improvements pass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A schedule and what annealing gained.

    Attributes:
        engine: int64 (J,), engine of each job.
        order: int64 (J,), jobs in an order that holds every engine's own.
        makespan: when the last engine ends, in cycles.
        start_makespan: the same before annealing.
        lower_bound: no schedule is shorter.
    """

    engine: np.ndarray
    order: np.ndarray
    makespan: int
    start_makespan: int
    lower_bound: int

    @property
    def gain(self) -> float:
        """Share of the start's makespan that annealing saved."""
        return 1 - self.makespan / self.start_makespan if self.start_makespan else 0.0

    def queues(self, engines: int) -> list[np.ndarray]:
        """Jobs of each engine, in their order."""
        return [self.order[self.engine[self.order] == engine] for engine in range(engines)]


def finish_times(
    cost: np.ndarray, release: np.ndarray, engine: np.ndarray, order: np.ndarray, engines: int
) -> np.ndarray:
    """When each engine ends: the definition, job by job; int64 (engines,)."""
    time = [0] * engines
    for job in order:
        time[engine[job]] = max(time[engine[job]], int(release[job])) + int(cost[job])
    return np.array(time, np.int64)


def longest_first(
    cost: np.ndarray, chain: np.ndarray, release: np.ndarray, engines: int
) -> tuple[np.ndarray, np.ndarray]:
    """Longest processing time first over chains.

    Args:
        cost: int64 (J,), cycles of each job.
        chain: int64 (J,), its chain, 0 .. chains - 1.
        release: int64 (J,), cycle in which its operands are there.
        engines: number of engines.

    Returns:
        Engine of each job, and the order: by release, then by number. Ties go to the lower
        chain and engine.
    """
    total = np.bincount(chain, weights=cost).astype(np.int64)
    load = np.zeros(engines, np.int64)
    place = np.zeros(len(total), np.int64)
    for number in np.argsort(-total, kind="stable"):
        place[number] = np.argmin(load)
        load[place[number]] += total[number]
    # A chain's later part can't go first, so it counts as released no earlier.
    ready = release.copy()
    latest = np.zeros(len(total), np.int64)
    for job in range(len(cost)):
        latest[chain[job]] = ready[job] = max(latest[chain[job]], ready[job])
    return place[chain], np.argsort(ready, kind="stable")


@numba.njit(cache=True)
def _evaluate(
    cost: np.ndarray,
    release: np.ndarray,
    chain: np.ndarray,
    place: np.ndarray,
    order: np.ndarray,
    time: np.ndarray,
) -> tuple[int, float]:
    """Makespan, and the energy that annealing lowers."""
    time[:] = 0
    for job in order:
        at = place[chain[job]]
        time[at] = max(time[at], release[job]) + cost[job]
    # The spread of the loads leads where the longest alone is a plateau.
    worst, square = 0, 0.0
    for value in time:
        worst = max(worst, value)
        square += float(value) * float(value)
    return worst, worst + np.sqrt(square / len(time)) / 4


@numba.njit(cache=True)
def _may_exchange(chain: np.ndarray, order: np.ndarray, low: int, high: int) -> bool:
    """Whether no part of either job's chain lies between the two places."""
    first, second = chain[order[low]], chain[order[high]]
    if first == second:
        return False
    for place in range(low + 1, high):
        between = chain[order[place]]
        if between in (first, second):
            return False
    return True


@numba.njit(cache=True)
def _anneal(
    cost: np.ndarray,
    release: np.ndarray,
    chain: np.ndarray,
    place: np.ndarray,
    order: np.ndarray,
    engines: int,
    steps: int,
    seed: int,
    ordered: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Engine of each chain and the order of the jobs in the best schedule seen."""
    np.random.seed(seed)
    jobs, chains = len(cost), len(place)
    time = np.zeros(engines, np.int64)
    best, energy = _evaluate(cost, release, chain, place, order, time)
    best_place, best_order = place.copy(), order.copy()
    first = max(1.0, cost.mean())
    for step in range(steps):
        temperature = first * _COOLING_END ** (step / steps)
        move = np.random.randint(3 if ordered else 2)
        a = np.random.randint(chains)
        b = np.random.randint(chains)
        old_a, old_b = place[a], place[b]
        low = high = 0
        if move == 0:
            place[a] = np.random.randint(engines)
            if place[a] == old_a:
                continue
        elif move == 1:
            if old_a == old_b:
                continue
            place[a], place[b] = old_b, old_a
        else:
            low = np.random.randint(jobs)
            high = np.random.randint(jobs)
            if low > high:
                low, high = high, low
            if low == high or not _may_exchange(chain, order, low, high):
                continue
            order[low], order[high] = order[high], order[low]
        worst, tried = _evaluate(cost, release, chain, place, order, time)
        if tried <= energy or np.random.random() < np.exp((energy - tried) / temperature):
            energy = tried
            if worst < best:
                best = worst
                best_place[:] = place
                best_order[:] = order
        elif move == 2:
            order[low], order[high] = order[high], order[low]
        else:
            place[b] = old_b
            place[a] = old_a
    return best_place, best_order


def anneal_schedule(
    cost: np.ndarray,
    engines: int,
    chain: np.ndarray | None = None,
    release: np.ndarray | None = None,
    *,
    steps: int = 20_000,
    seed: int = 0,
) -> Schedule:
    """Schedule jobs on engines.

    Args:
        cost: int (J,), cycles of each job, 0 or more.
        engines: number of engines.
        chain: int (J,), equal for jobs that share an engine and keep their order; by default
            every job is its own.
        release: int (J,), cycle from which a job can start; 0 by default.
        steps: moves tried.
        seed: of the moves; the same seed gives the same schedule.

    Raises:
        BadInput: an argument that breaks its rule.
    """
    cost = np.asarray(cost, np.int64)
    chain = np.arange(len(cost)) if chain is None else np.asarray(chain)
    release = np.zeros(len(cost), np.int64) if release is None else np.asarray(release, np.int64)
    if cost.ndim != 1 or not len(cost):
        raise BadInput(f"schedule: cost: must hold at least one job, got shape {cost.shape}")
    for name, values in (("chain", chain), ("release", release)):
        if values.shape != cost.shape:
            raise BadInput(
                f"schedule: {name}: must have one entry per job ({len(cost)}), "
                f"got shape {values.shape}"
            )
    for name, values in (("cost", cost), ("release", release)):
        if values.min() < 0:
            raise BadInput(f"schedule: {name}: must be 0 or more, got {values.min()}")
    for name, value, least in (("engines", engines, 1), ("steps", steps, 0), ("seed", seed, 0)):
        if value < least:
            raise BadInput(f"schedule: {name}: must be at least {least}, got {value}")
    chain = np.unique(chain, return_inverse=True)[1].astype(np.int64)
    engine, order = longest_first(cost, chain, release, engines)
    start = int(finish_times(cost, release, engine, order, engines).max())
    place = np.zeros(chain.max() + 1, np.int64)
    place[chain] = engine
    ordered = bool(release.any())
    place, order = _anneal(
        cost, release, chain, place, order, engines, steps, seed % (1 << 32), ordered
    )
    totals = np.bincount(chain, weights=cost).astype(np.int64)
    bound = max(int(totals.max()), -(-int(cost.sum()) // engines), int((release + cost).max()))
    return Schedule(
        engine=place[chain],
        order=order,
        makespan=int(finish_times(cost, release, place[chain], order, engines).max()),
        start_makespan=start,
        lower_bound=bound,
    )
