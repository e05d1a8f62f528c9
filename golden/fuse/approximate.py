"""Approximate mode: small weights dropped, the output error held to a budget.

Error is ``|A W' - A W| / |A W|`` (Frobenius norms) on calibration activations A, with W' the
weights that remain.  A weight's *score* is ``|w[k, n]| * rms(A[:, k])``, its part of the output's
energy for uncorrelated activations (Sun et al., "A Simple and Effective Pruning Approach for
Large Language Models", ICLR 2024, equation 1).

Per block of ``k_tile`` rows and an engine's columns the selector chooses a kernel and one of
`LEVELS` thresholds, in fractions of one global threshold: E is the share of the block's score
energy that a threshold drops, R the table's cycles for what remains, and the controller holds the
running E to the square of the budget (`golden.fuse.selector`).  The estimate takes activations as
uncorrelated, so the global threshold is then searched, by bisection on its logarithm, for the
fewest weights whose *measured* error stays within the budget.  No threshold at all is always
allowed, so the budget holds whatever the activations are.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from ..choose import ORDER
from ..errors import BadInput
from ..matmul import check_operands, matmul
from ..shape import KERNELS as NUMBERS
from ..shape import ArrayShape
from .candidates import ERROR_MAX, Blocks
from .selector import Registers, Selector
from .table import CLUSTERED, PerformanceTable, density_bin

__all__ = ["LEVELS", "Approximation", "approximate", "check_budget", "output_error"]

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Thresholds of a block, in fractions of the global one."""

_STEPS = 12  # bisections: enough to know the threshold to 1 part in a hundred


@dataclass(frozen=True, eq=False)
class Approximation:
    """Weights with small ones dropped.

    Attributes:
        weights: int8 (K, N), W'.
        error: measured on the calibration activations.
        budget: what the error had to stay within.
        threshold: global threshold, in units of the score; 0 where nothing may be dropped.
        levels: int64 (k tiles, column groups), the chosen place in `LEVELS` of each block.
        dropped: weights that are zero now and were not.
    """

    weights: np.ndarray = field(repr=False)
    error: float
    budget: float
    threshold: float
    levels: np.ndarray = field(repr=False)
    dropped: int


def check_budget(budget: float) -> float:
    """The budget; raises BadInput unless it is a number from 0 to 1."""
    if isinstance(budget, bool) or not 0.0 <= budget <= 1.0:
        raise BadInput(f"error_budget: must be a number from 0 to 1, got {budget}")
    return float(budget)


def output_error(activations: np.ndarray, weights: np.ndarray, other: np.ndarray) -> float:
    """``|A W' - A W| / |A W|`` of int8 operands; infinite where only A W is zero."""
    difference = (matmul(activations, other).astype(np.float64)) - matmul(activations, weights)
    change = float(np.linalg.norm(difference))
    return 0.0 if change == 0 else _ratio(change, matmul(activations, weights))


def _ratio(change: float, reference: np.ndarray) -> float:
    norm = float(np.linalg.norm(reference.astype(np.float64)))
    return change / norm if norm else math.inf


class _Grid:
    """Sums over the blocks of a matrix: k tiles by groups of columns."""

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

    def stored(self, kept: np.ndarray) -> np.ndarray:
        """Rows that the block kernel stores in each block."""
        starts = np.arange(0, len(kept), self.shape.block_rows)
        held = np.logical_or.reduceat(kept, starts, axis=0)
        rows = np.diff(starts, append=len(kept))
        return self.sums(np.repeat(held, rows, axis=0).astype(np.int64))

    def structured(self, kept: np.ndarray) -> np.ndarray:
        """Whether the nm kernel holds each block, bool (blocks,)."""
        starts = np.arange(0, len(kept), self.shape.nm_m)
        counts = np.add.reduceat(kept.astype(np.int64), starts, axis=0)
        over = np.zeros(kept.shape, np.int64)
        over[starts] = counts > self.shape.nm_n
        return self.sums(over) == 0


def _blocks(
    grid: _Grid, table: PerformanceTable, names: list[str], kept: list[np.ndarray], E: np.ndarray
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
            counts.append(grid.stored(mask) if name in CLUSTERED else occupied)
            errors.append(E[level])
            bad = name == "nm"
            infeasible.append(~grid.structured(mask) if bad else np.zeros(len(occupied), bool))
    count = np.stack(counts, axis=1)
    return Blocks(
        kernels=np.tile([NUMBERS.index(name) for name in names], len(kept)),
        shape=np.array(numbers),
        empty=grid.sums(kept[0].astype(np.int64)) == 0,
        count=np.rint(count * scale[:, None]).astype(np.int64),
        bin=density_bin(count, grid.sizes[:, None]),
        error=np.stack(errors, axis=1),
        infeasible=np.stack(infeasible, axis=1),
    )


def _drop(
    grid: _Grid,
    table: PerformanceTable,
    names: list[str],
    weights: np.ndarray,
    score: np.ndarray,
    threshold: float,
    budget: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights that remain at one global threshold, and the level of each block."""
    energy = score**2
    total = np.maximum(grid.sums(energy), np.finfo(np.float64).tiny)
    kept = [(weights != 0) & (score >= level * threshold) for level in LEVELS]
    lost = [grid.sums(np.where(mask, 0.0, energy)) / total for mask in kept]
    E = np.minimum(np.floor(np.array(lost) * 65536), ERROR_MAX).astype(np.int64)
    registers = Registers(budget=min(ERROR_MAX, math.ceil(budget**2 * 65536)))
    choice = Selector(table, registers).run(_blocks(grid, table, names, kept, E))
    level = choice.candidate // len(names)
    limit = (np.array(LEVELS)[level] * threshold).reshape(len(grid.rows), -1)
    depth, outputs = weights.shape
    limits = np.repeat(limit, np.diff(grid.rows, append=depth), axis=0)
    limits = np.repeat(limits, np.diff(grid.columns, append=outputs), axis=1)
    return np.where(score >= limits, weights, 0).astype(np.int8), level.reshape(limit.shape)


def approximate(
    weights: np.ndarray,
    calibration: np.ndarray,
    budget: float,
    shape: ArrayShape,
    table: PerformanceTable,
) -> Approximation:
    """Drop small weights block by block within an error budget.

    Args:
        weights: int8 (K, N).
        calibration: int8 (M, K), on which the error is measured.
        budget: most relative output error, 0 to 1.
        shape: the array.
        table: performance table of the array.

    Raises:
        BadInput: operands of wrong type or shape, or a budget out of range.
    """
    check_operands(calibration, weights)
    check_budget(budget)
    names = [name for name in ORDER if name in shape.kernels and name in table.kernels]
    rms = np.sqrt(np.square(calibration.astype(np.float64)).mean(axis=0))
    score = np.abs(weights.astype(np.float64)) * rms[:, None]
    grid = _Grid(weights, shape)
    blocks = (len(grid.rows), len(grid.columns))
    best = Approximation(weights, 0.0, budget, 0.0, np.zeros(blocks, np.int64), 0)
    positive = score[score > 0]
    if budget == 0 or not len(positive):
        return best
    low, high = math.log2(positive.min()), math.log2(positive.max()) + 1
    reference = matmul(calibration, weights).astype(np.float64)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        kept, levels = _drop(grid, table, names, weights, score, 2.0**middle, budget)
        change = float(np.linalg.norm(matmul(calibration, kept) - reference))
        error = _ratio(change, reference) if change else 0.0
        dropped = int(np.count_nonzero(weights)) - int(np.count_nonzero(kept))
        if error <= budget:
            low = middle
            if dropped > best.dropped:
                best = Approximation(kept, error, budget, 2.0**middle, levels, dropped)
        else:
            high = middle
    return best
