"""Several plans of one exact product are made, and the best of them is taken.

These plans compete:

- the fuse selector's, bit for bit what the hardware would choose; bytes only decide between equal
  cycles;
- the same, with near ties decided by the exact prices of the blocks;
- for the objective `product`, a plan of the selector in which a byte weighs as much as a cycle;
- one plan for each single kernel that could be as good;
- the selector's plan on grouped columns (`golden.planner.grouping`), where the price of a byte
  makes one per cent of the cycles and one per cent of the bytes worth the same.

The cycle model counts the cycles of each plan, over at most `COUNTED_TILES` tiles of tokens.

| objective | plan taken                                                                      |
|-----------|---------------------------------------------------------------------------------|
| `cycles`  | least cycles x bytes of the plans within `TOLERANCE` of the least cycles        |
| `product` | least cycles x bytes of all plans                                               |
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from ..cycles.count import CycleCount, count_cycles
from ..errors import BadInput
from ..formats import KERNELS
from ..program.plan import Plan
from ..selector.table import PerformanceTable
from ..shape import ArrayShape
from .block_selector import CYCLES_FIRST, CYCLES_TIMES_BYTES, BlockSelector
from .choose import built_kernels
from .grouping import Grouping
from .operand import Operand
from .prices import HEADER_CYCLES
from .product import operand_of, plan_matmul
from .tile import Tile

__all__ = [
    "COUNTED_TILES",
    "OBJECTIVES",
    "TOLERANCE",
    "Candidate",
    "Compiled",
    "compile_product",
    "counted",
    "decoder_cycles",
    "oracle_cycles",
    "predicted_cycles",
    "table_choice_cycles",
]

COUNTED_TILES = 16
"""Tiles of tokens that competing plans are counted over; further tiles repeat the last one."""
OBJECTIVES = ("cycles", "product")
TOLERANCE = Fraction(1, 100)
"""Share of the quickest plan's cycles that the objective ``cycles`` gives up for fewer bytes."""

_LEAST_COLUMNS = 2  # columns per engine; with fewer there is nothing to group

_WAYS = {
    "cycles": {
        "selector": (CYCLES_FIRST, False),
        "selector, near ties by exact price": (CYCLES_FIRST, True),
    },
    "product": {
        "selector": (CYCLES_FIRST, False),
        "selector, near ties by exact price": (CYCLES_FIRST, True),
        "selector, bytes as cycles": (CYCLES_TIMES_BYTES, True),
    },
}
"""The selector's plans: price of a byte, and whether exact prices decide near ties."""


@dataclass(frozen=True)
class Candidate:
    """One plan that competed.  Its cycles cover at most `COUNTED_TILES` tiles of tokens."""

    name: str
    plan: Plan = field(repr=False)
    cycles: int
    bytes: int

    @property
    def product(self) -> int:
        """Cycles times bytes."""
        return self.cycles * self.bytes


@dataclass(frozen=True)
class Compiled:
    """The plan that was taken, and the plans that it was chosen from.

    Attributes:
        chosen: the plan that was taken.
        candidates: all plans that competed, the chosen one among them.
        objective: a name of `OBJECTIVES`.
        table: performance table that the selector used; None where no plans competed.
    """

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    objective: str
    table: PerformanceTable | None = field(repr=False)

    @property
    def plan(self) -> Plan:
        """The plan that was taken."""
        return self.chosen.plan

    def report(self) -> dict:
        """Fields of the JSON report; the dictionary is empty where no plans competed.

        Decoder cycles are those of one tile of tokens, summed over the engines.
        """
        if self.table is None:
            return {}
        plan = self.plan
        blocks = sum(len(set(stream.tiles.tolist())) for stream in plan.streams)
        parts = sum(len(stream.blocks) for stream in plan.streams)
        return {
            "objective": self.objective,
            "table": self.table.source,
            "table_config_hash": self.table.config_hash,
            "chosen": self.chosen.name,
            "candidates": [
                {"plan": c.name, "cycles": c.cycles, "weight_bytes": c.bytes}
                for c in self.candidates
            ],
            "candidate_tokens": min(plan.rows, COUNTED_TILES * plan.shape.lanes),
            "blocks": blocks,
            "parts": parts,
            "decoder_cycles_predicted": predicted_cycles(self.table, plan),
            "decoder_cycles": decoder_cycles(plan),
            "decoder_cycles_table": table_choice_cycles(self.table, plan),
            "decoder_cycles_oracle": oracle_cycles(plan),
        }


def decoder_cycles(plan: Plan) -> int:
    """Decoder cycles of all parts of a plan and their headers, for one tile of tokens."""
    return sum(
        int(stream.cycles.sum()) + HEADER_CYCLES * len(stream.blocks) for stream in plan.streams
    )


def _side_by_side(blocks: Sequence[np.ndarray]) -> Iterator[tuple[Tile, list[np.ndarray]]]:
    """Yield tiles of all blocks of equal depth, side by side, with the columns of each block."""
    for depth in sorted({len(block) for block in blocks}):
        mine = [block for block in blocks if len(block) == depth]
        ends = np.cumsum([block.shape[1] for block in mine])
        places = [
            np.arange(end - block.shape[1], end) for block, end in zip(mine, ends, strict=True)
        ]
        yield Tile(np.concatenate(mine, axis=1)), places


def predicted_cycles(table: PerformanceTable, plan: Plan) -> int:
    """Decoder cycles that the table predicts for all parts of a plan, for one tile of tokens."""
    total = 0.0
    for name in plan.kernel_blocks:
        if name not in table.kernels:
            continue
        asked = BlockSelector(plan.shape, table, Fraction(0), kernels=(name,), split_blocks=False)
        mine = [
            block
            for stream in plan.streams
            for block, kernel in zip(stream.blocks, stream.kernels, strict=True)
            if kernel == name and block.any()
        ]
        total += sum(
            float(asked.foretold(tile, places).sum()) for tile, places in _side_by_side(mine)
        )
    return round(total)


def _whole_blocks(plan: Plan) -> list[np.ndarray]:
    """The blocks of a plan, each with its parts put together again."""
    found = []
    for stream in plan.streams:
        for tile in np.unique(stream.tiles):
            parts = [b for b, t in zip(stream.blocks, stream.tiles, strict=True) if t == tile]
            found.append(np.bitwise_or.reduce(parts))
    return found


def oracle_cycles(plan: Plan) -> int:
    """Decoder cycles of a plan's blocks, each held whole by the kernel of fewest exact cycles."""
    kernels = built_kernels(plan.shape, "auto")
    total = 0
    for tile, places in _side_by_side(_whole_blocks(plan)):
        sums = [tile.sums(kernel, places) for kernel in kernels]
        held = np.stack([each.held for each in sums])
        cycles = np.where(held, np.stack([each.cycles for each in sums]), np.iinfo(np.int64).max)
        total += HEADER_CYCLES * len(places) + int(cycles.min(axis=0).sum())
    return total


def table_choice_cycles(table: PerformanceTable, plan: Plan) -> int:
    """Exact decoder cycles of a plan's blocks in the kernels that the table alone chooses.

    The hardware would choose the same.
    """
    selector = BlockSelector(plan.shape, table, CYCLES_FIRST)
    total = 0
    for tile, places in _side_by_side(_whole_blocks(plan)):
        for parts in selector.choose(0, tile, places):
            for choice in parts:
                kernel = KERNELS[choice.kernel].configured(plan.shape)
                total += HEADER_CYCLES + kernel.cycles(choice.part().block != 0)
    return total


def counted(plan: Plan) -> CycleCount:
    """Count a plan's cycles with the cycle model, over at most `COUNTED_TILES` tiles of tokens."""
    most = COUNTED_TILES * plan.shape.lanes
    return count_cycles(replace(plan, rows=most) if plan.rows > most else plan)


def _same_words(plan: Plan, other: Plan) -> bool:
    """Whether two plans of one product send the same words, and so take the same cycles."""
    return all(
        np.array_equal(mine.index, its.index) and np.array_equal(mine.values, its.values)
        for mine, its in zip(plan.streams, other.streams, strict=True)
    )


def _single_bound(operand: Operand, name: str, tiles: int) -> float:
    """Lower bound of the cycles with one kernel: its event slots, shared evenly by all engines."""
    shape = operand.shape
    needed = operand.weights[operand.weights.any(axis=1)]
    kernel = KERNELS[name].configured(shape)
    slots = 0
    for low in range(0, len(needed), shape.k_tile):
        figures = kernel.figures(needed[low : low + shape.k_tile] != 0)
        if not figures.held.all():
            return float("inf")
        slots += int(figures.slots.sum())
    return slots * tiles / shape.engines


def compile_product(
    shape: ArrayShape,
    activations: np.ndarray,
    weights: np.ndarray,
    table: Callable[[], PerformanceTable],
    kernel: str = "auto",
    *,
    objective: str = "cycles",
    k_split: int | str = 1,
    balance: str = "anneal",
    seed: int = 0,
    drop_activation_rows: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Compiled:
    """Plan O = A @ W: turn the weights into the words that an array is sent.

    Args:
        shape: the array.
        activations: int8 (M, K).
        weights: int8 (K, N).
        table: function that returns the array's performance table; called only where plans compete.
        kernel: name of a kernel of the array for all blocks, or ``auto``, with which the selector
            chooses the kernels of each block.
        objective: which plan ``auto`` takes, see the module.
        k_split, balance, seed, drop_activation_rows: as for
            `golden.planner.product.plan_matmul`.
        progress: called with (what, done, total).

    Raises:
        BadInput: the objective is unknown, the table lacks a kernel of the array, or
            `golden.planner.product.plan_matmul` refuses an argument.
    """
    if objective not in OBJECTIVES:
        raise BadInput(f"objective: must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    operand = operand_of(shape, activations, weights, drop_activation_rows=drop_activation_rows)

    def planned(
        name: str,
        kernel: str,
        selector: BlockSelector | None = None,
        grouping: Grouping | None = None,
    ) -> Candidate:
        plan = plan_matmul(
            *(shape, activations, weights, kernel),
            k_split=k_split,
            balance=balance,
            seed=seed,
            chooser=selector,
            grouping=grouping,
            operand=operand,
        )
        return Candidate(name, plan, 0, plan.weight_bytes)

    names = [each.name for each in built_kernels(shape, kernel)]
    # Kernels for run-time operands are in no table: an array with no others has nothing to choose.
    if kernel != "auto" or KERNELS[names[0]].run_time:
        progress("plan", 0, 1)
        only = planned(names[0], kernel)
        return Compiled(only, (only,), objective, None)
    known = table()
    lacking = [name for name in names if name not in known.kernels]
    if lacking:
        raise BadInput(
            f"performance table: kernels: must hold all of the array, lacks {', '.join(lacking)}"
        )

    found: list[Candidate] = []

    def timed(candidate: Candidate) -> Candidate:
        twins = (known for known in found if _same_words(known.plan, candidate.plan))
        twin = next(twins, None)
        cycles = counted(candidate.plan).cycles if twin is None else twin.cycles
        return replace(candidate, cycles=cycles)

    ways = _WAYS[objective]
    for number, (name, (price, refine)) in enumerate(ways.items()):
        progress("select", number, len(ways))
        selector = BlockSelector(shape, known, price, refine=refine)
        found.append(timed(planned(name, "auto", selector)))
    tiles = min(COUNTED_TILES, -(-len(activations) // shape.lanes))
    for number, name in enumerate(names):
        progress("single kernels", number, len(names))
        bound = _single_bound(operand, name, tiles)
        if objective == "cycles":
            able = bound <= (1 + TOLERANCE) * min(candidate.cycles for candidate in found)
        else:
            # Every format stores at least a byte for each non-zero.
            least = bound * np.count_nonzero(weights)
            able = least <= min(candidate.product for candidate in found)
        if able:
            try:
                found.append(timed(planned(name, name)))
            except BadInput:
                # Once rows are left out, others fall into runs that the format can't hold.
                continue
    many = weights.shape[1] >= _LEAST_COLUMNS * shape.engines
    best = min(found, key=lambda candidate: candidate.product)
    # Over several segments a block has too few columns for grouping to repay its header.
    if len(names) > 1 and many and best.plan.segments == 1 and k_split in (1, "auto"):
        progress("group columns", 0, 1)
        price = Fraction(best.cycles * shape.engines, tiles * best.bytes)
        # A small numerator and denominator, since the price multiplies every line of the table.
        price = max(CYCLES_FIRST, price.limit_denominator(CYCLES_FIRST.denominator))
        selector = BlockSelector(shape, known, price, refine=True)
        grouping = Grouping(shape, float(price))
        found.append(timed(planned("selector, grouped columns", "auto", selector, grouping)))
    allowed = found
    if objective == "cycles":
        limit = (1 + TOLERANCE) * min(candidate.cycles for candidate in found)
        allowed = [candidate for candidate in found if candidate.cycles <= limit]
    chosen = min(allowed, key=lambda candidate: (candidate.product, candidate.cycles))
    return Compiled(chosen, tuple(found), objective, known)
