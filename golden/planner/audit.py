"""How near a plan's decoders come to what the table foretells and to the best that there is.

All figures are decoder cycles of one tile of tokens, headers included, summed over the engines.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from ..formats import KERNELS
from ..program.plan import Plan
from ..selector.table import PerformanceTable
from .block_selector import CYCLES_FIRST, BlockSelector
from .choose import built_kernels
from .prices import HEADER_CYCLES
from .tile import Tile

__all__ = ["decoder_cycles", "oracle_cycles", "predicted_cycles", "table_choice_cycles"]


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
                kernel, cycles = KERNELS[choice.kernel].configured(plan.shape), choice.cycles
                if kernel.paired:
                    cycles = kernel.cycles(choice.part().block != 0)
                total += HEADER_CYCLES + cycles
    return total
