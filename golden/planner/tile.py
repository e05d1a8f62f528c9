"""One k tile of the weights with what its columns take in each kernel, computed once.

Index entries, value bytes, event slots and decoder steps of a block are sums over its columns
(`golden.formats.Figures`), so every layout that is tried adds up the same figures, and nothing is
encoded before a layout is final.

A *share* is what one part of a block holds: all of it, the runs of rows that are nearly full, or
the rest beside those.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..formats import Figures, Kernel

__all__ = ["WHOLE", "Share", "Sums", "Tile", "dense_core"]


def dense_core(block: np.ndarray, rows: int, fill: float) -> np.ndarray:
    """Non-zeros in runs of ``rows`` rows of a column that are nearly full, bool (depth, columns).

    A run counts when at least ``fill`` of its rows are non-zero; the last run of a column may be
    shorter than ``rows``.
    """
    occupied = block != 0
    starts = np.arange(0, len(block), rows)
    counts = np.add.reduceat(occupied, starts, axis=0, dtype=np.int64)
    sizes = np.minimum(rows, len(block) - starts)
    return occupied & np.repeat(counts >= fill * sizes[:, None], sizes, axis=0)


@dataclass(frozen=True)
class Share:
    """Which non-zeros of a block a part holds.

    Attributes:
        rows: rows of a run; 0: all non-zeros, whatever their run.
        fill: least share of a run's rows that are non-zero, for it to count as full.
        rest: what is not in full runs, instead of what is.
    """

    rows: int = 0
    fill: float = 1.0
    rest: bool = False


WHOLE = Share()
"""All non-zeros of a block."""


@dataclass(frozen=True)
class Sums:
    """What blocks take in one kernel; int64 (blocks,) each, and bool ``held``."""

    slots: np.ndarray
    steps: np.ndarray
    entries: np.ndarray
    values: np.ndarray
    held: np.ndarray

    @property
    def cycles(self) -> np.ndarray:
        """Decoder cycles, but for pairs of entries that a word's end parts."""
        return np.maximum(self.slots, self.steps)


class Tile:
    """Rows of one k tile, all columns.

    Args:
        block: int8 (depth, columns).
    """

    def __init__(self, block: np.ndarray) -> None:
        self.block = block
        self._masks: dict[Share, np.ndarray] = {WHOLE: block != 0}
        self._figures: dict[tuple[str, Share], Figures] = {}
        self._counts: dict[Share, np.ndarray] = {}

    @property
    def depth(self) -> int:
        """Rows of the tile."""
        return len(self.block)

    def mask(self, share: Share) -> np.ndarray:
        """Bool (depth, columns): the non-zeros of a share."""
        if share not in self._masks:
            core = Share(share.rows, share.fill)
            if core not in self._masks:
                self._masks[core] = dense_core(self.block, share.rows, share.fill)
            if share.rest:
                self._masks[share] = self._masks[WHOLE] & ~self._masks[core]
        return self._masks[share]

    def figures(self, kernel: Kernel, share: Share = WHOLE) -> Figures:
        """What each column of a share takes in a kernel."""
        key = kernel.name, share
        if key not in self._figures:
            self._figures[key] = kernel.figures(self.mask(share))
        return self._figures[key]

    def counts(self, share: Share = WHOLE) -> np.ndarray:
        """Non-zeros of each column in a share, int64 (columns,)."""
        if share not in self._counts:
            self._counts[share] = self.mask(share).sum(axis=0, dtype=np.int64)
        return self._counts[share]

    def part(
        self, columns: np.ndarray, share: Share = WHOLE, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """The int8 values of a share in some columns; of these only the ``kept``, if given."""
        block = self.block[:, columns]
        if share != WHOLE:
            block = np.where(self.mask(share)[:, columns], block, 0)
        if kept is not None:
            block = np.where(kept, block, 0)
        return block.astype(np.int8)

    def sums(
        self, kernel: Kernel, blocks: Sequence[np.ndarray], share: Share = WHOLE, floor: int = 1
    ) -> Sums:
        """What blocks take in a kernel.

        Args:
            kernel: the format.
            blocks: columns of each block, at least one.
            share: what of them.
            floor: least event slots of a column, where a shared drain allows no fewer.
        """
        figures = self.figures(kernel, share)
        columns = np.concatenate(blocks)
        starts = np.cumsum([0, *(len(block) for block in blocks[:-1])])
        slots = figures.slots if floor <= 1 else np.maximum(figures.slots, floor)
        taken = (slots, figures.steps, figures.entries, figures.values)
        return Sums(
            *(np.add.reduceat(count[columns], starts) for count in taken),
            held=np.logical_and.reduceat(figures.held[columns], starts),
        )
