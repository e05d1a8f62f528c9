"""N:M kernel: every run of M rows holds at most N non-zeros, at stored places.

Index stream: one entry of log2(M) bits per slot, N slots per run of M rows, ascending; entries
run on from column to column, ``64 // log2(M)`` to a word.  Value stream: one byte per slot.  A
run with fewer than N non-zeros fills its slots with zeros of the same run, which cost their
cycle.  A last run shorter than M rows is filled up with zero rows; its slots may then name rows
behind the end of the tile, with value zero.
"""

import numpy as np

from ..errors import BadInput
from ..shape import ArrayShape
from .base import Kernel, Steps
from .entries import pack_entries, unpack_entries, word_ends

__all__ = ["StructuredNM"]


class StructuredNM(Kernel):
    """Fixed number of slots per run of rows; one cycle per slot."""

    name = "nm"
    code = 4

    def __init__(self, n: int = 2, m: int = 4) -> None:
        self.n = n
        self.m = m
        self.bits = max(1, (m - 1).bit_length())

    def configured(self, shape: ArrayShape) -> "StructuredNM":
        return StructuredNM(shape.nm_n, shape.nm_m)

    def _runs(self, block: np.ndarray) -> np.ndarray:
        """Return int8 (columns, runs, m), padded with zero rows."""
        depth, columns = block.shape
        runs = -(-depth // self.m)
        padded = np.zeros((columns, runs * self.m), np.int8)
        padded[:, :depth] = block.T
        return padded.reshape(columns, runs, self.m)

    def accepts(self, block: np.ndarray) -> bool:
        return bool(((self._runs(block) != 0).sum(axis=-1) <= self.n).all())

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not self.accepts(block):
            raise BadInput(
                f"kernel nm: every {self.m} rows must hold at most {self.n} non-zeros, "
                f"the weights do not"
            )
        runs = self._runs(block)
        # Non-zeros first, then zeros, each in ascending order; then all slots ascending.
        order = np.argsort(runs == 0, axis=-1, kind="stable")[..., : self.n]
        slots = np.sort(order, axis=-1)
        values = np.take_along_axis(runs, slots, axis=-1).reshape(-1)
        return pack_entries(slots.reshape(-1), self.bits), values

    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        runs = -(-depth // self.m)
        count = columns * runs * self.n
        slots = unpack_entries(index, self.bits, count).reshape(columns, runs, self.n)
        block = np.zeros((columns, runs, self.m), np.int8)
        np.put_along_axis(block, slots, values[:count].reshape(columns, runs, self.n), axis=-1)
        return block.reshape(columns, runs * self.m)[:, :depth].T.copy()

    def steps(self, block: np.ndarray) -> Steps:
        depth, columns = block.shape
        per_column = -(-depth // self.m) * self.n
        size = columns * per_column
        last = np.arange(size) % per_column == per_column - 1
        return Steps(np.ones(size, np.uint8), np.ones(size, bool), word_ends(size, self.bits), last)

    def column_cycles(self, occupied: np.ndarray) -> np.ndarray:
        depth, columns = occupied.shape
        return np.full(columns, -(-depth // self.m) * self.n, np.int64)
