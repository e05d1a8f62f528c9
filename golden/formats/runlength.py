"""Run-length kernel: gaps between non-zeros.

Index stream: entries of G bits, ``64 // G`` to a word, running on from column to column:

| entry            | meaning                                       |
|------------------|-----------------------------------------------|
| 0 .. 2**G - 3    | that many zeros, then a non-zero              |
| 2**G - 2 (PAD)   | 2**G - 2 zeros and nothing                    |
| 2**G - 1 (END)   | the column ends                               |

Value stream: the non-zero bytes.

The decoder sees two entries of a word at once: a PAD and the gap behind it, or a gap and the END
behind it, take one step together.  Where the word ends between the two, a lone PAD costs a step
and a lone END is a close token, which takes an event slot.
"""

import numba
import numpy as np

from ..shape import ArrayShape
from .base import Kernel, Steps
from .entries import entries_per_word, pack_entries, unpack_entries

__all__ = ["RunLength"]


@numba.njit(cache=True)
def _walk(
    entries: np.ndarray, per_word: int, pad: int, end: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    events = np.zeros(len(entries), np.uint8)
    push = np.zeros(len(entries), np.bool_)
    word = np.zeros(len(entries), np.bool_)
    last = np.zeros(len(entries), np.bool_)
    at = 0
    step = 0
    while at < len(entries):
        first = entries[at]
        alone = at % per_word == per_word - 1 or at == len(entries) - 1
        second = -1 if alone else entries[at + 1]
        taken = 1
        if first == end:
            push[step] = True
            last[step] = True
        elif first == pad:
            if 0 <= second < pad:
                push[step] = True
                events[step] = 1
                taken = 2
        else:
            push[step] = True
            events[step] = 1
            if second == end:
                last[step] = True
                taken = 2
        at += taken
        word[step] = at % per_word == 0 or at == len(entries)
        step += 1
    return events[:step], push[:step], word[:step], last[:step]


class RunLength(Kernel):
    """Gaps and values; one cycle per non-zero, more only for lone pads."""

    name = "runlength"
    code = 3

    def __init__(self, bits: int = 4) -> None:
        self.bits = bits
        self.end = (1 << bits) - 1
        self.pad = self.end - 1

    def configured(self, shape: ArrayShape) -> "RunLength":
        return RunLength(shape.gap_bits)

    @staticmethod
    def _gaps(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column of each non-zero and the zeros before it in that column, column by column."""
        column, row = np.nonzero(occupied.T)
        gap = np.diff(row, prepend=-1) - 1
        begins = np.diff(column, prepend=-1) != 0
        gap[begins] = row[begins]
        return column, gap

    def _entries(self, occupied: np.ndarray) -> np.ndarray:
        """Entries of all columns; ``occupied`` is bool (depth, columns)."""
        columns = occupied.shape[1]
        column, gap = self._gaps(occupied)
        pads, rest = np.divmod(gap, self.pad)
        # Pads, then the gap itself; END after the last entry of each column.
        sizes = pads + 1
        per_column = np.bincount(column, weights=sizes, minlength=columns).astype(np.int64) + 1
        entries = np.full(int(per_column.sum()), self.pad, np.int64)
        entries[np.cumsum(per_column) - 1] = self.end
        entries[np.cumsum(sizes) - 1 + column] = rest
        return entries

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        transposed = np.ascontiguousarray(block.T)
        return pack_entries(self._entries(block != 0), self.bits), transposed[transposed != 0]

    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        entries = unpack_entries(index, self.bits, len(index) * entries_per_word(self.bits))
        block = np.zeros((columns, depth), np.int8)
        column = row = taken = 0
        for entry in entries:
            if column == columns:
                break
            if entry == self.end:
                column, row = column + 1, 0
            elif entry == self.pad:
                row += self.pad
            else:
                row += entry
                block[column, row] = values[taken]
                row, taken = row + 1, taken + 1
        return block.T.copy()

    def steps(self, block: np.ndarray) -> Steps:
        entries = self._entries(block != 0)
        return Steps(*_walk(entries, entries_per_word(self.bits), self.pad, self.end))

    def column_cycles(self, occupied: np.ndarray) -> np.ndarray:
        columns = occupied.shape[1]
        column, gap = self._gaps(occupied)
        # The first pad of a gap is usually free; a column costs at least its close token.
        lone = np.maximum(gap // self.pad - 1, 0)
        cost = np.bincount(column, weights=1 + lone, minlength=columns).astype(np.int64)
        return np.maximum(cost, 1)
