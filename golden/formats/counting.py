"""How many non-zeros columns and their runs of rows hold.

The planner asks this of every tile that it tries.  Whole runs are added row by row, over all
columns at once; `numpy.ufunc.reduceat` and sums in 64 bits take each column for itself, which is
ten to fifty times as slow.
"""

import numpy as np

__all__ = ["column_counts", "run_counts"]


def column_counts(occupied: np.ndarray) -> np.ndarray:
    """Count the non-zeros of each column of a bool (depth, columns), int64 (columns,)."""
    return np.add.reduce(occupied.view(np.uint8), axis=0, dtype=np.int32).astype(np.int64)


def run_counts(occupied: np.ndarray, rows: int) -> np.ndarray:
    """Count the non-zeros of each run of rows.

    Args:
        occupied: bool, shape (depth, columns).
        rows: rows of a run, at most 255; the last run of a column may be shorter.

    Returns:
        uint8 (runs, columns).
    """
    depth, columns = occupied.shape
    whole = depth // rows
    marks = occupied.view(np.uint8)
    counts = np.empty((-(-depth // rows), columns), np.uint8)
    runs = marks[: whole * rows].reshape(whole, rows, columns)
    np.add.reduce(runs, axis=1, dtype=np.uint8, out=counts[:whole])
    if whole < len(counts):
        np.add.reduce(marks[whole * rows :], axis=0, dtype=np.uint8, out=counts[whole])
    return counts
