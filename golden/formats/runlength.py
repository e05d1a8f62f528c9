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

from collections.abc import Sequence

import numba
import numpy as np

from .base import Figures, Kernel, Parameter, Steps
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


@numba.njit(cache=True)
def _list(occupied: np.ndarray, pad: int, end: int) -> np.ndarray:
    """Entries of columns, each a row of a bool (columns, depth)."""
    columns, depth = occupied.shape
    entries = np.empty(columns * (depth + 1) + occupied.size // pad, np.int64)
    size = 0
    for column in range(columns):
        gap = 0
        for row in range(depth):
            if not occupied[column, row]:
                gap += 1
                continue
            # A pad stands for as many zeros as its code; what is left is the gap itself.
            while gap >= pad:
                entries[size] = pad
                size += 1
                gap -= pad
            entries[size] = gap
            size += 1
            gap = 0
        entries[size] = end
        size += 1
    return entries[:size]


@numba.njit(cache=True)
def _count(occupied: np.ndarray, pad: int, taken: np.ndarray) -> None:
    """Slots, steps, entries and values of each column of a bool (depth, columns).

    It goes row by row and without branches, so that the compiler takes many columns at once;
    column by column it takes twenty times as long.
    """
    depth, columns = occupied.shape
    none, one, most = np.int32(0), np.int32(1), np.int32(pad)
    # Of the gap that each column is in: zeros behind its last pad, and pads.
    zeros = np.zeros(columns, np.int32)
    more = np.zeros(columns, np.int32)
    kept = np.zeros(columns, np.int32)
    lone = np.zeros(columns, np.int32)
    pads = np.zeros(columns, np.int32)
    padded = np.ones(columns, np.int32)
    for row in range(depth):
        marks = occupied[row]
        for column in range(columns):
            found = np.int32(marks[column])
            kept[column] += found
            pads[column] += found * more[column]
            # The first pad of a gap usually shares the gap's step.
            lone[column] += found * max(np.int32(more[column] - one), none)
            padded[column] = np.int32(more[column] > none) if marks[column] else padded[column]
            longer = np.int32(zeros[column] + one)
            full = np.int32(longer == most)
            more[column] = none if marks[column] else np.int32(more[column] + full)
            zeros[column] = none if marks[column] or full else longer
    for column in range(columns):
        taken[0, column] = max(kept[column] + lone[column], 1)
        # The END shares the step of the last gap, unless that one shares its own with a pad.
        taken[1, column] = kept[column] + lone[column] + padded[column]
        taken[2, column] = kept[column] + pads[column] + 1
        taken[3, column] = kept[column]


class RunLength(Kernel):
    """Gaps and values; one cycle per non-zero, more only for lone pads."""

    name = "runlength"
    code = 3
    number = 2
    preference = 60
    summary = "gaps between non-zeros and the non-zeros"
    paired = True
    parameters = (
        Parameter(
            field="gap_bits",
            path=("gap_bits",),
            default=4,
            choices=(3, 4, 5, 6, 7, 8),
            text="bits of a gap between non-zeros in the runlength kernel",
            unit="bits",
            effect="wider gaps need fewer pads on sparse columns and more bytes on dense ones",
        ),
    )
    situations = ("end with its gap", "close token", "lone pad", "pad with its gap")

    def __init__(self, gap_bits: int = 4) -> None:
        self.bits = gap_bits
        self.end = (1 << gap_bits) - 1
        self.pad = self.end - 1

    @property
    def _words(self) -> tuple[int, int, int]:
        return entries_per_word(self.bits), self.pad, self.end

    @property
    def entry_bits(self) -> int:
        return self.bits

    def most_entries(self, depth: int) -> int:
        return depth + 1

    @staticmethod
    def _gaps(occupied: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Column of each non-zero and the zeros before it in that column, column by column."""
        column, row = np.nonzero(occupied.T)
        gap = np.diff(row, prepend=-1) - 1
        begins = np.diff(column, prepend=-1) != 0
        gap[begins] = row[begins]
        return column, gap

    def _entries(self, occupied: np.ndarray) -> np.ndarray:
        """Entries of all columns, int64; ``occupied`` is bool (depth, columns)."""
        return _list(np.ascontiguousarray(occupied.T), self.pad, self.end)

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
        return Steps(*_walk(entries, *self._words))

    def figures(self, occupied: np.ndarray) -> Figures:
        columns = occupied.shape[1]
        taken = np.zeros((4, columns), np.int64)
        _count(np.ascontiguousarray(occupied), self.pad, taken)
        return Figures(*taken, held=np.ones(columns, bool))

    def cycles(self, occupied: np.ndarray) -> int:
        # A word's end may part a pair of entries, so steps are counted entry by entry.
        walked = _walk(self._entries(occupied), *self._words)
        return max(int(self.figures(occupied).slots.sum()), len(walked[0]))

    def seen(self, block: np.ndarray, steps: Steps) -> set[str]:
        silent = ~steps.push
        found = set()
        if silent.any():
            found.add("lone pad")
        if (self._gaps(block != 0)[1] // self.pad).sum() > silent.sum():
            found.add("pad with its gap")
        if (steps.last & (steps.events > 0)).any():
            found.add("end with its gap")
        if (steps.push & steps.last & (steps.events == 0)).any():
            found.add("close token")
        return found

    def possible(self, k_tile: int) -> Sequence[str]:
        # Two pads in a row leave one alone; of a single one it hangs on where a word ends.
        return [
            name
            for name in self.situations
            if (name != "lone pad" or 2 * self.pad < k_tile)
            and (name != "pad with its gap" or self.pad < k_tile)
        ]
