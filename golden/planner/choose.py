"""Chooses the kernel of each block by what the block takes, without a performance table.

The kernel with the fewest decoder cycles is taken.  These are the greater of two counts, each of
them exact for its part of the pipeline: *event slots* (cycles of the lanes) and *decoder steps*
(cycles for reading the index words).  Between kernels of equal cycles the one with fewer stored
bytes is taken, and between equal bytes the first by `golden.formats.Kernel.preference`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

import numpy as np

from ..errors import BadInput
from ..formats import KERNELS, STORED, Kernel, preferred
from ..numerics.combine import UNIT
from ..program.streams import Part
from ..shape import ArrayShape
from .tile import WHOLE, Share, Tile

__all__ = [
    "ByCycles",
    "Chooser",
    "PartChoice",
    "built_kernels",
    "column_costs",
    "kept_rows",
    "refuse",
]

_NEVER = 1 << 40  # more cycles than any real column takes; sums of it stay far from 64 bits


@dataclass(frozen=True, eq=False)
class PartChoice:
    """One part of a block before it is encoded, with the cycles and words that it will take.

    Attributes:
        kernel: the format's name.
        tile: the k tile that holds the values.
        columns: numbers of the tile's columns that make up the block.
        share: which non-zeros of these columns belong to the part.
        kept: bool (columns,), whether the part holds anything of a column; None: all columns.
        cycles: decoder cycles, without the header's.
        index_words: index words, with the header.
        value_bytes: bytes of stored values.
        weight, exact: as in `golden.program.streams.Part`.
    """

    kernel: str
    tile: Tile
    columns: np.ndarray
    share: Share
    kept: np.ndarray | None
    cycles: int
    index_words: int
    value_bytes: int
    weight: int = UNIT
    exact: bool = True

    def part(self) -> Part:
        """Return the part with its values, ready to be encoded."""
        block = self.tile.part(self.columns, self.share, self.kept)
        return Part(self.kernel, block, self.weight, self.exact)


class Chooser(Protocol):
    """Decides which kernels hold the blocks of a tile."""

    def choose(
        self, number: int, tile: Tile, blocks: Sequence[np.ndarray], room: int | None
    ) -> list[list[PartChoice]]:
        """Return the parts of each block.

        Args:
            number: number of the k tile.
            tile: the k tile.
            blocks: column numbers of each block, at least one column in each.
            room: index words of a block beyond which another kernel is preferred; None: no limit.
        """
        ...


def built_kernels(shape: ArrayShape, name: str) -> list[Kernel]:
    """List the kernels that ``name`` allows: that kernel, or for ``auto`` all for stored weights.

    Kernels for run-time operands are listed for ``auto`` only where the array has no others.

    Raises:
        BadInput: the array does not have the kernel.
    """
    if name == "auto":
        stored = preferred(tuple(k for k in shape.kernels if k in STORED))
        return [KERNELS[k].configured(shape) for k in stored or shape.kernels]
    if name not in shape.kernels:
        known = ", ".join(shape.kernels)
        raise BadInput(f"kernel: must be one this array has ({known}) or auto, got {name!r}")
    return [KERNELS[name].configured(shape)]


def column_costs(kernels: Sequence[Kernel], tiles: Sequence[Tile]) -> np.ndarray:
    """Fewest decoder cycles of each column in each k tile, among the kernels that can hold it.

    Returns:
        int64 (k tiles, columns).  A column that no kernel can hold costs more than any column
        that one can hold, and the more, the more non-zeros it has.
    """
    costs = []
    for tile in tiles:
        best = _NEVER + tile.counts()
        for kernel in kernels:
            figures = tile.figures(kernel)
            best = np.where(figures.held, np.minimum(best, figures.cycles), best)
        costs.append(best)
    return np.stack(costs)


class ByCycles:
    """Holds each block whole, in the kernel with the fewest decoder cycles, then the fewest bytes.

    Args:
        kernels: candidates; between equals the first is taken.
    """

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        self.kernels = list(kernels)

    def choose(
        self, number: int, tile: Tile, blocks: Sequence[np.ndarray], room: int | None
    ) -> list[list[PartChoice]]:
        sums = [tile.sums(kernel, blocks) for kernel in self.kernels]
        held = np.stack([each.held for each in sums])
        if not held.any(axis=0).all():
            refuse(self.kernels[0])
        cycles = np.stack([each.cycles for each in sums])
        words = np.stack(
            [
                kernel.index_words(each.entries)
                for kernel, each in zip(self.kernels, sums, strict=True)
            ]
        )
        values = np.stack([each.values for each in sums])
        able = held
        if room is not None:
            fitting = able & (words <= room)
            able = np.where(fitting.any(axis=0), fitting, able)
        for place, kernel in enumerate(self.kernels):
            if not kernel.paired:
                continue
            # The sums are a lower bound; where it would win, the block's exact cycles are counted.
            others = np.where(able, cycles, _NEVER).min(axis=0)
            for block in np.flatnonzero(able[place] & (cycles[place] <= others)):
                cycles[place, block] = kernel.cycles(tile.mask(WHOLE)[:, blocks[block]])
        ranks = np.where(able, cycles, _NEVER)
        tied = ranks == ranks.min(axis=0)
        chosen = np.where(tied, 8 * words + values, _NEVER).argmin(axis=0)
        return [
            [
                PartChoice(
                    *(self.kernels[place].name, tile, columns, WHOLE, None),
                    cycles=int(cycles[place, block]),
                    index_words=1 + int(words[place, block]),
                    value_bytes=int(values[place, block]),
                )
            ]
            for block, (place, columns) in enumerate(zip(chosen, blocks, strict=True))
        ]


def refuse(kernel: Kernel) -> NoReturn:
    """Raise BadInput, which says why the kernel cannot hold the weights."""
    why = kernel.refusal()
    raise BadInput(f"kernel: {kernel.name} must be able to hold the weights{why and ', ' + why}")


def kept_rows(
    kernels: Sequence[Kernel], weights: np.ndarray, needed: np.ndarray, k_tile: int
) -> np.ndarray:
    """Choose the rows of k that are sent; rows that are not needed are dropped from both operands.

    Formats that look at runs of rows may lose by that, as the rows behind a dropped one move to
    other runs.  Dropping whole aligned runs is therefore tried beside dropping single rows, and
    whichever takes fewer decoder cycles is done.  One row stays where none is needed.

    Args:
        kernels: candidates.
        weights: int8 (K, N).
        needed: bool (K,), rows that must be sent.
        k_tile: rows of an activation tile.

    Returns:
        int64 row numbers, ascending, at least one.
    """
    everything = np.arange(len(needed))
    if needed.all():
        return everything
    best, least = everything, None
    for run in sorted({1, max(kernel.run_rows for kernel in kernels)}):
        padded = np.zeros(-(-len(needed) // run) * run, bool)
        padded[: len(needed)] = needed
        kept = np.repeat(padded.reshape(-1, run).any(axis=1), run)[: len(needed)]
        rows = np.flatnonzero(kept) if kept.any() else everything[:1]
        cost = 0
        for low in range(0, len(rows), k_tile):
            cost += int(column_costs(kernels, [Tile(weights[rows[low : low + k_tile]])]).sum())
        if least is None or cost < least:
            best, least = rows, cost
    return best
