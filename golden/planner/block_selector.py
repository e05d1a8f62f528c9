"""Chooses the kernels of static weights block by block, as the fuse selector in hardware would.

For each block the planner takes the statistics that the hardware would take, makes the candidates
and calls the function that the hardware computes (`golden.selector.selector.Selector.choose`).
The error is zero: every part keeps all of its values, so the product stays exact.

**Candidates.** One candidate is the whole block.  The others divide it into two parts with
disjoint support: nearly full runs of rows and the rest, or dense columns and sparse ones.  The
selector treats each part as a block and names its kernel and cost.  A division costs the sum of
its parts; of equal candidates the first is taken.

**Price.** The table's R is cycles plus ``price`` cycles for each stored byte.  With a price of 1
the sum of cycles and bytes is minimised, which for formats of about one byte per cycle minimises
their product as well.  With a price near 0 bytes only decide between equal cycles.  The price
belongs to the table that is loaded, not to the selector.

**Near ties.** The table was measured on random blocks at some densities and is interpolated
between them, so it is off by some per cent where non-zeros stand in bands or tiles.  Offline the
block itself is at hand.  With ``refine``, kernels and divisions that the table puts within `NEAR`
of its choice are compared by the exact cycles and bytes that they take (`golden.planner.tile`).
Without it the choice is the table's, as the hardware would make it.

**Blocks of other shapes.** The table knows blocks of a few shapes.  Another block is treated as
several blocks of the nearest of these shapes, with its own density: its counts are divided by the
ratio of the sizes and rounded to nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..formats import KERNELS, Kernel, preferred
from ..selector.candidates import Blocks
from ..selector.selector import INFEASIBLE, Selector, table_cycles
from ..selector.table import PerformanceTable, density_bin
from ..shape import ArrayShape
from .choose import ByCycles, PartChoice
from .prices import HEADER_BYTES, HEADER_CYCLES
from .tile import WHOLE, Share, Sums, Tile

__all__ = [
    "CYCLES_FIRST",
    "CYCLES_TIMES_BYTES",
    "NEAR",
    "BlockSelector",
    "priced_table",
    "shares_to_try",
]

CYCLES_TIMES_BYTES = Fraction(1)
"""Price of a byte at which a byte weighs as much as a cycle."""
CYCLES_FIRST = Fraction(1, 64)
"""Price of a byte at which bytes are saved only where that costs hardly a cycle."""
NEAR = Fraction(1, 8)
"""Candidates within this share above the table's least cost are compared by exact prices."""

_FILLS = (1.0, 0.75, 0.5)
_DENSE_COLUMN = 0.25  # density from which a bit per row takes fewer bytes than a gap per non-zero


def priced_table(table: PerformanceTable, price: Fraction) -> PerformanceTable:
    """Return the table with ``price`` cycles added for each stored byte of a block."""
    if price == 0:
        return table
    points = [
        point.model_copy(
            update={
                "cycles": point.cycles
                + round(price * point.blocks * point.weight_bytes / table.engines)
            }
        )
        for point in table.points
    ]
    # A copy would keep what the table has cached about its old points.
    fields = {name: getattr(table, name) for name in type(table).model_fields}
    return PerformanceTable.model_construct(**{**fields, "points": tuple(points)})


def shares_to_try(shape: ArrayShape) -> list[tuple[Share, ...]]:
    """List the whole block, then its divisions into nearly full runs of rows and the rest."""
    found = [(WHOLE,)]
    if "block" in shape.kernels and shape.block_rows > 1:
        rows = shape.block_rows
        found += [(Share(rows, fill), Share(rows, fill, rest=True)) for fill in _FILLS]
    return found


@dataclass(frozen=True, eq=False)
class _Slice:
    """One part of one candidate, for every block of a tile.

    Attributes:
        share: which of the non-zeros the part holds.
        kept: bool (columns of all blocks,), whether it holds anything of a column; None: all.
        sums: what the part takes in each kernel; kernels are in the selector's order.
        drained: event slots in each kernel, if no column takes fewer than the shared drain does.
        count: int64 (blocks,), non-zeros of the part in each block.
    """

    share: Share
    kept: np.ndarray | None
    sums: list[Sums]
    drained: list[np.ndarray]
    count: np.ndarray


class BlockSelector:
    """A `golden.planner.choose.Chooser` that asks the fuse selector for every block.

    Args:
        shape: the array.
        table: performance table of the array.
        price: what a stored byte costs, in cycles.
        kernels: candidates, by default all kernels that are in the array and in the table.
        split_blocks: whether divisions into two parts are candidates.
        refine: whether the exact prices of the blocks decide near ties.
    """

    def __init__(
        self,
        shape: ArrayShape,
        table: PerformanceTable,
        price: Fraction = CYCLES_TIMES_BYTES,
        *,
        kernels: Sequence[str] | None = None,
        split_blocks: bool = True,
        refine: bool = False,
    ) -> None:
        self.shape, self.price = shape, price
        self.split_blocks, self.refine = split_blocks, refine
        self.table = priced_table(table, price)
        allowed = shape.kernels if kernels is None else kernels
        self.names = preferred(tuple(k for k in table.kernels if k in allowed))
        self.formats: list[Kernel] = [KERNELS[name].configured(shape) for name in self.names]
        self.column_floor = shape.group * shape.drain_cycles
        self._selector = Selector(self.table)
        self._rom = self.table.rom_image()
        self._by_cycles = ByCycles(self.formats)
        self._place = {KERNELS[name].number: place for place, name in enumerate(self.names)}

    def choose(
        self, number: int, tile: Tile, blocks: Sequence[np.ndarray], room: int | None = None
    ) -> list[list[PartChoice]]:
        """Return the parts of each block; see `golden.planner.choose.Chooser.choose`."""
        columns = np.concatenate(blocks)
        sizes = np.array([len(block) for block in blocks])
        starts = np.cumsum(sizes) - sizes
        candidates = self._candidates(tile, columns, starts)
        parts = [part for candidate in candidates for part in candidate]
        shapes = [self.table.nearest_shape(tile.depth, int(size)) for size in sizes]
        elements = np.array([np.prod(self.table.shapes[shape]) for shape in shapes])
        statistics = self._statistics(parts, tile.depth * sizes, np.array(shapes), elements)
        choice = self._selector.choose(statistics)
        cost = choice.cost.reshape(len(parts), len(blocks))
        taken = np.vectorize(self._place.__getitem__)(choice.kernel).reshape(cost.shape)
        missing = cost == INFEASIBLE
        # A part without a non-zero is left out.
        missing |= [part.count == 0 for part in parts]
        ends = np.cumsum([len(candidate) for candidate in candidates])
        totals = np.stack(
            [
                np.where(missing[a:b].any(axis=0), INFEASIBLE, cost[a:b].sum(axis=0))
                for a, b in zip(ends - [len(c) for c in candidates], ends, strict=True)
            ]
        )
        best = totals.argmin(axis=0)
        if self.refine:
            best, taken = self._refined(candidates, ends, totals, taken, statistics, len(blocks))
        found: list[list[PartChoice]] = []
        for block, mine in enumerate(blocks):
            if totals[best[block], block] >= INFEASIBLE:
                # For an empty block, or without a candidate, what the kernels take decides.
                found += self._by_cycles.choose(number, tile, [mine], room)
                continue
            candidate = candidates[best[block]]
            first = ends[best[block]] - len(candidate)
            where = slice(starts[block], starts[block] + len(mine))
            found.append(
                [
                    self._part(tile, mine, part, where, block, taken[first + place, block])
                    for place, part in enumerate(candidate)
                ]
            )
        return found

    def foretold(self, tile: Tile, blocks: Sequence[np.ndarray]) -> np.ndarray:
        """Return the cycles that the table predicts for each whole block, float64 (blocks,).

        This is meant for a selector with one kernel, without divisions and with a price of 0.
        """
        columns = np.concatenate(blocks)
        sizes = np.array([len(block) for block in blocks])
        (whole,) = self._candidates(tile, columns, np.cumsum(sizes) - sizes)[0]
        shapes = [self.table.nearest_shape(tile.depth, int(size)) for size in sizes]
        elements = np.array([np.prod(self.table.shapes[shape]) for shape in shapes])
        statistics = self._statistics([whole], tile.depth * sizes, np.array(shapes), elements)
        # The cost is beta * R, with beta = 1, for a block of the table's size.
        cost = self._selector.choose(statistics).cost / (1 << 16)
        return cost * tile.depth * sizes / elements

    def _part(
        self, tile: Tile, columns: np.ndarray, part: _Slice, where: slice, block: int, kernel: int
    ) -> PartChoice:
        taken, held = self.formats[kernel], part.sums[kernel]
        return PartChoice(
            *(taken.name, tile, columns, part.share),
            None if part.kept is None else part.kept[where],
            cycles=int(held.cycles[block]),
            index_words=1 + int(taken.index_words(held.entries[block])),
            value_bytes=int(held.values[block]),
        )

    def _candidates(
        self, tile: Tile, columns: np.ndarray, starts: np.ndarray
    ) -> list[list[_Slice]]:
        """Return all candidates, each a list of parts: the whole block, then its divisions."""

        def added(counts: np.ndarray) -> np.ndarray:
            return np.add.reduceat(counts, starts)

        def slice_of(share: Share, kept: np.ndarray | None = None) -> _Slice:
            sums, drained = [], []
            for kernel in self.formats:
                taken = [np.asarray(f)[columns] for f in vars(tile.figures(kernel, share)).values()]
                if kept is not None:
                    empty = vars(kernel.figures(np.zeros((tile.depth, 1), bool))).values()
                    taken = [np.where(kept, t, e) for t, e in zip(taken, empty, strict=True)]
                slots, steps, entries, values, held = taken
                drained.append(added(np.maximum(slots, self.column_floor)))
                sums.append(
                    Sums(
                        *(added(slots), added(steps), added(entries), added(values)),
                        held=np.logical_and.reduceat(held, starts),
                    )
                )
            counts = tile.counts(share)[columns]
            counts = counts if kept is None else counts * kept
            return _Slice(share, kept, sums, drained, added(counts))

        found = [[slice_of(WHOLE)]]
        if not self.split_blocks:
            return found
        seen = [np.zeros_like(found[0][0].count)]
        for shares in shares_to_try(self.shape)[1:]:
            counts = added(tile.counts(shares[0])[columns])
            # A lower threshold is a candidate only where it finds more non-zeros than higher ones.
            if (counts > np.max(seen, axis=0)).any():
                seen.append(counts)
                found.append([slice_of(share) for share in shares])
        dense = tile.counts()[columns] >= _DENSE_COLUMN * tile.depth
        if dense.any() and not dense.all():
            found.append([slice_of(WHOLE, dense), slice_of(WHOLE, ~dense)])
        return found

    def _statistics(
        self, parts: list[_Slice], sizes: np.ndarray, shapes: np.ndarray, elements: np.ndarray
    ) -> Blocks:
        """Count what the hardware would count of each part of each block, parts outermost."""
        count = np.concatenate(
            [
                np.stack(
                    [
                        held.values if kernel.clustered else part.count
                        for kernel, held in zip(self.formats, part.sums, strict=True)
                    ],
                    axis=1,
                )
                for part in parts
            ]
        )
        refused = np.concatenate(
            [np.stack([~held.held for held in part.sums], axis=1) for part in parts]
        )
        sizes, elements = np.tile(sizes, len(parts)), np.tile(elements, len(parts))
        # count * elements / size, rounded to nearest.
        scaled = (2 * count * elements[:, None] + sizes[:, None]) // (2 * sizes[:, None])
        return Blocks(
            kernels=np.array([KERNELS[name].number for name in self.names]),
            shape=np.tile(shapes, len(parts)),
            empty=np.concatenate([part.count for part in parts]) == 0,
            count=scaled,
            bin=density_bin(count, sizes[:, None]),
            error=np.zeros_like(count),
            infeasible=refused,
        )

    def _refined(
        self,
        candidates: list[list[_Slice]],
        ends: np.ndarray,
        totals: np.ndarray,
        taken: np.ndarray,
        statistics: Blocks,
        blocks: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Let exact prices decide near ties; return each block's candidate, each part's kernel."""
        table, missing = table_cycles(self._rom, statistics)
        table = np.where(missing | statistics.infeasible, INFEASIBLE >> 16, table)
        table = table.reshape(len(taken), blocks, -1)
        near = table <= (1 + float(NEAR)) * table.min(axis=-1, keepdims=True)
        prices = np.stack(
            [
                np.stack([self._prices(part, place) for place in range(len(self.formats))])
                for candidate in candidates
                for part in candidate
            ]
        ).transpose(0, 2, 1)
        ranked = np.where(near, prices, np.inf)
        # Equal prices go to the kernel that the table puts first.
        order = np.argsort(table, axis=-1, kind="stable")
        place = np.take_along_axis(ranked, order, axis=-1).argmin(axis=-1)
        chosen = np.take_along_axis(order, place[..., None], axis=-1)[..., 0]
        price = np.take_along_axis(prices, chosen[..., None], axis=-1)[..., 0]
        least = totals.min(axis=0)
        sums = np.stack(
            [
                np.where(
                    totals[number] <= (1 + float(NEAR)) * least,
                    price[end - len(candidate) : end].sum(axis=0),
                    np.inf,
                )
                for number, (candidate, end) in enumerate(zip(candidates, ends, strict=True))
            ]
        )
        # Where the table allows no candidate, its own choice stands: its cost says so.
        best = np.where(least >= INFEASIBLE, totals.argmin(axis=0), sums.argmin(axis=0))
        return best, chosen

    def _prices(self, part: _Slice, place: int) -> np.ndarray:
        """Return each block's price in a kernel by the rule of `golden.planner.prices`, in cycles.

        Bytes count with the selector's price.
        """
        kernel, sums = self.formats[place], part.sums[place]
        words = kernel.index_words(sums.entries)
        cycles = HEADER_CYCLES + np.maximum(part.drained[place], sums.steps)
        return cycles + float(self.price) * (HEADER_BYTES + 8 * words + sums.values)
