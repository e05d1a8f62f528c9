"""Dense kernel: every element is an event, zeros included.

Index stream: empty.  Value stream: ``depth`` bytes per column, column after column.
"""

import numpy as np

from .base import Kernel, Steps

__all__ = ["Dense"]


class Dense(Kernel):
    """Every element of the block is stored and costs one cycle."""

    name = "dense"
    code = 1

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.empty(0, np.uint64), np.ascontiguousarray(block.T).reshape(-1).astype(np.int8)

    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        return np.asarray(values[: depth * columns], np.int8).reshape(columns, depth).T.copy()

    def steps(self, block: np.ndarray) -> Steps:
        depth, columns = block.shape
        last = np.tile(np.arange(depth) == depth - 1, columns)
        size = depth * columns
        return Steps(np.ones(size, np.uint8), np.ones(size, bool), np.zeros(size, bool), last)

    def column_cycles(self, occupied: np.ndarray) -> np.ndarray:
        depth, columns = occupied.shape
        return np.full(columns, depth, np.int64)
