"""The price of a part: decoder cycles and stored bytes of a block in one kernel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..formats import Kernel

__all__ = ["HEADER_BYTES", "HEADER_CYCLES", "Cost", "part_price"]

HEADER_CYCLES = 1
"""Decoder cycles of a block header."""

HEADER_BYTES = 8
"""A block header is one index word."""


@dataclass(frozen=True)
class Cost:
    """Decoder cycles and stored bytes; costs of several parts add up."""

    cycles: int
    bytes: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.cycles + other.cycles, self.bytes + other.bytes)


def part_price(kernel: Kernel, block: NDArray[np.int8], column_floor: int = 1) -> Cost:
    """Price of holding ``block`` in one kernel, its header included.

    Cycles are the greater of two counts, plus the header's: *event slots*, which the lanes take
    (`Kernel.column_cycles`, at least ``column_floor`` for each column that the part closes), and
    *decoder steps*, which the index words take (`Kernel.steps`).  Bytes are whole index words, the
    header among them, and value bytes.

    Args:
        kernel: one that accepts the block.
        block: int8 (depth, columns).
        column_floor: least cycles from one closed column to the next, as a shared drain sets them
            (``group * drain_cycles``).
    """
    index, values = kernel.encode(block)
    slots = int(np.maximum(kernel.column_cycles(block != 0), column_floor).sum())
    steps = len(kernel.steps(block).events)
    return Cost(HEADER_CYCLES + max(slots, steps), HEADER_BYTES + 8 * len(index) + len(values))
