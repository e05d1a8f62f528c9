"""Dense kernel: every element is an event, zeros included.

Index stream: empty.  Value stream: ``depth`` bytes per column, column after column.
"""

import numpy as np

from .base import CHUNK, Kernel, Steps

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
        chunks = -(-depth // CHUNK)
        events = np.full((columns, chunks), CHUNK, np.uint8)
        events[:, -1] = depth - CHUNK * (chunks - 1)
        last = np.zeros((columns, chunks), bool)
        last[:, -1] = True
        size = columns * chunks
        return Steps(
            events.reshape(-1), np.ones(size, bool), np.zeros(size, bool), last.reshape(-1)
        )

    def column_cycles(self, occupied: np.ndarray) -> np.ndarray:
        depth, columns = occupied.shape
        return np.full(columns, depth, np.int64)
