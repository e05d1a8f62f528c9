"""Structure inside a block by which it can be divided into parts."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["dense_core"]


def dense_core(block: np.ndarray, rows: int, fill: float) -> NDArray[np.bool_]:
    """Non-zeros in runs of ``rows`` rows of a column that are nearly full.

    A run counts when at least ``fill`` of its rows are non-zero; the last run of a column may be
    shorter than ``rows``.

    Args:
        block: (depth, columns).
        rows: of a run; runs begin at multiples of it.
        fill: share of a run, above 0 to 1.

    Returns:
        Bool (depth, columns), true at non-zeros alone.
    """
    occupied = block != 0
    starts = np.arange(0, len(block), rows)
    counts = np.add.reduceat(occupied, starts, axis=0, dtype=np.int64)
    sizes = np.minimum(rows, len(block) - starts)
    return occupied & np.repeat(counts >= fill * sizes[:, None], sizes, axis=0)
