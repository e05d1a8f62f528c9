"""Cycles and stored bytes of single columns in each way to hold them.

A block's price is nearly the sum of its columns' prices: only the header and the padding of the
last word belong to the block.  So columns that are cheapest in the same kernels can be brought
together before any block exists (`golden.planner.grouping`).

A *variant* is a way to hold a block: one kernel for all of it, or the ``block`` kernel for the
runs of rows that are full and an event kernel for the rest
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
"""Kernel of each part."""

FORBIDDEN = float(1 << 24)
"""Cycles of a column in a kernel that cannot hold it: above any real price."""


def variants_of(shape: ArrayShape) -> list[Variant]:
    """Ways to hold a block: the kernels of an array, then the pairs."""
    names = preferred(tuple(name for name in shape.kernels if not KERNELS[name].run_time))
    found: list[Variant] = [(name,) for name in names]
    if "block" in names and shape.block_rows > 1:
        # Kernels that store nothing but non-zeros hold any rest at a cycle for each.
        rest = [name for name in names if not KERNELS[name].stores_zeros]
        found += [("block", name) for name in rest]
    return found


def column_prices(
    shape: ArrayShape, variants: Sequence[Variant], tile: Tile
) -> tuple[np.ndarray, np.ndarray]:
    """Cycles and bytes of each column of a tile in each variant.

    Args:
        shape: the array.
        variants: as from `variants_of`.
        tile: the rows, all columns.

    Returns:
        Two float64 (variants, columns).  Cycles are at least what a shared drain takes between
        two columns of an engine; `FORBIDDEN` where a kernel cannot hold the column.  Columns
        share index words, so bytes count a word by its entries.
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
