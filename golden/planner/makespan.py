"""Predicts the cycles of a distribution of columns, by which layouts are ranked."""

import numba
import numpy as np

__all__ = ["makespan"]

_PLAYS = 16  # tiles of tokens that `makespan` walks through; further tiles repeat the last one


@numba.njit(cache=True)
def _makespan(
    loads: np.ndarray,
    closes: np.ndarray,
    words: np.ndarray,
    beats: np.ndarray,
    group: int,
    tiles: int,
    drain_cycles: int,
    plays: int,
    replayed: bool,
) -> int:
    segments, k_tiles, engines = loads.shape
    groups = engines // group
    free = np.zeros(engines, np.int64)
    drain = np.zeros(groups, np.int64)
    port = np.zeros(groups, np.int64)
    done = np.zeros(tiles, np.int64)
    arrival = 0
    at = 0
    for segment in range(segments):
        for play in range(plays):
            for tile in range(k_tiles):
                arrival = max(arrival, done[at % tiles]) + beats[tile] + 1
                slowest = 0
                for g in range(groups):
                    if play == 0 or not replayed:
                        port[g] += words[segment, tile, g]
                    begin = free[g * group]
                    count = 0
                    for e in range(g * group, g * group + group):
                        begin = min(begin, free[e])
                        count += closes[segment, tile, e]
                    drain[g] = max(drain[g], max(begin, arrival)) + count * drain_cycles
                    for e in range(g * group, g * group + group):
                        ready = max(free[e], arrival) + loads[segment, tile, e]
                        free[e] = max(ready, max(drain[g], port[g]))
                        slowest = max(slowest, free[e])
                done[at % tiles] = slowest
                at += 1
    return done.max()


def makespan(
    loads: np.ndarray,
    closes: np.ndarray,
    words: np.ndarray,
    beats: np.ndarray,
    *,
    group: int,
    tiles: int,
    drain_cycles: int,
    m_tiles: int,
    replayed: bool,
) -> int:
    """Predict the cycles of a distribution in a small part of the cycle model's time.

    Engines slip against each other by up to ``tiles`` activation tiles.  A tile arrives when its
    buffer is free and its beats are sent.  A group is no faster than its drain and its weight
    port.  Latencies are left out, so the figure ranks distributions and does not replace the cycle
    model.

    Args:
        loads: int64 (segments, k tiles, engines), decoder cycles of each block.
        closes: int64 (segments, k tiles, engines), columns that each block closes.
        words: int64 (segments, k tiles, groups), beats of weights.
        beats: int64 (k tiles,), beats of each activation tile.
        group: engines that share a drain and a weight port.
        tiles: number of activation tile buffers.
        drain_cycles: cycles to drain one column.
        m_tiles: tiles of tokens.
        replayed: whether weights are sent once for a segment; if not, for each tile of tokens.
    """
    walked = min(m_tiles, _PLAYS)
    args = (loads, closes, words, beats, group, tiles, drain_cycles)
    cycles = int(_makespan(*args, walked, replayed))
    if walked < m_tiles:
        # A second walk over half as many tiles separates the steady rate from the start.
        rate = (cycles - int(_makespan(*args, _PLAYS // 2, replayed))) / (_PLAYS - _PLAYS // 2)
        cycles += round(rate * (m_tiles - walked))
    return cycles
