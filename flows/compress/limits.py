"""Limits below which weights are dropped, chosen for each block by the selector.

A block is ``k_tile`` rows of an engine's columns.  Its candidates are every kernel at each of
`LEVELS`, fractions of one global limit.  E is the share of the output's energy that dropping
below the limit costs by the weights' saliency, R the table's cycles for what remains; the
selector's controller holds the running E to the square of the budget (`golden.selector.selector`).
"""

import math

import numpy as np

from golden.formats import KERNELS, Kernel
from golden.selector.candidates import ERROR_MAX, Blocks
from golden.selector.selector import Registers, Selector
from golden.selector.table import PerformanceTable, density_bin
from golden.shape import ArrayShape

from .layer import Layer

__all__ = ["LEVELS", "Grid", "block_limits"]

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Limits of a block, in fractions of the global one."""


class Grid:
    """Sums over the blocks of a matrix: k tiles by groups of columns.

    Attributes:
        rows, columns: first row and first column of each.
        sizes, depths, widths: of each block, the column groups fastest.
    """

    def __init__(self, weights: np.ndarray, shape: ArrayShape) -> None:
        depth, outputs = weights.shape
        self.shape = shape
        width = min(shape.columns, -(-outputs // shape.engines))
        self.rows = np.arange(0, depth, shape.k_tile)
        self.columns = np.arange(0, outputs, width)
        depths = np.minimum(shape.k_tile, depth - self.rows)
        widths = np.minimum(width, outputs - self.columns)
        self.sizes = (depths[:, None] * widths).reshape(-1)
        self.depths = np.repeat(depths, len(widths))
        self.widths = np.tile(widths, len(depths))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sum of each block, (blocks,)."""
        by_row = np.add.reduceat(values, self.rows, axis=0)
        return np.add.reduceat(by_row, self.columns, axis=1).reshape(-1)

    def figures(self, kernel: Kernel, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Value bytes of each block in a kernel, int64, and whether it holds the block, bool."""
        ends = np.append(self.rows[1:], len(kept))
        tiles = [kernel.figures(kept[low:high]) for low, high in zip(self.rows, ends, strict=True)]
        stored = [np.add.reduceat(tile.values, self.columns) for tile in tiles]
        held = [np.logical_and.reduceat(tile.held, self.columns) for tile in tiles]
        return np.concatenate(stored), np.concatenate(held)


def _blocks(
    grid: Grid, table: PerformanceTable, names: list[str], kept: list[np.ndarray], E: np.ndarray
) -> Blocks:
    """Statistics of every block for each kernel at each threshold, kernels fastest."""
    numbers = [
        table.nearest_shape(int(d), int(c)) for d, c in zip(grid.depths, grid.widths, strict=True)
    ]
    shapes = np.array([table.shapes[number] for number in numbers])
    scale = shapes.prod(axis=1) / grid.sizes
    counts, errors, infeasible = [], [], []
    for level, mask in enumerate(kept):
        occupied = grid.sums(mask.astype(np.int64))
        for name in names:
            stored, held = grid.figures(KERNELS[name].configured(grid.shape), mask)
            counts.append(stored if KERNELS[name].clustered else occupied)
            errors.append(E[level])
            infeasible.append(~held)
    count = np.stack(counts, axis=1)
    return Blocks(
        kernels=np.tile([KERNELS[name].number for name in names], len(kept)),
        shape=np.array(numbers),
        empty=grid.sums(kept[0].astype(np.int64)) == 0,
        count=np.rint(count * scale[:, None]).astype(np.int64),
        bin=density_bin(count, grid.sizes[:, None]),
        error=np.stack(errors, axis=1),
        infeasible=np.stack(infeasible, axis=1),
    )


def block_limits(
    grid: Grid,
    table: PerformanceTable,
    names: list[str],
    layer: Layer,
    saliency: np.ndarray,
    energy: float,
    threshold: float,
    budget: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Limit of every weight at one global limit, and the level of each block."""
    costs = np.square(saliency)
    # A block's share of the output's energy, times the blocks: their mean is the whole's error.
    share = len(grid.sizes) / energy
    occupied = layer.weights != 0
    kept = [occupied & (saliency >= level * threshold) for level in LEVELS]
    lost = [grid.sums(np.where(mask, 0.0, costs)) * share for mask in kept]
    E = np.minimum(np.floor(np.array(lost) * 65536), ERROR_MAX).astype(np.int64)
    registers = Registers(budget=min(ERROR_MAX, math.ceil(budget**2 * 65536)))
    choice = Selector(table, registers).run(_blocks(grid, table, names, kept, E))
    level = (choice.candidate // len(names)).reshape(len(grid.rows), -1)
    depth, outputs = layer.weights.shape
    limits = np.repeat(
        np.array(LEVELS)[level] * threshold, np.diff(grid.rows, append=depth), axis=0
    )
    return np.repeat(limits, np.diff(grid.columns, append=outputs), axis=1), level
