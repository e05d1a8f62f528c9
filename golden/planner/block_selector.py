"""Kernel selection of static weights: per block, statistics -> candidates -> selector -> parts.

The compiler runs the function that the hardware runs (`golden.selector.selector.Selector.choose`)
on the statistics that the hardware would take, with the error at zero: every part keeps all of its
values, so the product stays exact.

**Candidates.** The block whole, and its decompositions into two parts with disjoint support:
nearly full runs of rows and the rest, and dense columns and sparse ones.  Each part is a block to
the selector, which names its kernel and cost; a decomposition costs the sum, and the first of
equals is taken.

**Price.** The table's R is cycles plus ``price`` cycles for each stored byte: with a price of 1
the sum of both is minimised, which for formats of about one byte per cycle is the product of
both; with a price near 0 bytes only decide between equal cycles.  The price is part of the table
that is loaded, not of the selector.

**Near ties.** The table holds random blocks and is a line between densities, so it is off by some
per cent where non-zeros stand in bands or tiles.  Offline the block itself is at hand: kernels and
decompositions that the table puts within `NEAR` of its choice can be compared by their exact price.
Without ``refine`` the choice is the table's, as the hardware would make it.

**Blocks of other shapes.** A block is weighed as so many blocks of the table's nearest shape and
of its own density: counts are divided by the ratio of the sizes, rounding to nearest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..formats import KERNELS, Kernel
from ..program.parts import Part
from ..selector.candidates import Blocks
from ..selector.selector import INFEASIBLE, Selector, table_cycles
from ..selector.table import CLUSTERED, PerformanceTable, density_bin
from ..shape import KERNELS as NUMBERS
from ..shape import ArrayShape
from .choose import ORDER, choose_kernel
from .decompose import dense_core
from .prices import Cost, part_price

__all__ = [
    "CYCLES_FIRST",
    "CYCLES_TIMES_BYTES",
    "NEAR",
    "BlockSelector",
    "Selection",
    "block_statistics",
    "exact_selection",
    "priced_table",
    "variants",
]

CYCLES_TIMES_BYTES = Fraction(1)
"""Price of a byte that weighs cycles and bytes alike."""
CYCLES_FIRST = Fraction(1, 64)
"""Price of a byte that saves bytes only where they cost next to no cycle."""
NEAR = Fraction(1, 8)
"""Share of the table's least cost within which exact prices decide."""

_FILLS = (1.0, 0.75, 0.5)
_DENSE_COLUMN = 0.25  # from here a bit per row takes fewer bytes than a gap per non-zero


@dataclass(frozen=True, eq=False)
class Selection:
    """What was chosen for one block.

    Attributes:
        kernels: kernel of each part.
        masks: bool (depth, columns) each, disjoint, together the non-zeros.
        predicted: R of all parts for this block, in priced cycles.
        cost: Q32.16, the selector's.
    """

    kernels: tuple[str, ...]
    masks: tuple[np.ndarray, ...]
    predicted: float
    cost: int

    def parts(self, block: np.ndarray) -> list[Part]:
        """The parts of an int8 block, as `golden.planner.choose.Split` wants them."""
        if len(self.kernels) == 1:
            return [Part(self.kernels[0], block)]
        return [
            Part(kernel, np.where(mask, block, 0).astype(np.int8))
            for kernel, mask in zip(self.kernels, self.masks, strict=True)
        ]


def priced_table(table: PerformanceTable, price: Fraction) -> PerformanceTable:
    """The table with ``price`` cycles added for each stored byte of a block."""
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
    # A copy would keep what the table has cached of its own points.
    fields = {name: getattr(table, name) for name in type(table).model_fields}
    return PerformanceTable(**{**fields, "points": tuple(points)})


def variants(block: np.ndarray, shape: ArrayShape) -> list[tuple[np.ndarray, ...]]:
    """Sets of disjoint masks that cover the non-zeros, the whole block first."""
    whole = block != 0
    found = [(whole,)]
    seen = set()
    if "block" in shape.kernels and shape.block_rows > 1:
        for fill in _FILLS:
            core = dense_core(block, shape.block_rows, fill)
            count = int(core.sum())
            if count and count not in seen:
                seen.add(count)
                found.append((core, whole & ~core))
    counts = whole.sum(axis=0)
    dense = counts >= _DENSE_COLUMN * len(block)
    if dense.any() and not dense.all():
        found.append((whole & dense, whole & ~dense))
    return [masks for masks in found if len(masks) == 1 or all(mask.any() for mask in masks)]


def block_statistics(
    table: PerformanceTable, kernels: Sequence[str], shape: ArrayShape, masks: np.ndarray
) -> tuple[Blocks, float]:
    """Statistics of parts of one block, as the hardware takes them, for exact candidates.

    Args:
        table: gives the shapes.
        kernels: candidates in order of their numbers.
        shape: the array, for the kernels' parameters.
        masks: bool (parts, depth, columns).

    Returns:
        The statistics, and how many blocks of the table's shape the block stands for.
    """
    parts, depth, columns = masks.shape
    number = table.nearest_shape(depth, columns)
    scale = Fraction(depth * columns, int(np.prod(table.shapes[number])))
    occupied = masks.sum(axis=(1, 2), dtype=np.int64)

    def runs(rows: int) -> np.ndarray:
        padded = np.zeros((parts, -(-depth // rows) * rows, columns), bool)
        padded[:, :depth] = masks
        return padded.reshape(parts, -1, rows, columns).sum(axis=2, dtype=np.int64)

    count = np.repeat(occupied[:, None], len(kernels), axis=1)
    infeasible = np.zeros(count.shape, bool)
    for place, name in enumerate(kernels):
        if name in CLUSTERED:
            held = runs(shape.block_rows) > 0
            lacking = -depth % shape.block_rows * held[:, -1].sum(axis=1)
            count[:, place] = shape.block_rows * held.sum(axis=(1, 2)) - lacking
        if name == "nm":
            infeasible[:, place] = runs(shape.nm_m).max(axis=(1, 2)) > shape.nm_n
    bins = density_bin(count, depth * columns)
    over = scale.numerator
    scaled = (2 * count * scale.denominator + over) // (2 * over)
    statistics = Blocks(
        kernels=np.array([NUMBERS.index(name) for name in kernels]),
        shape=np.full(parts, number),
        empty=occupied == 0,
        count=scaled,
        bin=bins,
        error=np.zeros_like(count),
        infeasible=infeasible,
    )
    return statistics, float(scale)


class BlockSelector:
    """Chooses kernels and parts block by block; `split` serves `golden.program.plan.plan_matmul`.

    Args:
        shape: the array.
        table: performance table of the array.
        price: of a stored byte in cycles.
        kernels: candidates, by default all that array and table hold.
        split_blocks: whether decompositions are candidates.
        refine: whether exact prices decide near ties.
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
        self.names = tuple(k for k in ORDER if k in allowed and k in table.kernels)
        self.formats: dict[str, Kernel] = {k: KERNELS[k].configured(shape) for k in self.names}
        self.column_floor = shape.group * shape.drain_cycles
        self._selector = Selector(self.table)
        self._rom = self.table.rom_image()
        self._known: dict[tuple[tuple[int, ...], bytes], Selection] = {}

    def split(self, block: np.ndarray) -> list[Part]:
        """Parts of an int8 block."""
        return self.choose(block).parts(block)

    def price_of(self, block: np.ndarray, column_floor: int = 1) -> Cost:
        """Exact price of the parts chosen for an int8 block (`golden.planner.prices`)."""
        selection = self.choose(block)
        held = [part.block for part in selection.parts(block)]
        prices = (
            part_price(self.formats[kernel], part, column_floor)
            for kernel, part in zip(selection.kernels, held, strict=True)
        )
        return sum(prices, Cost(0, 0))

    def choose(self, block: np.ndarray) -> Selection:
        """Kernels of an int8 block; the same zeros get the same answer."""
        key = (block.shape, np.packbits(block != 0).tobytes())
        if key not in self._known:
            self._known[key] = self._choose(block)
        return self._known[key]

    def _choose(self, block: np.ndarray) -> Selection:
        sets = variants(block, self.shape) if self.split_blocks else [(block != 0,)]
        masks = np.stack([mask for group in sets for mask in group])
        blocks, scale = block_statistics(self.table, self.names, self.shape, masks)
        choice = self._selector.choose(blocks)
        ends = np.cumsum([len(group) for group in sets])
        options = []
        for group, end in zip(sets, ends, strict=True):
            part = slice(end - len(group), end)
            costs = [int(cost) for cost in choice.cost[part]]
            if INFEASIBLE in costs:
                continue
            kernels = tuple(NUMBERS[k] for k in choice.kernel[part])
            # The cost is beta * R with beta = 1.
            predicted = sum(costs) / (1 << 16) * scale
            options.append((Selection(kernels, group, predicted, sum(costs)), part))
        if not options or not block.any():
            # The selector leaves blocks without a choice to candidate 0; an empty block is
            # decided by the exact cycles and bytes, and any kernel holds it.
            kernel, cycles = choose_kernel([self.formats[k] for k in self.names], block)
            return Selection((kernel.name,), (block != 0,), float(cycles), 0)
        least = min(option.cost for option, _ in options)
        if not self.refine:
            return next(option for option, _ in options if option.cost == least)
        table, missing = table_cycles(self._rom, blocks)
        table = np.where(missing | blocks.infeasible, INFEASIBLE >> 16, table)
        found = [
            self._nearby(block, option, table[part], scale)
            for option, part in options
            if option.cost <= (1 + NEAR) * least
        ]
        return min(found, key=lambda pair: pair[0])[1]

    def _nearby(
        self, block: np.ndarray, option: Selection, table: np.ndarray, scale: float
    ) -> tuple[Fraction, Selection]:
        """Exact price of an option, each part in the best kernel of those that the table ties.

        Args:
            block: int8.
            option: masks of the parts.
            table: int64 (parts, kernels), the table's R.
            scale: blocks of the table that the block stands for.
        """
        total, kernels, cycles = Fraction(0), [], 0
        for mask, line in zip(option.masks, table, strict=True):
            part = np.where(mask, block, 0).astype(np.int8)
            limit = (1 + NEAR) * int(line.min())
            near = [k for k in np.argsort(line, kind="stable") if int(line[k]) <= limit]
            prices = [self._exact(self.names[k], part) for k in near]
            place = prices.index(min(prices))
            total += prices[place]
            kernels.append(self.names[near[place]])
            cycles += int(line[near[place]])
        return total, Selection(tuple(kernels), option.masks, cycles * scale, cycles << 16)

    def _exact(self, kernel: str, part: np.ndarray) -> Fraction:
        cost = part_price(self.formats[kernel], part, self.column_floor)
        return cost.cycles + self.price * cost.bytes


def exact_selection(selector: BlockSelector, block: np.ndarray) -> Selection:
    """The oracle: the best of the selector's candidates by exact cycles and bytes."""
    best: Selection | None = None
    least: Fraction | None = None
    sets = variants(block, selector.shape) if selector.split_blocks else [(block != 0,)]
    for group in sets:
        chosen, total = [], Fraction(0)
        for mask in group:
            part = np.where(mask, block, 0).astype(np.int8)
            able = [k for k in selector.names if selector.formats[k].accepts(part)]
            floor = selector.column_floor
            costs = [part_price(selector.formats[k], part, floor) for k in able]
            prices = [cost.cycles + selector.price * cost.bytes for cost in costs]
            if not prices:
                break
            chosen.append(able[prices.index(min(prices))])
            total += min(prices)
        if len(chosen) == len(group) and (least is None or total < least):
            least = total
            best = Selection(tuple(chosen), group, float(total), round(total * (1 << 16)))
    return best if best is not None else selector.choose(block)
