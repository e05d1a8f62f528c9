"""Deals output columns to engines, and cuts columns into k parts where there are too few.

Columns are dealt out by longest processing time first.  Where there are too few columns to keep the
engines busy, each is divided into k parts for several engines.  A part holds some of the column's
rows *in every k tile*: every engine receives every activation tile, and an engine without work for
a tile waits for the others.
"""

import heapq
from itertools import pairwise

import numpy as np

from ..formats import CHUNK

__all__ = ["assign_columns", "cut_rows"]


def assign_columns(costs: np.ndarray, engines: int, segments: int) -> list[list[np.ndarray]]:
    """Distribute columns (or k parts of columns) over segments and engines.

    A segment is what the array holds at once.  Within a segment the engines run side by side, so
    their loads should be equal.  In order of their cost, columns are dealt to the segments, back
    and forth, as many at a time as there are engines.  Within a segment, the heaviest column first,
    each goes to the engine with the least load that still has a place (Graham 1969).

    Args:
        costs: int64 (N,), decoder cycles per column.
        engines: engines of the array.
        segments: number of segments.

    Returns:
        Column numbers as ``[segment][engine]``, int64, possibly empty; every column stands there
        once.  Between engines of equal load the lower number is taken.
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


def cut_rows(weights: np.ndarray, bounds: np.ndarray, parts: int, how: str) -> np.ndarray:
    """Say for each row of each column to which of the column's k parts it belongs.

    Args:
        weights: int8 (K, N).
        bounds: int64 (k tiles + 1,), first row of each k tile, then K.
        parts: number of k parts.
        how: with ``rank`` the non-zeros of a column in a tile are dealt out in turn, so that the
            parts differ by one event at most and end near the end of the tile, which saves close
            tokens; with ``range`` each part is one range of whole 16-row chunks of the tile, which
            keeps runs of rows together for formats that store runs.

    Returns:
        int16 (K, N), number of the part of each row; for a zero the number means nothing.
    """
    part = np.empty(weights.shape, np.int16)
    for tile, (low, high) in enumerate(pairwise(bounds)):
        if how == "rank":
            rank = np.cumsum(weights[low:high] != 0, axis=0) - 1
            # The part that takes the odd event changes from tile to tile.
            part[low:high] = (rank + tile) % parts
        else:
            chunks = -(-int(high - low) // CHUNK)
            place = np.arange(high - low) // CHUNK * parts // chunks
            part[low:high] = place[:, None]
    return part
