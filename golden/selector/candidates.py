"""Candidates of the fuse selector and the statistics of blocks that it weighs them by."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import BadInput
from ..formats import KERNELS
from .table import PerformanceTable, density_bin

__all__ = [
    "COUNT_BITS",
    "ERROR_MAX",
    "Blocks",
    "Candidate",
    "describe_blocks",
    "relative_error",
]

COUNT_BITS = 24
ERROR_MAX = 0xFFFF


@dataclass(frozen=True)
class Candidate:
    """One way to compute a block: a kernel, after dropping ``|x| < 2**threshold``."""

    kernel: str
    threshold: int = 0

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            known = ", ".join(KERNELS)
            raise BadInput(f"candidate: kernel: must be one of {known}, got {self.kernel!r}")
        if not 0 <= self.threshold <= 8:
            raise BadInput(f"candidate: threshold: must be 0 to 8, got {self.threshold}")


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Statistics of B blocks for C candidates, as the hardware takes them.

    Attributes:
        kernels: int64 (C,), number of each candidate's kernel.
        shape: int64 (B,), number of the block's shape in the table.
        empty: bool (B,).
        count: int64 (B, C), what drives the kernel's cycles, below 2^24.
        bin: int64 (B, C), density bin of the count.
        error: int64 (B, C), Q16.
        infeasible: bool (B, C).
    """

    kernels: np.ndarray
    shape: np.ndarray
    empty: np.ndarray
    count: np.ndarray
    bin: np.ndarray
    error: np.ndarray
    infeasible: np.ndarray


def relative_error(histogram: np.ndarray, threshold: int) -> np.ndarray:
    """Energy that ``|x| < 2**threshold`` drops, relative to all of a block's, in Q16.

    Args:
        histogram: int64 (..., 9), zeros in bin 0, ``floor(log2 |x|) + 1`` = b in bin b.
        threshold: bins 1 .. threshold are dropped.

    Returns:
        int64 (...), rounded down, at most 65535. Bin b weighs ``4**(b - 1)``: the mean square of
        an octave is a constant times that, and the constant cancels.
    """
    energy = np.asarray(histogram, np.int64)[..., 1:] << np.arange(0, 16, 2)
    total = np.maximum(energy.sum(axis=-1), 1)
    dropped = energy[..., :threshold].sum(axis=-1)
    return np.minimum((dropped << 16) // total, ERROR_MAX)


def describe_blocks(
    table: PerformanceTable,
    candidates: Sequence[Candidate],
    shape: np.ndarray,
    histogram: np.ndarray,
    stored: np.ndarray,
    infeasible: np.ndarray,
) -> Blocks:
    """Statistics of blocks, or of the buckets that stand for them.

    Args:
        table: gives the shapes.
        candidates: in order of their numbers.
        shape: (B,), shape numbers.
        histogram: (B, 9), log2-magnitude histograms; see `relative_error`.
        stored: (B,) or (B, C), rows that a clustered kernel stores, per candidate if it differs.
        infeasible: bool (B, C), candidates that can't hold the block.

    Raises:
        BadInput: no candidate, or a count of 2^24 or more.
    """
    if not candidates:
        raise BadInput("selector: candidates: must be at least one, got none")
    shape = np.asarray(shape, np.int64)
    histogram = np.asarray(histogram, np.int64)
    infeasible = np.asarray(infeasible, bool)
    stored = np.asarray(stored, np.int64)
    if stored.ndim == 1:
        stored = np.repeat(stored[:, None], len(candidates), axis=1)
    sizes = np.array([depth * columns for depth, columns in table.shapes])[shape]
    counts, errors = [], []
    for number, candidate in enumerate(candidates):
        kept = histogram[:, candidate.threshold + 1 :].sum(axis=1)
        counts.append(stored[:, number] if KERNELS[candidate.kernel].clustered else kept)
        errors.append(relative_error(histogram, candidate.threshold))
    count = np.stack(counts, axis=1)
    if count.size and count.max() >> COUNT_BITS:
        raise BadInput(f"selector: count: must be below 2**{COUNT_BITS}, got {count.max()}")
    return Blocks(
        kernels=np.array([KERNELS[candidate.kernel].number for candidate in candidates]),
        shape=shape,
        empty=histogram[:, 1:].sum(axis=1) == 0,
        count=count,
        bin=density_bin(count, sizes[:, None]),
        error=np.stack(errors, axis=1),
        infeasible=infeasible,
    )
