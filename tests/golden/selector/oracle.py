"""Oracle: the best candidate of every block by exact cost, what a selector is measured against.

It sees the block itself, not statistics: R is the sum of the kernel's decoder cycles
(`Kernel.column_cycles`), E the exact energy of what the threshold drops. Weights, cost and ties
are the selector's.
"""

from collections.abc import Sequence

import numpy as np

from golden.formats import KERNELS
from golden.selector.candidates import ERROR_MAX, Candidate
from golden.selector.selector import R_BITS, Choice, block_costs
from golden.shape import ArrayShape

__all__ = ["best_choices", "exact_costs"]


def exact_costs(
    blocks: Sequence[np.ndarray], candidates: Sequence[Candidate], shape: ArrayShape
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact cycles, relative error and infeasibility of every block and candidate.

    Args:
        blocks: int8 (depth, columns) each.
        candidates: kernel and threshold each.
        shape: gives the kernels' parameters.

    Returns:
        int64 (B, C) cycles, int64 (B, C) Q16 error, bool (B, C).
    """
    size = (len(blocks), len(candidates))
    cycles, error = np.zeros(size, np.int64), np.zeros(size, np.int64)
    infeasible = np.zeros(size, bool)
    for row, block in enumerate(blocks):
        magnitude = np.abs(block.astype(np.int64))
        total = max(1, int((magnitude**2).sum()))
        for column, candidate in enumerate(candidates):
            kernel = KERNELS[candidate.kernel].configured(shape)
            dropped = magnitude < 1 << candidate.threshold
            kept = np.where(dropped, 0, block).astype(np.int8)
            energy = int((magnitude[dropped] ** 2).sum())
            error[row, column] = min((energy << 16) // total, ERROR_MAX)
            infeasible[row, column] = not kernel.accepts(kept)
            slots = int(kernel.column_cycles(kept != 0).sum())
            cycles[row, column] = min(slots, (1 << R_BITS) - 1)
    return cycles, error, infeasible


def best_choices(
    blocks: Sequence[np.ndarray],
    candidates: Sequence[Candidate],
    shape: ArrayShape,
    alpha: int,
    beta: int,
) -> Choice:
    """Choose the candidate of least exact cost for every block; alpha and beta are Q8.8."""
    cycles, error, infeasible = exact_costs(blocks, candidates, shape)
    empty = np.array([not block.any() for block in blocks], bool)
    cost = block_costs(alpha, beta, error, cycles, infeasible, empty)
    chosen = np.argmin(cost, axis=1)
    rows = np.arange(len(blocks))
    kernels = np.array([KERNELS[candidate.kernel].number for candidate in candidates])
    return Choice(
        candidate=chosen,
        kernel=kernels[chosen],
        cost=cost[rows, chosen],
        error=np.where(empty, 0, error[rows, chosen]),
    )
