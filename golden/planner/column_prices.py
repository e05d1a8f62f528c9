"""Cycles and stored bytes of single columns, kernel by kernel: what like columns are told by.

A block's price is nearly the sum of its columns' prices: only the header and the padding of the
last word belong to the block.  So columns that are cheapest in the same kernels can be brought
together before any block exists (`golden.planner.grouping`).

A *variant* is a way to hold a block: one kernel for all of it, or the ``block`` kernel for the
runs of rows that are full and an event kernel for the rest
(`golden.planner.block_selector.variants`).
"""

from collections.abc import Sequence

import numpy as np

from ..formats import CHUNK, KERNELS, Kernel
from ..formats.block_runs import BlockRuns
from ..formats.nm import StructuredNM
from ..formats.runlength import RunLength
from ..shape import ArrayShape
from .choose import ORDER
from .decompose import dense_core

__all__ = ["FORBIDDEN", "Variant", "column_bytes", "column_prices", "variants_of"]

Variant = tuple[str, ...]
"""Kernel of each part."""

FORBIDDEN = float(1 << 24)
"""Cycles of a column in a kernel that cannot hold it: above any real price."""

_REST = ("bitmap", "runlength")  # hold any rest at a cycle per non-zero
_SAMPLE = 64  # columns whose index words, where all columns have as many, are counted


def variants_of(shape: ArrayShape) -> list[Variant]:
    """Ways to hold a block: the kernels of an array, then the pairs."""
    names = [name for name in ORDER if name in shape.kernels]
    found: list[Variant] = [(name,) for name in names]
    if "block" in names and shape.block_rows > 1:
        found += [("block", rest) for rest in _REST if rest in names]
    return found


def column_bytes(kernel: Kernel, tile: np.ndarray) -> np.ndarray:
    """Stored bytes of each column of an int8 tile, float64 (columns,).

    Columns run on from one to the next, so index words count by their used share.
    """
    depth, columns = tile.shape
    occupied = tile != 0
    if isinstance(kernel, RunLength):
        column, row = np.nonzero(occupied.T)
        gap = np.diff(row, prepend=-1) - 1
        begins = np.diff(column, prepend=-1) != 0
        gap[begins] = row[begins]
        # Each non-zero with its pads, and the END of the column.
        entries = 1 + np.bincount(column, weights=gap // kernel.pad + 1, minlength=columns)
        return occupied.sum(axis=0) + entries * 8.0 / (64 // kernel.bits)
    index, stored = kernel.encode(np.zeros((depth, _SAMPLE), np.int8))
    words = 8.0 * len(index) / _SAMPLE
    if isinstance(kernel, BlockRuns):
        values = _run_rows(occupied, kernel.rows)
    elif len(stored):
        # Zeros take bytes too, so the number of non-zeros does not matter.
        values = np.full(columns, len(stored) / _SAMPLE)
    else:
        values = occupied.sum(axis=0)
    return values + words


def _run_rows(occupied: np.ndarray, rows: int) -> np.ndarray:
    """Rows of each column in runs that hold a non-zero."""
    sums = np.add.reduceat(occupied, np.arange(0, len(occupied), rows), axis=0, dtype=np.int64)
    lacking = -len(occupied) % rows
    return (sums > 0).sum(axis=0) * rows - lacking * (sums[-1] > 0)


def _cycles(kernel: Kernel, tile: np.ndarray, floor: int) -> np.ndarray:
    """Cycles of each column: event slots, decoder's steps, and what the drain allows."""
    occupied = tile != 0
    if isinstance(kernel, StructuredNM):
        sums = np.add.reduceat(occupied, np.arange(0, len(tile), kernel.m), axis=0, dtype=np.int64)
        refused = sums.max(axis=0) > kernel.n
    else:
        refused = np.zeros(tile.shape[1], bool)
    slots = np.maximum(kernel.column_cycles(occupied), floor)
    if isinstance(kernel, BlockRuns):
        # The decoder takes a cycle for every chunk, occupied or not.
        slots = np.maximum(slots, -(-len(tile) // CHUNK))
    return np.where(refused, FORBIDDEN, slots)


def column_prices(
    shape: ArrayShape, variants: Sequence[Variant], tile: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles and bytes of each column of a tile in each variant.

    Args:
        shape: the array.
        variants: as from `variants_of`.
        tile: int8 (depth, columns).

    Returns:
        Two float64 (variants, columns).  Cycles are at least what a shared drain takes between
        two columns of an engine; `FORBIDDEN` where a kernel cannot hold the column.
    """
    floor = shape.group * shape.drain_cycles
    cycles = np.zeros((len(variants), tile.shape[1]))
    stored = np.zeros_like(cycles)
    core = dense_core(tile, shape.block_rows, 1.0)
    inner, outer = (np.where(mask, tile, 0).astype(np.int8) for mask in (core, ~core))
    for place, variant in enumerate(variants):
        shares = [tile] if len(variant) == 1 else [inner, outer]
        for name, share in zip(variant, shares, strict=True):
            kernel = KERNELS[name].configured(shape)
            cycles[place] += _cycles(kernel, share, floor)
            stored[place] += column_bytes(kernel, share)
    return cycles, stored
