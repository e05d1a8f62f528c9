"""One k tile of the weights, with what each of its columns takes in each kernel.

Index entries, value bytes, event slots and decoder steps of a block are sums over its columns
(`golden.formats.Figures`).  The figures of a column are computed once; every layout that is tried
adds them up, and nothing is encoded before a layout is final.

A *share* is what one part of a block holds: the whole block, its runs of rows that are nearly full,
or what is left without those runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..formats import Figures, Kernel
from ..formats.counting import column_counts, run_counts

__all__ = ["WHOLE", "Share", "Sums", "Tile", "dense_core"]


def dense_core(block: np.ndarray, rows: int, fill: float) -> np.ndarray:
    """Mark the non-zeros that stand in nearly full runs of rows, bool (depth, columns).

    A run is ``rows`` rows of one column, the last run of a column may be shorter.  It is nearly
    full if at least the share ``fill`` of its rows are non-zero.
    """
    occupied = block != 0
    starts = np.arange(0, len(block), rows)
    sizes = np.minimum(rows, len(block) - starts)
    full = run_counts(occupied, rows) >= fill * sizes[:, None]
    return occupied & np.repeat(full, sizes, axis=0)


@dataclass(frozen=True)
class Share:
    """Says which non-zeros of a block a part holds.

    Attributes:
        rows: rows of a run; 0: the part holds all non-zeros, and there are no runs.
        fill: share of a run's rows that must be non-zero for the run to count as full.
        rest: whether the part holds what is outside of full runs, instead of what is inside.
    """

    rows: int = 0
    fill: float = 1.0
    rest: bool = False


WHOLE = Share()
"""All non-zeros of a block."""


@dataclass(frozen=True)
class Sums(Figures):
    """What each block takes in one kernel, one entry a block.

    Decoder cycles leave out a step for each pair of entries that a word's end separates.
    """


class Tile:
    """The rows of one k tile, with all columns.

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
        """Number of rows of the tile."""
        return len(self.block)

    def mask(self, share: Share) -> np.ndarray:
        """Mark the non-zeros of a share, bool (depth, columns)."""
        if share not in self._masks:
            core = Share(share.rows, share.fill)
            if core not in self._masks:
                self._masks[core] = dense_core(self.block, share.rows, share.fill)
            if share.rest:
                self._masks[share] = self._masks[WHOLE] & ~self._masks[core]
        return self._masks[share]

    def figures(self, kernel: Kernel, share: Share = WHOLE) -> Figures:
        """Return what each column of a share takes in a kernel."""
        key = kernel.name, share
        if key not in self._figures:
            self._figures[key] = kernel.figures(self.mask(share))
        return self._figures[key]

    def counts(self, share: Share = WHOLE) -> np.ndarray:
        """Count the non-zeros of each column in a share, int64 (columns,)."""
        if share not in self._counts:
            self._counts[share] = column_counts(self.mask(share))
        return self._counts[share]

    def part(
        self, columns: np.ndarray, share: Share = WHOLE, kept: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the int8 values of a share in some columns; columns not ``kept`` are zero."""
        block = self.block[:, columns]
        if share != WHOLE:
            block = np.where(self.mask(share)[:, columns], block, 0)
        if kept is not None:
            block = np.where(kept, block, 0)
        return block.astype(np.int8)

    def sums(
        self, kernel: Kernel, blocks: Sequence[np.ndarray], share: Share = WHOLE, floor: int = 1
    ) -> Sums:
        """Add up what blocks take in a kernel.

        Args:
            kernel: the format.
            blocks: column numbers of each block, at least one column in each.
            share: which of their non-zeros count.
            floor: fewest event slots that a column takes, as a shared drain may require.
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
