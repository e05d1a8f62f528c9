"""Which kernel holds which block: fewest decoder cycles, then fewest bytes.

The decoder cycles of a block are the greater of two counts, each of them exact for its part of
the pipeline: *event slots* (what the lanes take) and *decoder steps* (what the index words take).
Between kernels of equal cycles the one with fewer stored bytes is taken, and between equal bytes
the first by `golden.formats.Kernel.preference`.
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

_NEVER = 1 << 40  # above any real column, and sums of it stay far from 64 bits


@dataclass(frozen=True, eq=False)
class PartChoice:
    """One part of a block before it is encoded, with what it will take.

    Attributes:
        kernel: the format's name.
        tile: where its values stand.
        columns: the tile's columns that make the block.
        share: which of their non-zeros.
        kept: bool (columns,), columns of which the part holds anything; None: all.
        cycles: decoder cycles, header not counted.
        index_words: header included.
        value_bytes: stored values.
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
        """The part with its values."""
        block = self.tile.part(self.columns, self.share, self.kept)
        return Part(self.kernel, block, self.weight, self.exact)


class Chooser(Protocol):
    """Decides which kernels hold the blocks of a tile."""

    def choose(
        self, number: int, tile: Tile, blocks: Sequence[np.ndarray], room: int | None
    ) -> list[list[PartChoice]]:
        """The parts of each block.

        Args:
            number: of the k tile.
            tile: the k tile.
            blocks: columns of each block, at least one.
            room: index words beyond which another kernel is preferred; None: any number.
        """
        ...


def built_kernels(shape: ArrayShape, name: str) -> list[Kernel]:
    """The kernels that ``name`` allows: itself, or for ``auto`` all that hold stored weights.

    Kernels for run-time operands are among them only where the array has no other.

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
    """Least decoder cycles of each column in each k tile, over the kernels that hold it.

    Returns:
        int64 (k tiles, columns).  A column that no kernel holds costs more than all that one
        does, and the more, the more non-zeros it has.
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
    """Each block whole in the kernel with the fewest decoder cycles, then the fewest bytes.

    Args:
        kernels: candidates, in the order that decides between equals.
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
            # The sums are a lower bound: where that might win, the block itself is walked.
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
    """Raise BadInput: the kernel cannot hold the weights."""
    why = kernel.refusal()
    raise BadInput(f"kernel: {kernel.name} must be able to hold the weights{why and ', ' + why}")


def kept_rows(
    kernels: Sequence[Kernel], weights: np.ndarray, needed: np.ndarray, k_tile: int
) -> np.ndarray:
    """Rows of k that stay when those that are not needed are dropped from both operands.

    Formats that look at runs of rows may lose by it, as the rows behind a dropped one move to
    other runs; so whole aligned runs of rows are tried beside single rows, and the one with the
    fewer decoder cycles is taken.  One row stays where none is needed.

    Args:
        kernels: candidates.
        weights: int8 (K, N).
        needed: bool (K,).
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
