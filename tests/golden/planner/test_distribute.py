"""Columns to engines: every column once, deterministic, even."""

from itertools import pairwise

import numpy as np
import pytest

from golden.planner.distribute import assign_columns, cut_rows
from golden.planner.makespan import makespan


def costs_of(rng: np.random.Generator, columns: int, style: str) -> np.ndarray:
    if style == "equal":
        return np.full(columns, 7, np.int64)
    if style == "skewed":
        return (rng.pareto(1.2, columns) * 50).astype(np.int64)
    return rng.integers(0, 257, columns)


@pytest.mark.parametrize("style", ["equal", "uniform", "skewed"])
@pytest.mark.parametrize(
    ("columns", "engines", "segments"),
    [
        (1, 1, 1),
        (1, 8, 1),
        (7, 8, 1),
        (64, 8, 1),
        (65, 8, 2),
        (101, 3, 5),
        (256, 16, 4),
        (17, 5, 3),
    ],
)
def test_every_column_once_and_within_capacity(
    columns: int, engines: int, segments: int, style: str, rng: np.random.Generator
):
    assignment = assign_columns(costs_of(rng, columns, style), engines, segments)
    assert len(assignment) == segments
    assert all(len(segment) == engines for segment in assignment)
    chosen = np.concatenate([part for segment in assignment for part in segment])
    assert sorted(chosen.tolist()) == list(range(columns))
    most = -(-columns // (engines * segments))
    for segment in assignment:
        assert max(len(part) for part in segment) <= most
        for part in segment:
            assert part.dtype == np.int64
            assert (np.diff(part) > 0).all()


def test_deterministic_and_independent_of_the_array_passed(rng: np.random.Generator):
    costs = rng.integers(0, 4, 200)  # many ties
    kept = costs.copy()
    first = assign_columns(costs, 8, 3)
    np.testing.assert_array_equal(costs, kept)
    second = assign_columns(costs.copy(), 8, 3)
    for a, b in zip(first, second, strict=True):
        for left, right in zip(a, b, strict=True):
            np.testing.assert_array_equal(left, right)


def test_ties_go_to_the_lower_engine():
    assignment = assign_columns(np.array([5, 5, 5]), 4, 1)
    assert [part.tolist() for part in assignment[0]] == [[0], [1], [2], []]


def test_heaviest_first():
    # Longest processing time: 7 | 6 | 5+4 would be 9, so 4 joins 5, the least load.
    assignment = assign_columns(np.array([4, 7, 5, 6]), 3, 1)
    assert [part.tolist() for part in assignment[0]] == [[1], [3], [0, 2]]


def test_loads_are_even(rng: np.random.Generator):
    over = blind = 0.0
    for _ in range(50):
        costs = rng.integers(1, 257, 512)
        engines = int(rng.choice([2, 4, 8, 16]))
        loads = np.array([costs[part].sum() for part in assign_columns(costs, engines, 1)[0]])
        assert loads.max() <= loads.mean() + costs.max()
        over += loads.max() - loads.mean()
        blind += costs.reshape(engines, -1).sum(axis=1).max() - loads.mean()
    # Columns dealt out as they come are hundreds of cycles out of step, in each of 50 draws.
    assert over < 0.1 * blind


def test_segments_are_even(rng: np.random.Generator):
    for _ in range(50):
        costs = rng.integers(1, 257, 480)
        sums = [
            sum(costs[part].sum() for part in segment) for segment in assign_columns(costs, 8, 4)
        ]
        # Snake order: rounds alternate, so that segments differ by less than one round of engines.
        assert max(sums) - min(sums) <= 8 * 256


def cut_naive(weights: np.ndarray, bounds: np.ndarray, parts: int, how: str) -> np.ndarray:
    part = np.zeros(weights.shape, np.int64)
    for tile in range(len(bounds) - 1):
        size = bounds[tile + 1] - bounds[tile]
        for column in range(weights.shape[1]):
            seen = tile - 1
            for row in range(size):
                seen += int(weights[bounds[tile] + row, column] != 0)
                chunk = row // 16 * parts // -(-size // 16)
                part[bounds[tile] + row, column] = seen % parts if how == "rank" else chunk
    return part


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_k_parts(parts: int, rng: np.random.Generator):
    for depth in (1, 17, 64, 130):
        weights = rng.integers(-1, 2, (depth, 5)).astype(np.int8)
        bounds = np.append(np.arange(0, depth, 64), depth)
        for how in ("rank", "range"):
            part = cut_rows(weights, bounds, parts, how)
            np.testing.assert_array_equal(part, cut_naive(weights, bounds, parts, how))
            assert part.min() >= 0
            assert part.max() < parts
        part = cut_rows(weights, bounds, parts, "rank")
        for low, high in pairwise(bounds):
            held = np.array([((weights != 0) & (part == p))[low:high].sum(0) for p in range(parts)])
            assert (held.max(axis=0) - held.min(axis=0) <= 1).all()


def makespan_naive(
    loads: np.ndarray,
    closes: np.ndarray,
    words: np.ndarray,
    beats: np.ndarray,
    group: int,
    tiles: int,
    drain_cycles: int,
    m_tiles: int,
    replayed: bool,
) -> int:
    segments, k_tiles, engines = loads.shape
    free = [0] * engines
    drain = [0] * (engines // group)
    port = [0] * (engines // group)
    done, arrival = [], 0
    for segment in range(segments):
        for play in range(m_tiles):
            for tile in range(k_tiles):
                room = done[-tiles] if len(done) >= tiles else 0
                arrival = max(arrival, room) + int(beats[tile]) + 1
                for g in range(engines // group):
                    mine = range(g * group, (g + 1) * group)
                    port[g] += int(words[segment, tile, g]) * (play == 0 or not replayed)
                    begin = max(arrival, min(free[e] for e in mine), drain[g])
                    drain[g] = begin + drain_cycles * sum(
                        int(closes[segment, tile, e]) for e in mine
                    )
                    for e in mine:
                        worked = max(free[e], arrival) + int(loads[segment, tile, e])
                        free[e] = max(worked, drain[g], port[g])
                done.append(max(free))
    return max(done)


@pytest.mark.parametrize("replayed", [True, False])
def test_makespan_is_the_recursion(replayed: bool, rng: np.random.Generator):
    for _ in range(40):
        segments, k_tiles, groups, group = (int(n) for n in rng.integers(1, 5, 4))
        loads = rng.integers(0, 100, (segments, k_tiles, groups * group))
        closes = rng.integers(1, 9, loads.shape)
        words = rng.integers(0, 60, (segments, k_tiles, groups))
        beats = rng.integers(1, 60, k_tiles)
        numbers = {
            "group": group,
            "tiles": int(rng.choice([2, 4])),
            "drain_cycles": int(rng.integers(1, 5)),
            "m_tiles": int(rng.integers(1, 17)),
            "replayed": replayed,
        }
        data = (loads, closes, words, beats)
        assert makespan(*data, **numbers) == makespan_naive(*data, **numbers)
        numbers["m_tiles"] = 100
        if segments == 1:
            exact = makespan_naive(*data, **numbers)
            assert abs(makespan(*data, **numbers) - exact) <= 0.02 * exact


def test_makespan_by_hand():
    # Two tiles of 10 beats; the engine works 5 and 7 cycles behind the second one's arrival.
    data = ([[[5], [7]]], [[[1], [1]]], [[[1], [1]]], [10, 10])
    loads, closes, words, beats = (np.array(part, np.int64) for part in data)
    numbers = {"group": 1, "tiles": 2, "drain_cycles": 1, "m_tiles": 1, "replayed": True}
    assert makespan(loads, closes, words, beats, **numbers) == 22 + 7
    # A drain of 9 cycles, then a weight port of 40, is what binds.
    assert makespan(loads, closes, words, beats, **{**numbers, "drain_cycles": 9}) == 22 + 9
    assert makespan(loads, closes, words * 40, beats, **numbers) == 80
