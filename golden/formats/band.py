"""Band kernel: one run of rows to a column, zeros inside the run included.

Index stream: one entry of 32 bits for each column, two to a word, the first in the low half:

| bits  | field | meaning                                        |
|-------|-------|------------------------------------------------|
| 15:0  | first | first row of the run; 0 in an empty column     |
| 31:16 | rows  | rows of the run; 0: the column has no non-zero |

Value stream: the ``rows`` bytes of each run.

No row costs an index bit, so banded, stencil and block-diagonal weights, whose columns hold one
run each, take little more than their values.  The decoder finds one row per cycle; an empty
column becomes a close token, which takes one event slot.
"""

import numpy as np

from .base import Figures, Kernel, Steps
from .entries import pack_entries, unpack_entries, word_ends

__all__ = ["ENTRY_BITS", "FIRST_BITS", "Band"]

ENTRY_BITS = 32
"""Bits of a column's entry."""

FIRST_BITS = 16
"""Bits of the first row; the number of rows takes the rest."""


class Band(Kernel):
    """From the first non-zero of a column to its last everything is stored; one cycle per row."""

    name = "band"
    code = 7
    number = 6
    preference = 20
    summary = "one run of rows to a column"
    stores_zeros = True
    clustered = True
    counted = False
    situations = ("close token", "zero inside a run", "run not at row 0", "entry left in a word")

    @property
    def entry_bits(self) -> int:
        return ENTRY_BITS

    def most_entries(self, depth: int) -> int:
        return 1

    @staticmethod
    def _runs(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First row and number of rows of each column's run, int64 (columns,); 0 and 0 if empty."""
        depth = len(occupied)
        # Products of 16 bits, as wide as an entry's fields, take a tenth of the time of `argmax`.
        marks, row = occupied.view(np.uint8), np.arange(1, depth + 1, dtype=np.uint16)[:, None]
        behind = (marks * row).max(axis=0).astype(np.int64)
        first = np.where(behind, depth - (marks * row[::-1]).max(axis=0).astype(np.int64), 0)
        return first, behind - first

    def _inside(self, first: np.ndarray, rows: np.ndarray, depth: int) -> np.ndarray:
        """Bool (columns, depth): the rows whose bytes are stored."""
        row = np.arange(depth)
        return (row >= first[:, None]) & (row < (first + rows)[:, None])

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, rows = self._runs(block != 0)
        stored = self._inside(first, rows, len(block))
        entries = first | rows << FIRST_BITS
        return pack_entries(entries, ENTRY_BITS), np.ascontiguousarray(block.T)[stored]

    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        entries = unpack_entries(index, ENTRY_BITS, columns)
        first, rows = entries & ((1 << FIRST_BITS) - 1), entries >> FIRST_BITS
        stored = self._inside(first, rows, depth)
        block = np.zeros((columns, depth), np.int8)
        block[stored] = values[: int(stored.sum())]
        return block.T.copy()

    def steps(self, block: np.ndarray) -> Steps:
        columns = block.shape[1]
        _, rows = self._runs(block != 0)
        taken = np.maximum(rows, 1)
        last = np.zeros(int(taken.sum()), bool)
        last[np.cumsum(taken) - 1] = True
        events = np.ones(len(last), np.uint8)
        events[last] = rows > 0
        word = np.zeros(len(last), bool)
        word[last] = word_ends(columns, ENTRY_BITS)
        return Steps(events, np.ones(len(last), bool), word, last)

    def figures(self, occupied: np.ndarray) -> Figures:
        columns = occupied.shape[1]
        _, rows = self._runs(occupied)
        taken = np.maximum(rows, 1)
        return Figures(taken, taken, np.ones(columns, np.int64), rows, np.ones(columns, bool))

    def order(self, rng: np.random.Generator, depth: int, columns: int) -> np.ndarray:
        # Each column's run begins at a row of its own and grows down, then up: always one run.
        row = np.arange(depth)
        low = rng.integers(0, depth, (columns, 1))
        rank = np.where(row >= low, row - low, depth - 1 - row)
        places = np.arange(columns)[:, None] * depth + row
        return places.reshape(-1)[np.argsort(rank.reshape(-1), kind="stable")]

    def seen(self, block: np.ndarray, steps: Steps) -> set[str]:
        first, rows = self._runs(block != 0)
        found = set()
        if (rows == 0).any():
            found.add("close token")
        if rows.sum() > np.count_nonzero(block):
            found.add("zero inside a run")
        if first.any():
            found.add("run not at row 0")
        if block.shape[1] % 2:
            found.add("entry left in a word")
        return found
