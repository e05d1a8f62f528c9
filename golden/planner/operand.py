"""The weights of a product with everything that follows from them alone, computed once.

Several plans of one product compete (`golden.planner.compete`).  They differ in kernels and in how
columns are dealt to engines.  The k tiles, the figures of the columns and the distribution that the
search starts from are the same for all of them, and are kept here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..formats import Kernel
from ..shape import ArrayShape
from .anneal import balance_columns
from .choose import column_costs, kept_rows
from .distribute import assign_columns, cut_rows
from .tile import Tile

__all__ = ["Items", "Operand", "SentRows"]


@dataclass(frozen=True, eq=False)
class Items:
    """The columns, or k parts of columns, that are dealt to engines, cut into k tiles.

    The last item is a dummy without any non-zero, for engines that get no other.

    Attributes:
        block: int8 (K, items + 1), the weights of each item.
        column: int64 (items + 1,), output column of each item; -1 for the dummy.
        part: int64 (items,), k part of each item; parts without any non-zero are left out.
        bounds: int64 (k tiles + 1,), first row of each k tile, then K.
        parts: number of k parts of a column.
    """

    block: np.ndarray = field(repr=False)
    column: np.ndarray
    part: np.ndarray
    bounds: np.ndarray
    parts: int
    _starts: dict = field(default_factory=dict, repr=False)

    @property
    def count(self) -> int:
        """Number of items, without the dummy."""
        return len(self.column) - 1

    @cached_property
    def tiles(self) -> list[Tile]:
        """The k tiles, each with the figures of its columns."""
        return [Tile(self.block[low:high]) for low, high in pairwise(self.bounds)]

    def costs(self, kernels: Sequence[Kernel]) -> np.ndarray:
        """Decoder cycles of each item in each tile, in its best kernel, int64 (k tiles, items)."""
        return column_costs(kernels, self.tiles)[:, :-1]

    def assigned(
        self, kernels: Sequence[Kernel], engines: int, segments: int, seed: int | None
    ) -> list[list[np.ndarray]]:
        """Deal the items to segments and engines; a seed asks for annealing on top."""
        key = tuple(kernel.name for kernel in kernels), engines, segments, seed
        if key not in self._starts:
            costs = self.costs(kernels)
            if seed is None:
                found = assign_columns(costs.sum(axis=0), engines, segments)
            else:
                start = self.assigned(kernels, engines, segments, None)
                found = balance_columns(costs, start, seed)
            self._starts[key] = found
        return self._starts[key]


@dataclass(frozen=True, eq=False)
class SentRows:
    """The rows of k that are sent, and the items that are made of them.

    Attributes:
        kept: int64 (depth,), numbers of the rows.
        weights: int8 (depth, N); a row that is sent only to keep a run whole is all zeros.
    """

    kept: np.ndarray
    weights: np.ndarray = field(repr=False)
    _items: dict = field(default_factory=dict, repr=False)

    def items(self, bounds: np.ndarray, parts: int = 1, how: str = "rank") -> Items:
        """Return the columns as items, or each column cut into ``parts`` of its rows.

        `golden.planner.distribute.cut_rows` explains ``how``.
        """
        key = bounds.tobytes(), parts, how if parts > 1 else ""
        if key not in self._items:
            self._items[key] = self._cut(bounds, parts, how)
        return self._items[key]

    def _cut(self, bounds: np.ndarray, parts: int, how: str) -> Items:
        depth, outputs = self.weights.shape
        blocks, column, part = [self.weights], [np.arange(outputs)], [np.zeros(outputs, np.int64)]
        if parts > 1:
            part_of = cut_rows(self.weights, bounds, parts, how)
            blocks, column, part = [], [], []
            for number in range(parts):
                share = np.where(part_of == number, self.weights, 0).astype(np.int8)
                held = share.any(axis=0)
                if number == 0:
                    held |= ~self.weights.any(axis=0)
                blocks.append(share[:, held])
                column.append(np.flatnonzero(held))
                part.append(np.full(len(column[-1]), number))
        dummy = np.zeros((depth, 1), np.int8)
        return Items(
            np.concatenate([*blocks, dummy], axis=1),
            np.concatenate([*column, [-1]]),
            np.concatenate(part),
            bounds,
            parts,
        )


class Operand:
    """The weights of a product on an array, and what was computed from them so far.

    Args:
        shape: the array.
        weights: int8 (K, N).
        needed: bool (K,), rows that must be sent; the others may be left out of both operands.
    """

    def __init__(self, shape: ArrayShape, weights: np.ndarray, needed: np.ndarray) -> None:
        self.shape, self.weights, self.needed = shape, weights, needed
        self._sent: dict[bytes, SentRows] = {}

    def sent(self, kernels: Sequence[Kernel]) -> SentRows:
        """Return the rows that are sent if these kernels may hold the blocks."""
        kept = kept_rows(kernels, self.weights, self.needed, self.shape.k_tile)
        key = kept.tobytes()
        if key not in self._sent:
            # A row that stays only to keep a run whole must contribute nothing.
            whole = self.needed[kept].all()
            rows = self.weights[kept] if len(kept) < len(self.weights) else self.weights
            sent = rows if whole else np.where(self.needed[kept][:, None], rows, 0).astype(np.int8)
            self._sent[key] = SentRows(kept, sent)
        return self._sent[key]
