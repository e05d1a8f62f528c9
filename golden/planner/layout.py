"""Decides where the weights go: to which segment and engine, and in which kernels.

A segment is as many columns as the rings hold compressed.  Within a segment, columns are first
dealt out by longest processing time, which simulated annealing then improves.  Both distributions
get their kernels, and the one that is predicted to take fewer cycles is kept.  All of this is
decided on the figures of the columns (`golden.planner.tile`); nothing is encoded here.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import BadInput
from ..formats import WORD_BITS
from ..shape import ArrayShape, is_power_of_two
from .choose import Chooser, PartChoice
from .makespan import makespan
from .operand import Items

__all__ = [
    "Distribution",
    "Layout",
    "arrange",
    "decide",
    "overflow",
    "parts_to_try",
    "predict",
]

_PARTS = (1, 2, 4, 8, 16)  # numbers of k parts that ``k_split: auto`` tries
_MANY_COLUMNS = 16  # columns or parts per engine from which more parts are not tried
_BYTES = WORD_BITS // 8

Distribution = Callable[[int], Iterator[list[list[np.ndarray]]]]
"""Ways to deal the items out for a number of segments, ``[segment][engine]`` each: the start and,
where there is one, what is meant to be better."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The blocks of all engines with their kernels, before they are encoded.

    Attributes:
        items: the columns, or k parts of columns, that were distributed.
        columns: ``[engine][segment]``, numbers of its items, at least one (the dummy).
        parts: ``[engine][segment][k tile]``, the parts of its block.
        segments: number of segments, which take turns in the rings.
        replay: whether the weights stay in the rings for all tiles of tokens of a job.
        predicted: cycles of the whole product, as `golden.planner.makespan` predicts them.
        predicted_start: the same for the distribution that the search started from.
    """

    items: Items = field(repr=False)
    columns: list[list[np.ndarray]] = field(repr=False)
    parts: list[list[list[list[PartChoice]]]] = field(repr=False)
    segments: int
    replay: bool
    predicted: int = 0
    predicted_start: int = 0


def decide(
    shape: ArrayShape, chooser: Chooser, items: Items, dealt: list[list[np.ndarray]], replay: bool
) -> Layout:
    """Choose the kernels of every block of a distribution."""
    segments = len(dealt)
    blocks = [
        columns if len(columns) else np.array([items.count])
        for engine in range(shape.engines)
        for columns in (dealt[segment][engine] for segment in range(segments))
    ]
    # A block of one column cannot get smaller, so its kernel must be one that fits the ring.
    single = all(len(columns) == 1 for columns in blocks)
    room = shape.index_words - 3 * shape.words_per_beat - 1 if single else None
    tiles = [chooser.choose(n, tile, blocks, room) for n, tile in enumerate(items.tiles)]
    places = [range(e * segments, (e + 1) * segments) for e in range(shape.engines)]
    return Layout(
        items,
        [[blocks[place] for place in mine] for mine in places],
        [[[tile[place] for tile in tiles] for place in mine] for mine in places],
        segments,
        replay,
    )


def _sizes(layout: Layout) -> tuple[np.ndarray, np.ndarray, int]:
    """Sizes of all blocks: index words and value bytes, int64 (engines, segments, k tiles) each,
    and the most index words of any part.
    """
    index, values, most = [], [], 0
    for engine in layout.parts:
        for segment in engine:
            for block in segment:
                index.append(sum(part.index_words for part in block))
                values.append(sum(part.value_bytes for part in block))
                most = max(most, *(part.index_words for part in block))
    form = len(layout.parts), layout.segments, -1
    return np.array(index).reshape(form), np.array(values).reshape(form), most


def overflow(shape: ArrayShape, layout: Layout) -> float:
    """How much of the rings the layout fills: above 1 it does not fit."""
    index, values, most = _sizes(layout)
    index_room = shape.index_words - 3 * shape.words_per_beat
    values_room = shape.value_words - 3 * shape.words_per_beat
    widest = max(len(columns) for engine in layout.columns for columns in engine)
    # With several segments the rings hold two, so that one loads while one plays.
    share = 2 if layout.segments > 1 and layout.replay and widest > 1 else 1
    part = most * share / index_room
    if not layout.replay:
        return part
    words = -(-values.sum(axis=2) // _BYTES)
    segment = int(index.sum(axis=2).max()) * share / index_room
    return max(part, segment, int(words.max()) * share / values_room)


def predict(shape: ArrayShape, layout: Layout, m_tiles: int) -> int:
    """Predict the cycles of a layout with `makespan`."""
    index, values, _ = _sizes(layout)
    words = index + -(-values // _BYTES)
    blocks = [block for engine in layout.parts for segment in engine for block in segment]
    loads = np.array([sum(part.cycles for part in block) for block in blocks])
    closes = np.array([len(block) * len(block[0].columns) for block in blocks])
    port = words.reshape(shape.groups, shape.group, *words.shape[1:]).sum(axis=1)
    beats = -(-np.diff(layout.items.bounds) // shape.rows_per_beat) * shape.beats_per_row

    def by_tile(counts: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(counts, 0, -1))

    return makespan(
        by_tile(loads.reshape(words.shape)),
        by_tile(closes.reshape(words.shape)),
        by_tile(-(-port // shape.words_per_beat)),
        beats.astype(np.int64),
        group=shape.group,
        tiles=shape.activation_tiles,
        drain_cycles=shape.drain_cycles,
        m_tiles=m_tiles,
        replayed=layout.replay,
    )


def arrange(
    shape: ArrayShape, chooser: Chooser, items: Items, m_tiles: int, deal: Distribution
) -> Layout:
    """Distribute the items in as few segments as the rings allow, and choose their kernels.

    Args:
        shape: the array.
        chooser: decides on kernels.
        items: columns, or k parts of columns.
        m_tiles: tiles of tokens of the product.
        deal: returns distributions of the items for a number of segments.

    Raises:
        BadInput: the rings cannot hold the weights, or no kernel can.
    """
    most = min(shape.columns, -(-items.count // shape.engines))
    # One tile of tokens needs no replay, so the weights may stream through the rings.
    for replay in (True, False) if m_tiles > 1 else (False,):
        columns, refused = most, 0
        while columns >= 1:
            segments = -(-items.count // (shape.engines * columns))
            # Fewer columns at once that need as many segments would be dealt out in the same way.
            if segments == refused and columns > 1:
                columns -= 1
                continue
            refused = segments
            ways = deal(segments)
            layout = decide(shape, chooser, items, next(ways), replay)
            over = overflow(shape, layout)
            if over <= 1:
                return _better(shape, chooser, layout, ways, m_tiles)
            if columns == 1:
                break
            columns = max(1, min(columns - 1, int(columns / over)))
    raise BadInput(
        f"array shape: index_words: must hold one block of {shape.k_tile} rows, "
        f"got {shape.index_words}"
    )


def _better(
    shape: ArrayShape,
    chooser: Chooser,
    start: Layout,
    ways: Iterable[list[list[np.ndarray]]],
    m_tiles: int,
) -> Layout:
    """Return the layout of fewest predicted cycles among the start and the others that fit."""
    first = least = predict(shape, start, m_tiles)
    best = start
    for dealt in ways:
        layout = decide(shape, chooser, start.items, dealt, start.replay)
        predicted = predict(shape, layout, m_tiles)
        if predicted < least and overflow(shape, layout) <= 1:
            best, least = layout, predicted
    return Layout(best.items, best.columns, best.parts, best.segments, best.replay, least, first)


def parts_to_try(shape: ArrayShape, outputs: int, k_split: int | str) -> list[int]:
    """List the numbers of k parts that ``k_split`` allows for a matrix of ``outputs`` columns.

    Raises:
        BadInput: ``k_split`` is neither ``auto`` nor a power of two that divides the engines.
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
