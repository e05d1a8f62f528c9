"""Computes a performance table with the cycle model, where none was measured on the RTL.

The cycle model gives the cycles that the RTL takes, so the figures are those that a measurement
would give; the table still says that it was ``computed``.  Only one group of engines is run, since
groups share nothing but the activation tiles.  Each point of the table compares two runs of the
same blocks that differ only in their tiles of tokens, so that loading and start-up cancel.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from ..cycles.count import count_cycles
from ..formats import KERNELS, STORED, Kernel, preferred
from ..selector.points import BINS, DENSITIES, Point
from ..selector.table import PerformanceTable
from ..shape import ArrayShape
from .product import plan_without_search

__all__ = ["computed_table", "table_shapes"]

_TILES = (2, 4)  # tiles of tokens in the two runs that are compared
_SEED = 43
_STEPS = 1 << (BINS - 2)  # the number of elements of a block must be a multiple of this


def table_shapes(shape: ArrayShape) -> tuple[tuple[int, int], ...]:
    """List shapes of blocks, (depth, columns), like those that plans make.

    Whole and short tiles stand there with few and many columns.  Every shape has a multiple of 64
    elements, so that each step of density is a whole number of non-zeros.
    """
    depths = {shape.k_tile, max(16, min(64, shape.k_tile // 8))}
    columns = {4, min(16, shape.columns)}
    return tuple((d, c) for d in sorted(depths) for c in sorted(columns) if d * c % _STEPS == 0)


def _measure(kernel: Kernel, weights: np.ndarray, shape: ArrayShape) -> tuple[int, int, int]:
    """Return the cycles and events that more tiles of tokens add, and the stored bytes."""
    bounds = np.array([0, len(weights)])
    plan = plan_without_search(shape, [kernel], weights, bounds, max(_TILES) * shape.lanes)
    few, many = (count_cycles(replace(plan, rows=tiles * shape.lanes)) for tiles in _TILES)
    return many.cycles - few.cycles, many.events - few.events, plan.weight_bytes


def computed_table(
    shape: ArrayShape,
    config_hash: str,
    shapes: Sequence[tuple[int, int]] | None = None,
    seed: int = _SEED,
    kernels: Sequence[str] = STORED,
) -> PerformanceTable:
    """Compute the table of an array's kernels with the cycle model.

    Args:
        shape: the array.
        config_hash: hash of its configuration, 64 hexadecimal digits.
        shapes: depth and columns of an engine's blocks, by default those of `table_shapes`.
        seed: seed of the random masks.
        kernels: names of kernels; those that the array has are run.
    """
    chosen = table_shapes(shape) if shapes is None else tuple(shapes)
    points = []
    for depth, columns in chosen:
        # The rings hold the whole block; their depth does not matter while they replay it.
        words = 1 << (depth * columns // 8 + 64).bit_length()
        array = replace(
            shape,
            engines=shape.group,
            columns=max(columns, shape.columns),
            index_words=max(shape.index_words, words),
            value_words=max(shape.value_words, words),
        )
        for kernel in preferred(tuple(name for name in kernels if name in shape.kernels)):
            format_ = KERNELS[kernel].configured(shape)
            for step in range(BINS):
                rng = np.random.default_rng((seed, depth, columns, step))
                count = int(DENSITIES[step] * depth * columns)
                parts = [format_.sample(rng, depth, columns, count) for _ in range(array.engines)]
                found = [part for part in parts if part is not None]
                cycles = events = stored = blocks = 0
                if len(found) == len(parts):
                    blocks = _TILES[1] - _TILES[0]
                    cycles, events, stored = _measure(format_, np.concatenate(found, axis=1), array)
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
