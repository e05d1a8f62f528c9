"""Plan of an exact product with the selector's kernels: several plans compete.

The selector's, bit for bit what the hardware would choose, with bytes that only break ties; the
same with near ties decided by exact prices; for `product` also with bytes that weigh as much as
cycles; each single kernel that could be as good; and the selector's on grouped columns
(`golden.planner.grouping`), with the price of a byte at which one per cent of cycles and one of
bytes are worth the same.  Cycles are counted by the cycle model, at most `COUNTED_TILES` tiles of
tokens of them.

| objective | plan taken                                                                      |
|-----------|---------------------------------------------------------------------------------|
| `cycles`  | least cycles x bytes of the plans within `TOLERANCE` of the least cycles        |
| `product` | least cycles x bytes of all plans                                               |
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from ..cycles.count import CycleCount, count_cycles
from ..errors import BadInput
from ..formats import KERNELS
from ..program.plan import Plan, plan_matmul
from ..selector.table import PerformanceTable
from ..shape import ArrayShape
from .block_selector import CYCLES_FIRST, CYCLES_TIMES_BYTES, BlockSelector
from .choose import ORDER
from .grouping import Grouping
from .prices import part_price

__all__ = [
    "COUNTED_TILES",
    "OBJECTIVES",
    "TOLERANCE",
    "Candidate",
    "Compiled",
    "compile_matmul",
    "counted",
    "decoder_cycles",
    "oracle_cycles",
    "predicted_cycles",
    "table_choice_cycles",
]

COUNTED_TILES = 16
"""Tiles of tokens that competing plans are counted over; further ones repeat the last."""
OBJECTIVES = ("cycles", "product")
TOLERANCE = Fraction(1, 100)
"""More cycles than the quickest plan's that ``cycles`` gives for fewer bytes."""

_LEAST_COLUMNS = 2  # per engine, from which there is something to group

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
"""Price of a byte, and whether exact prices decide near ties."""


@dataclass(frozen=True)
class Candidate:
    """One plan that competed; cycles of at most `COUNTED_TILES` tiles of tokens."""

    name: str
    plan: Plan = field(repr=False)
    cycles: int
    bytes: int
    selector: BlockSelector | None = field(repr=False, default=None)

    @property
    def product(self) -> int:
        """Cycles times bytes."""
        return self.cycles * self.bytes


@dataclass(frozen=True)
class Compiled:
    """The plan that was taken, and what it was chosen from.

    Attributes:
        chosen: the plan.
        candidates: all plans, the chosen one among them.
        objective: a name of `OBJECTIVES`.
        table: where the selector's figures come from.
    """

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    objective: str
    table: PerformanceTable = field(repr=False)

    @property
    def plan(self) -> Plan:
        """The plan."""
        return self.chosen.plan

    def report(self) -> dict:
        """Report fields; decoder cycles are of one tile of tokens, summed over the engines."""
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
    """Decoder cycles of a plan's parts and their headers, one tile of tokens, all engines."""
    return sum(int(stream.cycles.sum()) + len(stream.blocks) for stream in plan.streams)


def predicted_cycles(table: PerformanceTable, plan: Plan) -> int:
    """What the table foretells for the parts of a plan, one tile of tokens, all engines."""
    asked = {
        name: BlockSelector(plan.shape, table, Fraction(0), kernels=(name,), split_blocks=False)
        for name in plan.kernel_blocks
    }
    total = 0.0
    for stream in plan.streams:
        for block, name in zip(stream.blocks, stream.kernels, strict=True):
            if name in asked and block.any():
                total += asked[name].choose(block).predicted
    return round(total)


def _whole_blocks(plan: Plan) -> Iterator[np.ndarray]:
    """The blocks of a plan, their parts put together."""
    for stream in plan.streams:
        for tile in np.unique(stream.tiles):
            parts = [b for b, t in zip(stream.blocks, stream.tiles, strict=True) if t == tile]
            yield np.bitwise_or.reduce(parts)


def oracle_cycles(plan: Plan) -> int:
    """Decoder cycles of a plan's blocks, each whole in the kernel that is exactly the quickest."""
    formats = [KERNELS[k].configured(plan.shape) for k in ORDER if k in plan.shape.kernels]
    return sum(
        min(part_price(k, block).cycles for k in formats if k.accepts(block))
        for block in _whole_blocks(plan)
    )


def table_choice_cycles(table: PerformanceTable, plan: Plan) -> int:
    """Decoder cycles of a plan's blocks in what the table alone chooses, as the hardware would."""
    selector = BlockSelector(plan.shape, table, CYCLES_FIRST)
    return sum(selector.price_of(block).cycles for block in _whole_blocks(plan))


def counted(plan: Plan) -> CycleCount:
    """Cycles of a plan over at most `COUNTED_TILES` tiles of tokens."""
    most = COUNTED_TILES * plan.shape.lanes
    return count_cycles(replace(plan, rows=most) if plan.rows > most else plan)


def _single_bound(shape: ArrayShape, name: str, weights: np.ndarray, tiles: int) -> float:
    """Cycles below which a kernel can't be: its event slots over all engines."""
    if not len(weights):
        return 0.0
    kernel = KERNELS[name].configured(shape)
    if not kernel.accepts(weights):
        return float("inf")
    slots = 0
    for low in range(0, len(weights), shape.k_tile):
        slots += int(kernel.column_cycles(weights[low : low + shape.k_tile] != 0).sum())
    return slots * tiles / shape.engines


def compile_matmul(
    shape: ArrayShape,
    activations: np.ndarray,
    weights: np.ndarray,
    table: PerformanceTable,
    *,
    objective: str = "cycles",
    k_split: int | str = 1,
    balance: str = "anneal",
    seed: int = 0,
    drop_activation_rows: bool = False,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Compiled:
    """Plan O = A @ W with the kernels that the selector takes for each block.

    Args:
        shape: the array.
        activations: int8 (M, K).
        weights: int8 (K, N).
        table: performance table of the array.
        objective: see the module.
        k_split, balance, seed, drop_activation_rows: as for `golden.program.plan.plan_matmul`.
        progress: called with (what, done, total).

    Raises:
        BadInput: as `golden.program.plan.plan_matmul`; an unknown objective; a table without the
            array's kernels.
    """
    if objective not in OBJECTIVES:
        raise BadInput(f"objective: must be one of {', '.join(OBJECTIVES)}, got {objective!r}")
    names = [name for name in ORDER if name in shape.kernels]
    lacking = [name for name in names if name not in table.kernels]
    if lacking:
        raise BadInput(
            f"performance table: kernels: must hold all of the array, lacks {', '.join(lacking)}"
        )

    def planned(
        name: str, kernel: str, selector: BlockSelector | None, grouping: Grouping | None = None
    ) -> Candidate:
        plan = plan_matmul(
            shape,
            activations,
            weights,
            kernel,
            k_split=k_split,
            balance=balance,
            seed=seed,
            split=None if selector is None else selector.split,
            grouping=grouping,
            drop_activation_rows=drop_activation_rows,
        )
        return Candidate(name, plan, counted(plan).cycles, plan.weight_bytes, selector)

    candidates = []
    ways = _WAYS[objective]
    for number, (name, (price, refine)) in enumerate(ways.items()):
        progress("select", number, len(ways))
        selector = BlockSelector(shape, table, price, refine=refine)
        candidates.append(planned(name, "auto", selector))
    tiles = min(COUNTED_TILES, -(-len(activations) // shape.lanes))
    needed = weights[weights.any(axis=1)]
    singles = []
    for number, name in enumerate(names):
        progress("single kernels", number, len(names))
        found = [*candidates, *singles]
        bound = _single_bound(shape, name, needed, tiles)
        if objective == "cycles":
            able = bound <= (1 + TOLERANCE) * min(candidate.cycles for candidate in found)
        else:
            # No format takes fewer bytes than its values.
            least = bound * np.count_nonzero(needed)
            able = least <= min(candidate.product for candidate in found)
        if able:
            try:
                singles.append(planned(name, name, None))
            except BadInput:
                # Rows that went with others may leave runs that the format can't hold.
                continue
    found = [*candidates, *singles]
    many = weights.shape[1] >= _LEAST_COLUMNS * shape.engines
    best = min(found, key=lambda candidate: candidate.product)
    # Over several segments a block has too few columns for its header to pay.
    if len(names) > 1 and many and best.plan.segments == 1 and k_split in (1, "auto"):
        progress("group columns", 0, 1)
        price = Fraction(best.cycles * shape.engines, tiles * best.bytes)
        # Small figures, since the price multiplies every line of the table.
        price = max(CYCLES_FIRST, price.limit_denominator(CYCLES_FIRST.denominator))
        selector = BlockSelector(shape, table, price, refine=True)
        grouping = Grouping(shape, float(price))
        found.append(planned("selector, grouped columns", "auto", selector, grouping))
    allowed = found
    if objective == "cycles":
        limit = (1 + TOLERANCE) * min(candidate.cycles for candidate in found)
        allowed = [candidate for candidate in found if candidate.cycles <= limit]
    chosen = min(allowed, key=lambda candidate: (candidate.product, candidate.cycles))
    return Compiled(chosen, tuple(found), objective, table)
