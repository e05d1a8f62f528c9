"""Dense kernel: every element is an event, zeros included.

Index stream: empty.  Value stream: ``depth`` bytes per column, column after column.
"""

import numpy as np

from .base import Figures, Kernel, Steps

__all__ = ["Dense"]


class Dense(Kernel):
    """Every element of the block is stored and costs one cycle."""

    name = "dense"
    code = 1
    number = 0
    preference = 10
    summary = "every element is an event, zeros included"
    stores_zeros = True
    situations = ("zero value stored",)

    def most_entries(self, depth: int) -> int:
        return 0

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.empty(0, np.uint64), np.ascontiguousarray(block.T).reshape(-1).astype(np.int8)

    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        return np.asarray(values[: depth * columns], np.int8).reshape(columns, depth).T.copy()

    def steps(self, block: np.ndarray) -> Steps:
        depth, columns = block.shape
        last = np.tile(np.arange(depth) == depth - 1, columns)
        size = depth * columns
        return Steps(np.ones(size, np.uint8), np.ones(size, bool), np.zeros(size, bool), last)

    def figures(self, occupied: np.ndarray) -> Figures:
        depth, columns = occupied.shape
        all_rows = np.full(columns, depth, np.int64)
        none = np.zeros(columns, np.int64)
        return Figures(all_rows, all_rows, none, all_rows, np.ones(columns, bool))

    def seen(self, block: np.ndarray, steps: Steps) -> set[str]:
        return set() if block.all() else {"zero value stored"}
