"""What each column costs in each way to hold it: cycles and stored bytes.

A block's price is nearly the sum of its columns' prices: only the header and the padding of the
last word belong to the block as a whole.  Columns that are cheapest in the same kernels can
therefore be brought together before any block exists (`golden.planner.grouping`).

A *variant* is a way to hold a block: one kernel for all of it, or the ``block`` kernel for the
runs of rows that are full and another kernel for the rest
(`golden.planner.block_selector.shares_to_try`).
"""

from collections.abc import Sequence

import numpy as np

from ..formats import KERNELS, preferred
from ..formats.entries import entries_per_word
from ..shape import ArrayShape
from .tile import WHOLE, Share, Tile

__all__ = ["FORBIDDEN", "Variant", "column_prices", "variants_of"]

Variant = tuple[str, ...]
"""Names of the kernels that hold the parts of a block, one or two."""

FORBIDDEN = float(1 << 24)
"""Cycles that stand for a kernel that cannot hold a column; no real price is as high."""


def variants_of(shape: ArrayShape) -> list[Variant]:
    """List the variants of an array: its kernels, then the pairs of ``block`` and another one."""
    names = preferred(tuple(name for name in shape.kernels if not KERNELS[name].run_time))
    found: list[Variant] = [(name,) for name in names]
    if "block" in names and shape.block_rows > 1:
        # Kernels that store only non-zeros can hold any rest, at one cycle for each non-zero.
        rest = [name for name in names if not KERNELS[name].stores_zeros]
        found += [("block", name) for name in rest]
    return found


def column_prices(
    shape: ArrayShape, variants: Sequence[Variant], tile: Tile
) -> tuple[np.ndarray, np.ndarray]:
    """Return the cycles and the bytes of each column of a tile in each variant.

    Args:
        shape: the array.
        variants: the ways to hold a block, as from `variants_of`.
        tile: the k tile, with all its columns.

    Returns:
        Cycles and bytes, float64 (variants, columns) each.  Cycles are at least what a shared
        drain takes between two columns of an engine, and at least `FORBIDDEN` where a kernel
        cannot hold the column.  Columns share index words, so a column pays for the share of a
        word that its entries fill.
    """
    floor = shape.group * shape.drain_cycles
    columns = tile.block.shape[1]
    cycles, stored = np.zeros((2, len(variants), columns))
    full = Share(shape.block_rows, 1.0), Share(shape.block_rows, 1.0, rest=True)
    for place, variant in enumerate(variants):
        shares = (WHOLE,) if len(variant) == 1 else full
        for name, share in zip(variant, shares, strict=True):
            kernel = KERNELS[name].configured(shape)
            figures = tile.figures(kernel, share)
            taken = np.maximum(figures.cycles, floor)
            cycles[place] += np.where(figures.held, taken, FORBIDDEN)
            stored[place] += figures.values
            if kernel.entry_bits:
                stored[place] += figures.entries * 8.0 / entries_per_word(kernel.entry_bits)
    return cycles, stored
