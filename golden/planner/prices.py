"""What a part of a block costs: the rule by which all kernels are compared.

    cycles = 1 + max(sum over columns max(event slots, column_floor), decoder steps)
    bytes  = 8 + 8 * index words + value bytes

The 1 and the first 8 are the part's header.  Every part runs through all columns of the block: a
part without events in a column still closes that column, which costs at least one slot.
``column_floor`` stands for a shared drain, which takes ``group * drain_cycles`` cycles from one
column of an engine to its next.
"""

from dataclasses import dataclass

import numpy as np

from ..formats import Kernel

__all__ = ["HEADER_BYTES", "HEADER_CYCLES", "Price", "part_price"]

HEADER_CYCLES = 1
"""Cycles of a part's header."""

HEADER_BYTES = 8
"""Bytes of a part's header."""


@dataclass(frozen=True)
class Price:
    """Cycles and bytes of one part, or of several parts together."""

    cycles: int
    bytes: int

    def __add__(self, other: "Price") -> "Price":
        return Price(self.cycles + other.cycles, self.bytes + other.bytes)


def part_price(kernel: Kernel, block: np.ndarray, column_floor: int = 1) -> Price:
    """Return the exact price of an int8 block in one kernel; see the module.

    Args:
        kernel: the format, which must hold the block.
        block: int8 (depth, columns).
        column_floor: fewest slots that a column takes.
    """
    occupied = block != 0
    figures = kernel.figures(occupied)
    slots = int(np.maximum(figures.slots, column_floor).sum())
    steps = kernel.cycles(occupied) if kernel.paired else int(figures.steps.sum())
    words = kernel.index_words(int(figures.entries.sum()))
    stored = int(figures.values.sum())
    return Price(HEADER_CYCLES + max(slots, steps), HEADER_BYTES + 8 * words + stored)
