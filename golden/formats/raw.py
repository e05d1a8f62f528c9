"""Raw kernel: a dense operand as it stands in memory; only its non-zeros become events.

Index stream: the bytes of the block, column by column, eight to a word, row r of a column in
byte ``r % 8`` of its word ``r // 8``; a column ends with a whole word, filled up with zeros.
Value stream: empty, since the events carry their bytes.

Nothing has to be encoded, so the kernel suits operands that exist only at run time.  For weights,
which are known before, the others hold the same events in fewer words.

The decoder finds the non-zeros of one word per cycle and hands them to the scanner.  An empty word
costs one decoder cycle, hidden while the scanner has events; an empty word that ends its column
becomes a close token.
"""

import numpy as np

from .base import WORD_BITS, Figures, Kernel, Steps

__all__ = ["Raw"]

WORD = 8
"""Rows in a word."""


def _words(block: np.ndarray) -> np.ndarray:
    """Return (columns, words, 8) of the block's type, padded with zeros."""
    depth, columns = block.shape
    words = -(-depth // WORD)
    padded = np.zeros((columns, words * WORD), block.dtype)
    padded[:, :depth] = block.T
    return padded.reshape(columns, words, WORD)


class Raw(Kernel):
    """Bytes in, events of the non-zeros out; one cycle per non-zero or empty word."""

    name = "raw"
    code = 6
    number = 5
    preference = 70
    summary = "a dense operand as it stands in memory, its zeros skipped"
    run_time = True
    scanned = True
    carries_values = True
    situations = ("empty word inside a column", "close token", "zero inside a word")

    @property
    def entry_bits(self) -> int:
        return WORD_BITS

    def most_entries(self, depth: int) -> int:
        return -(-depth // WORD)

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        words = _words(block).reshape(-1).view("<u8").astype(np.uint64)
        return words, np.empty(0, np.int8)

    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        words = -(-depth // WORD)
        raw = np.asarray(index[: columns * words], "<u8").view(np.int8)
        return raw.reshape(columns, words * WORD)[:, :depth].T.copy()

    def steps(self, block: np.ndarray) -> Steps:
        words = _words(block != 0)
        events = words.sum(axis=-1, dtype=np.uint8)
        last = np.zeros(events.shape, bool)
        last[:, -1] = True
        events, last = events.reshape(-1), last.reshape(-1)
        return Steps(events, (events != 0) | last, np.ones(len(events), bool), last)

    def figures(self, occupied: np.ndarray) -> Figures:
        depth, columns = occupied.shape
        words = -(-depth // WORD)
        kept = occupied.sum(axis=0, dtype=np.int64)
        close = ~occupied[(words - 1) * WORD :].any(axis=0)
        entries = np.full(columns, words, np.int64)
        none = np.zeros(columns, np.int64)
        return Figures(kept + close, entries, entries, none, np.ones(columns, bool))

    def seen(self, block: np.ndarray, steps: Steps) -> set[str]:
        found = set()
        if (~steps.push & steps.word).any():
            found.add("empty word inside a column")
        if (steps.push & steps.last & (steps.events == 0)).any():
            found.add("close token")
        if ((steps.events > 0) & (steps.events < WORD) & ~steps.last).any():
            found.add("zero inside a word")
        return found
