"""Where the weights go: segments, engines, kernels; the search behind
`golden.program.plan.plan_matmul`.

As many columns as the rings hold compressed make a segment.  Within it, longest processing time
gives a start and simulated annealing improves it; whichever is predicted to take fewer cycles
with the kernels that its blocks really get is taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import BadInput
from ..formats import Kernel
from ..program.streams import EngineStream, encode_stream
from ..shape import ArrayShape, is_power_of_two
from .anneal import anneal_columns
from .balance import assign_columns, cut_rows, makespan
from .choose import Split, column_costs
from .grouping import Grouping

__all__ = ["BALANCES", "Layout", "arrange", "parts_to_try", "predict", "ring_use", "tilings"]

BALANCES = ("lpt", "anneal")
"""Ways to distribute columns over engines."""

_PARTS = (1, 2, 4, 8, 16)  # numbers of k parts that ``auto`` tries
_MANY_COLUMNS = 16  # columns or parts per engine from which more parts are not tried
_LEAD = 64  # rows that a short first tile is a multiple of


@dataclass(frozen=True)
class Layout:
    """Streams of all engines.

    Attributes:
        streams: per engine.
        segments: columns' turns in the rings.
        replay: weights stay in the rings for all tiles of tokens of a job.
        k_split: parts that each column's rows were cut into.
        predicted: cycles of the whole product that `golden.planner.balance.makespan` predicts.
        predicted_start: the same before annealing.
    """

    streams: list[EngineStream] = field(repr=False)
    segments: int
    replay: bool
    k_split: int
    predicted: int = 0
    predicted_start: int = 0


@dataclass(frozen=True)
class _Items:
    """What is distributed: columns, or k parts of columns.

    Attributes:
        weights: int8 (K, N).
        column, part: int64 (items,); a column's parts without any non-zero are left out.
        part_of: int16 (K, N), the part that each row of each column belongs to, None for one.
        costs: int64 (k tiles, items), decoder cycles.
    """

    weights: np.ndarray
    column: np.ndarray
    part: np.ndarray
    part_of: np.ndarray | None
    costs: np.ndarray

    def share(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Int8 (K, items) and the output column of each; one dummy where there is no item."""
        if not len(items):
            return np.zeros((len(self.weights), 1), np.int8), np.array([-1])
        columns = self.column[items]
        block = self.weights[:, columns]
        if self.part_of is not None:
            block = np.where(self.part_of[:, columns] == self.part[items], block, 0)
        return block.astype(np.int8), columns


def _whole(kernels: Sequence[Kernel], weights: np.ndarray, bounds: np.ndarray) -> _Items:
    outputs = weights.shape[1]
    costs = column_costs(kernels, weights, bounds)
    return _Items(weights, np.arange(outputs), np.zeros(outputs, np.int64), None, costs)


def _cut(kernels: Sequence[Kernel], weights: np.ndarray, bounds: np.ndarray, parts: int) -> _Items:
    """Cut each column into ``parts``, in the way that costs fewer cycles."""
    best, least = None, 0
    for how in ("rank", "range"):
        part_of = cut_rows(weights, bounds, parts, how)
        column, part, costs = [], [], []
        for number in range(parts):
            share = np.where(part_of == number, weights, 0).astype(np.int8)
            held = share.any(axis=0)
            if number == 0:
                held |= ~weights.any(axis=0)
            if not held.any():
                continue
            column.append(np.flatnonzero(held))
            part.append(np.full(len(column[-1]), number))
            costs.append(column_costs(kernels, share[:, held], bounds))
        items = _Items(
            weights,
            np.concatenate(column),
            np.concatenate(part),
            part_of,
            np.concatenate(costs, axis=1),
        )
        total = int(items.costs.sum())
        if best is None or total < least:
            best, least = items, total
    assert best is not None
    return best


def _encode(
    shape: ArrayShape,
    kernels: Sequence[Kernel],
    items: _Items,
    bounds: np.ndarray,
    assignment: list[list[np.ndarray]],
    split: Split | None,
) -> list[EngineStream]:
    streams = []
    for engine in range(shape.engines):
        shares = [items.share(segment[engine]) for segment in assignment]
        # With one column to an engine nothing is left to shrink: then a kernel must fit the ring.
        single = all(len(columns) == 1 for _, columns in shares)
        streams.append(
            encode_stream(
                kernels,
                [block for block, _ in shares],
                [columns for _, columns in shares],
                bounds,
                split=split,
                room=shape.index_words - 3 * shape.words_per_beat - 1 if single else None,
            )
        )
    return streams


def predict(
    shape: ArrayShape,
    streams: Sequence[EngineStream],
    bounds: np.ndarray,
    segments: int,
    m_tiles: int,
    replay: bool,
) -> int:
    """Cycles of a product that `golden.planner.balance.makespan` foretells for its streams."""
    k_tiles = len(bounds) - 1
    loads = np.zeros((shape.engines, segments * k_tiles), np.int64)
    closes = np.zeros_like(loads)
    words = np.zeros_like(loads)
    for engine, stream in enumerate(streams):
        np.add.at(loads[engine], stream.tiles, stream.cycles)
        np.add.at(closes[engine], stream.tiles, [header.columns for header in stream.headers])
        sizes = np.diff(stream.index_cuts, prepend=0) + np.diff(stream.values_cuts, prepend=0)
        np.add.at(words[engine], stream.tiles, sizes)
    port = words.reshape(shape.groups, shape.group, -1).sum(axis=1)
    beats = -(-np.diff(bounds) // shape.rows_per_beat) * shape.beats_per_row

    def by_tile(counts: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(counts.T.reshape(segments, k_tiles, -1))

    return makespan(
        by_tile(loads),
        by_tile(closes),
        by_tile(-(-port // shape.words_per_beat)),
        beats.astype(np.int64),
        group=shape.group,
        tiles=shape.activation_tiles,
        drain_cycles=shape.drain_cycles,
        m_tiles=m_tiles,
        replayed=replay,
    )


def ring_use(
    shape: ArrayShape, streams: Sequence[EngineStream], segments: int, streamed: bool
) -> float:
    """Share of its rings that the fullest engine needs; above 1 the streams do not fit.

    Args:
        shape: the array.
        streams: per engine.
        segments: that the rings hold at a time.
        streamed: weights pass through the rings, which then need not hold them.
    """
    beat = shape.words_per_beat
    index_room = shape.index_words - 3 * beat
    values_room = shape.value_words - 3 * beat
    sizes = np.array([s.largest for s in streams]).max(axis=0) * segments
    if streamed:
        return float(sizes[1] / index_room)
    return float(max(sizes[0] / index_room, sizes[1] / index_room, sizes[2] / values_room))


def arrange(
    shape: ArrayShape,
    kernels: Sequence[Kernel],
    weights: np.ndarray,
    bounds: np.ndarray,
    m_tiles: int,
    *,
    k_split: int = 1,
    balance: str = "anneal",
    seed: int = 0,
    split: Split | None = None,
    grouping: Grouping | None = None,
) -> Layout:
    """Distribute and encode the weights.

    Args:
        shape: the array.
        kernels: candidates for each block.
        weights: int8 (K, N).
        bounds: int64 (k tiles + 1,), first row of each k tile, then K.
        m_tiles: tiles of tokens of the product.
        k_split: parts of each column.
        balance: a name of `BALANCES`.
        seed: of the annealing.
        split: divides each block into parts.
        grouping: distributes the columns instead of ``balance``; for one k part.

    Raises:
        BadInput: the rings cannot hold the weights, or no kernel can.
    """
    if k_split == 1:
        items = _whole(kernels, weights, bounds)
    else:
        items = _cut(kernels, weights, bounds, k_split)
    count = len(items.column)
    most = min(shape.columns, -(-count // shape.engines))
    # One tile of tokens needs no replay, so the weights may stream through the rings.
    for streamed in (False, True) if m_tiles > 1 else (True,):
        columns = most
        while columns >= 1:
            segments = -(-count // (shape.engines * columns))
            # With several segments the rings hold two, so that one loads while one plays.
            share = 2 if segments > 1 and not streamed and columns > 1 else 1
            if grouping is None:
                start = assign_columns(items.costs.sum(axis=0), shape.engines, segments)
            else:
                start = grouping.assign(weights, bounds, segments, seed)
            streams = _encode(shape, kernels, items, bounds, start, split)
            over = ring_use(shape, streams, share, streamed)
            if over <= 1:
                args = (bounds, segments, m_tiles, not streamed)
                predicted = predict(shape, streams, *args)
                layout = Layout(streams, segments, not streamed, k_split, predicted, predicted)
                if balance == "lpt" or grouping is not None:
                    return layout
                better = anneal_columns(items.costs, start, seed)
                streams = _encode(shape, kernels, items, bounds, better, split)
                annealed = predict(shape, streams, *args)
                if ring_use(shape, streams, share, streamed) > 1 or annealed >= predicted:
                    return layout
                return replace(layout, streams=streams, predicted=annealed)
            if columns == 1:
                break
            columns = max(1, min(columns - 1, int(columns / over)))
    raise BadInput(
        f"array shape: index_words: must hold one block of {shape.k_tile} rows, "
        f"got {shape.index_words}"
    )


def tilings(shape: ArrayShape, depth: int) -> list[np.ndarray]:
    """Bounds of the k tiles: whole ones first, or a short one first.

    The engines idle while the first tile of a job loads.  A short one ends that early, and the
    next loads while it is worked on.  It is a whole number of index words, so that runs of rows
    stay where they are, and costs one more close of each column where K has no remainder.
    """
    tile = shape.k_tile
    standard = np.append(np.arange(0, depth, tile), depth)
    lead = depth % tile // _LEAD * _LEAD or max(_LEAD, tile // 8)
    if lead >= min(tile, depth):
        return [standard]
    return [standard, np.concatenate([[0], np.arange(lead, depth, tile), [depth]])]


def parts_to_try(shape: ArrayShape, outputs: int, k_split: int | str) -> list[int]:
    """Numbers of k parts that ``k_split`` allows for a matrix of ``outputs`` columns.

    Raises:
        BadInput: neither ``auto`` nor a power of two that divides the engines.
    """
    if k_split == "auto":
        return [
            parts
            for parts in _PARTS
            if parts == 1
            or (shape.engines % parts == 0 and outputs * parts < _MANY_COLUMNS * shape.engines)
        ]
    if (
        isinstance(k_split, bool)
        or not isinstance(k_split, int)
        or not is_power_of_two(k_split)
        or shape.engines % k_split
    ):
        raise BadInput(
            f"k_split: must be auto or a power of two that divides engines ({shape.engines}), "
            f"got {k_split!r}"
        )
    return [k_split]
