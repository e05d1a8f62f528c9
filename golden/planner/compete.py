"""Several plans of one exact product are made, and the best of them is taken.

These plans compete:

- the fuse selector's, bit for bit what the hardware would choose; bytes only decide between equal
  cycles;
- the same, with near ties decided by the exact prices of the blocks;
- for the objective `product`, a plan of the selector in which a byte weighs as much as a cycle;
- one plan for each single kernel, where its least cycles and bytes would change which is taken;
- the selector's plan on grouped columns (`golden.planner.grouping`), where the price of a byte
  makes one per cent of the cycles and one per cent of the bytes worth the same.

The cycle model counts the cycles of each plan, over at most `COUNTED_TILES` tiles of tokens.

| objective | plan taken                                                                      |
|-----------|---------------------------------------------------------------------------------|
| `cycles`  | least cycles x bytes of the plans within `TOLERANCE` of the least cycles        |
| `product` | least cycles x bytes of all plans                                               |
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from ..cycles.count import CycleCount, count_cycles
from ..errors import BadInput
from ..formats import KERNELS
from ..program.plan import Plan
from ..selector.table import PerformanceTable
from ..shape import ArrayShape
from .audit import decoder_cycles, oracle_cycles, predicted_cycles, table_choice_cycles
from .block_selector import CYCLES_FIRST, CYCLES_TIMES_BYTES, BlockSelector
from .choose import built_kernels
from .grouping import Grouping
from .operand import Operand
from .product import operand_of, plan_matmul
from .tilings import tilings

__all__ = [
    "COUNTED_TILES",
    "OBJECTIVES",
    "TOLERANCE",
    "Candidate",
    "Compiled",
    "compile_product",
    "counted",
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
    """One plan that competed.

    Its count covers at most `COUNTED_TILES` tiles of tokens; None where nothing competed with it.
    """

    name: str
    plan: Plan = field(repr=False)
    bytes: int
    count: CycleCount | None = field(default=None, repr=False)

    @property
    def cycles(self) -> int:
        """Cycles that were counted, 0 without a count."""
        return 0 if self.count is None else self.count.cycles

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

    @property
    def count(self) -> CycleCount | None:
        """The cycle model's count of the whole product; None where it was not counted whole."""
        whole = self.plan.m_tiles <= COUNTED_TILES
        return self.chosen.count if whole else None

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


def _taken(figures: Sequence[tuple[float, int]], objective: str) -> int:
    """Return which plan is taken, the first of equals, by the cycles and bytes of each."""
    limit = float("inf")
    if objective == "cycles":
        limit = (1 + TOLERANCE) * min(cycles for cycles, _ in figures)
    ranks = enumerate(figures)
    return min((c * b, c, place) for place, (c, b) in ranks if c <= limit)[-1]


def _single_bound(operand: Operand, name: str, tiles: int) -> tuple[float, int] | None:
    """Return the least cycles and bytes with one kernel; None where it cannot hold the weights.

    Cycles are its event slots or decoder steps, shared evenly by all engines, behind the shortest
    first tile of activations that they wait for.  Bytes are those of the values and of the index
    without headers.
    """
    shape = operand.shape
    needed = operand.weights[operand.weights.any(axis=1)]
    kernel = KERNELS[name].configured(shape)
    slots = steps = entries = values = 0
    for low in range(0, len(needed), shape.k_tile):
        figures = kernel.figures(needed[low : low + shape.k_tile] != 0)
        if not figures.held.all():
            return None
        slots += int(figures.slots.sum())
        steps += int(figures.steps.sum())
        entries += int(figures.entries.sum())
        values += int(figures.values.sum())
    lead = min(int(bounds[1]) for bounds in tilings(shape, needed)) if len(needed) else 1
    cycles = -(-lead // shape.rows_per_beat) * shape.beats_per_row
    cycles += max(slots, steps) * tiles / shape.engines
    return cycles, 8 * kernel.index_words(entries) + values


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
        return Candidate(name, plan, plan.weight_bytes)

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
        return replace(candidate, count=twin.count if twin else counted(candidate.plan))

    ways = _WAYS[objective]
    for number, (name, (price, refine)) in enumerate(ways.items()):
        progress("select", number, len(ways))
        selector = BlockSelector(shape, known, price, refine=refine)
        found.append(timed(planned(name, "auto", selector)))
    tiles = min(COUNTED_TILES, -(-len(activations) // shape.lanes))
    progress("single kernels", 0, 1)
    bounds = {name: _single_bound(operand, name, tiles) for name in names}

    def add_singles() -> None:
        for name, bound in tuple(bounds.items()):
            rivals = [(candidate.cycles, candidate.bytes) for candidate in found]
            if bound is None or _taken([*rivals, bound], objective) == _taken(rivals, objective):
                continue
            del bounds[name]
            # Once rows are left out, others may fall into runs that the format can't hold.
            with suppress(BadInput):
                found.append(timed(planned(name, name)))

    add_singles()
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
        add_singles()
    chosen = _taken([(candidate.cycles, candidate.bytes) for candidate in found], objective)
    return Compiled(found[chosen], tuple(found), objective, known)
