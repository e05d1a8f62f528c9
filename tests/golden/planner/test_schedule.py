"""Schedules: every job once, chains kept, never worse than the start, near the optimum."""

import itertools

import numpy as np
import pytest

from golden.errors import BadInput
from golden.planner.schedule import anneal_schedule, finish_times, longest_first


def check(schedule, cost, chain, release, engines: int) -> None:
    """Everything that holds for any schedule, from its definition."""
    jobs = len(cost)
    assert sorted(schedule.order.tolist()) == list(range(jobs))
    queues = schedule.queues(engines)
    assert sorted(np.concatenate(queues).tolist()) == list(range(jobs))
    for name in np.unique(chain):
        parts = np.flatnonzero(chain == name)
        assert len(np.unique(schedule.engine[parts])) == 1
        queue = queues[schedule.engine[parts[0]]]
        assert queue[np.isin(queue, parts)].tolist() == parts.tolist()
    ends = []
    for queue in queues:
        time = 0
        for job in queue:
            time = max(time, release[job]) + cost[job]
        ends.append(time)
    assert max(ends) == schedule.makespan
    assert schedule.lower_bound <= schedule.makespan <= schedule.start_makespan
    assert schedule.gain == pytest.approx(
        1 - schedule.makespan / schedule.start_makespan if schedule.start_makespan else 0
    )


@pytest.mark.parametrize("jobs", [1, 2, 7, 40, 97])
@pytest.mark.parametrize("engines", [1, 3, 8])
@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("chained", [False, True])
def test_any_workload(jobs: int, engines: int, released: bool, chained: bool, rng):
    cost = rng.integers(0, 200, jobs)
    chain = rng.integers(0, max(1, jobs // 3), jobs) * 5 if chained else np.arange(jobs)
    release = rng.integers(0, 2000, jobs) if released else np.zeros(jobs, np.int64)
    seed = int(rng.integers(1 << 31))
    schedule = anneal_schedule(cost, engines, chain, release, steps=1500, seed=seed)
    check(schedule, cost, chain, release, engines)
    again = anneal_schedule(cost, engines, chain, release, steps=1500, seed=seed)
    assert (again.engine == schedule.engine).all()
    assert (again.order == schedule.order).all()


def test_annealing_finds_what_longest_first_misses():
    # Graham's worst case for 3 engines: longest first takes 11, the optimum 9.
    cost = np.array([5, 5, 4, 4, 3, 3, 3])
    schedule = anneal_schedule(cost, 3, steps=5000)
    assert (schedule.start_makespan, schedule.makespan) == (11, 9)
    assert schedule.gain == pytest.approx(2 / 11)


@pytest.mark.parametrize("released", [False, True])
def test_small_workloads_reach_the_optimum(released: bool, fixed_rng):
    for _ in range(4):
        cost = fixed_rng.integers(1, 50, 6)
        release = fixed_rng.integers(0, 60, 6) if released else np.zeros(6, np.int64)
        best = min(
            # Orders beyond release order never help an engine that waits for nobody.
            finish_times(cost, release, np.array(e), np.argsort(release, kind="stable"), 2).max()
            for e in itertools.product(range(2), repeat=6)
        )
        schedule = anneal_schedule(cost, 2, release=release, steps=4000)
        assert schedule.makespan == best


def test_the_order_matters_where_chains_wait():
    # Engine 0 must not begin with the chain whose second part comes late.
    cost = np.array([10, 10, 30])
    release = np.array([0, 100, 0])
    schedule = anneal_schedule(cost, 1, np.array([0, 0, 1]), release, steps=500)
    assert schedule.makespan == 110


def test_few_large_jobs_gain(fixed_rng):
    gains = []
    for _ in range(6):
        cost = np.concatenate([fixed_rng.integers(40, 100, 21), fixed_rng.integers(1, 4, 3)])
        gains.append(anneal_schedule(cost, 8, steps=20_000).gain)
    # Longest first is far from the best with three jobs to an engine; 4 to 10 % is usual.
    assert np.mean(gains) > 0.02


def test_longest_first_by_hand():
    cost, release = np.array([3, 9, 2, 4]), np.array([5, 0, 0, 0])
    engine, order = longest_first(cost, np.array([0, 1, 0, 2]), release, 2)
    # Chains cost 5, 9, 4; part 2 of chain 0 follows its part 0.
    assert engine.tolist() == [1, 0, 1, 1]
    assert order.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cost": []}, "cost: must hold at least one job"),
        ({"cost": [1, -2]}, "cost: must be 0 or more, got -2"),
        ({"cost": [1], "engines": 0}, "engines: must be at least 1, got 0"),
        ({"cost": [1, 2], "chain": [0]}, r"chain: must have one entry per job \(2\)"),
        ({"cost": [1], "release": [-1]}, "release: must be 0 or more, got -1"),
        ({"cost": [1], "steps": -1}, "steps: must be at least 0, got -1"),
        ({"cost": [1], "seed": -1}, "seed: must be at least 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, message: str):
    given = {"engines": 2} | arguments
    with pytest.raises(BadInput, match=f"schedule: {message}"):
        anneal_schedule(**given)
