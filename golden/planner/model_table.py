"""Performance table of a configuration from the cycle model, where none was measured on the RTL.

The cycle model gives the cycles that the RTL takes, so the figures are those that a measurement
would give; the table says ``computed`` all the same.  Measured is one group of engines, since
groups share nothing but the activation tiles.  Every point compares two runs of the same blocks
that differ in their tiles of tokens alone, so that loading and start-up cancel.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from ..cycles.count import count_cycles
from ..formats import KERNELS
from ..program.plan import Plan
from ..selector.table import BINS, CLUSTERED, DENSITIES, PerformanceTable, Point
from ..shape import ArrayShape
from .choose import ORDER
from .layout import arrange

__all__ = ["computed_table", "table_shapes"]

_TILES = (2, 4)  # tiles of tokens of the two runs that are compared
_SEED = 43
_STEPS = 1 << (BINS - 2)  # the elements of a block must be a multiple of it


def table_shapes(shape: ArrayShape) -> tuple[tuple[int, int], ...]:
    """Depth and columns of the blocks that a plan makes: whole and short tiles, few and many.

    Every one has a multiple of 64 elements, so that each density step is a whole count.
    """
    depths = {shape.k_tile, max(16, min(64, shape.k_tile // 8))}
    columns = {4, min(16, shape.columns)}
    return tuple((d, c) for d in sorted(depths) for c in sorted(columns) if d * c % _STEPS == 0)


def _block(
    kernel: str, depth: int, columns: int, count: int, shape: ArrayShape, rng: np.random.Generator
) -> np.ndarray | None:
    """Random int8 block of ``count`` non-zeros in the structure of a kernel, None if impossible."""
    size = depth * columns
    places = rng.permutation(size)
    if kernel == "nm":
        # Within every run of M rows the N of least rank are allowed.
        rank = rng.random((columns, -(-depth // shape.nm_m), shape.nm_m)).argsort(axis=-1)
        allowed = (rank < shape.nm_n).reshape(columns, -1)[:, :depth].reshape(-1)
        places = places[allowed[places]]
    elif kernel in CLUSTERED:
        run = np.arange(size) // depth * depth + np.arange(size) % depth // shape.block_rows
        places = np.argsort(places[run], kind="stable")
    if len(places) < count:
        return None
    flat = np.zeros(size, np.int8)
    flat[places[:count]] = rng.integers(1, 128, count)
    return flat.reshape(columns, depth).T.copy()


def _measure(kernel: str, weights: np.ndarray, shape: ArrayShape) -> tuple[int, int, int]:
    """Further cycles and events of further blocks, and the stored bytes."""
    depth, outputs = weights.shape
    bounds = np.array([0, depth])
    formats = [KERNELS[kernel].configured(shape)]
    layout = arrange(shape, formats, weights, bounds, max(_TILES), balance="lpt")
    runs = []
    for tiles in _TILES:
        plan = Plan(shape, tiles * shape.lanes, depth, outputs, np.arange(depth), bounds, layout)
        runs.append(count_cycles(plan))
    few, many = runs
    stored = 8 * sum(len(s.index) + len(s.values) for s in layout.streams)
    return many.cycles - few.cycles, many.events - few.events, stored


def computed_table(
    shape: ArrayShape,
    config_hash: str,
    shapes: Sequence[tuple[int, int]] | None = None,
    seed: int = _SEED,
    kernels: Sequence[str] = ORDER,
) -> PerformanceTable:
    """Table of an array's kernels from the cycle model.

    Args:
        shape: the array.
        config_hash: of its configuration, 64 hexadecimal digits.
        shapes: depth and columns of an engine's blocks, by default `table_shapes`.
        seed: of the masks.
        kernels: of which those that the array has are measured.
    """
    chosen = table_shapes(shape) if shapes is None else tuple(shapes)
    points = []
    for depth, columns in chosen:
        # Rings that hold the whole block: their depth does not matter while they replay.
        words = 1 << (depth * columns // 8 + 64).bit_length()
        array = replace(
            shape,
            engines=shape.group,
            columns=max(columns, shape.columns),
            index_words=max(shape.index_words, words),
            value_words=max(shape.value_words, words),
        )
        for kernel in [name for name in kernels if name in shape.kernels]:
            for step in range(BINS):
                rng = np.random.default_rng((seed, depth, columns, step))
                count = int(DENSITIES[step] * depth * columns)
                parts = [
                    _block(kernel, depth, columns, count, shape, rng) for _ in range(array.engines)
                ]
                found = [part for part in parts if part is not None]
                cycles = events = stored = blocks = 0
                if len(found) == len(parts):
                    blocks = _TILES[1] - _TILES[0]
                    cycles, events, stored = _measure(kernel, np.concatenate(found, axis=1), array)
                points.append(
                    Point(
                        kernel=cast(Any, kernel),
                        depth=depth,
                        columns=columns,
                        step=step,
                        feasible=blocks > 0,
                        blocks=blocks,
                        cycles=cycles,
                        events=events,
                        weight_bytes=stored,
                    )
                )
    return PerformanceTable(
        config_hash=config_hash,
        source="computed (cycle model)",
        tools={"numpy": np.__version__},
        seed=seed,
        lanes=shape.lanes,
        engines=shape.group,
        points=tuple(points),
    )
