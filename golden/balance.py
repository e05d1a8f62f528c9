"""Which engine computes which output column: longest processing time first."""

import heapq

import numpy as np

__all__ = ["assign_columns"]


def assign_columns(costs: np.ndarray, engines: int, segments: int) -> list[list[np.ndarray]]:
    """Distribute columns over segments and engines.

    A segment is what the array holds at once; within one, engines run side by side, so their
    loads should be equal.  Columns go to segments in snake order of their cost, then to the
    engine with the least load that still has a place (Graham 1969), heaviest first.

    Args:
        costs: int64 (N,), decoder cycles per column.
        engines: engines of the array.
        segments: number of segments.

    Returns:
        ``[segment][engine]`` -> column numbers, int64, possibly empty; every column once.
        Deterministic: equal loads go to the lower engine number.
    """
    order = np.argsort(-costs, kind="stable")
    rank = np.arange(len(order))
    turn, place = divmod(rank // engines, segments)
    snake = np.where(turn % 2 == 0, place, segments - 1 - place)
    assignment = []
    for segment in range(segments):
        columns = order[snake == segment]
        capacity = -(-len(columns) // engines)
        heap = [(0, engine, 0) for engine in range(engines)]
        chosen: list[list[int]] = [[] for _ in range(engines)]
        for column in columns:
            load, engine, count = heapq.heappop(heap)
            chosen[engine].append(int(column))
            if count + 1 < capacity:
                heapq.heappush(heap, (load + int(costs[column]), engine, count + 1))
        assignment.append([np.array(sorted(c), np.int64) for c in chosen])
    return assignment
