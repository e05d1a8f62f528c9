"""Bitmap kernel: occupancy bits and packed non-zero values.

Index stream: ``ceil(depth / 64)`` words per column; bit ``i`` of word ``w`` says that row
``64 w + i`` is non-zero.  Value stream: the non-zero bytes in the order of the bits.

The decoder hands the occupied 16-row chunks of 64 rows to the scanner, one per cycle.  An empty
word costs one decoder cycle, hidden while the scanner still has events; an empty word that ends its
column becomes a close token, which takes one event slot.
"""

from collections.abc import Sequence

import numpy as np

from .base import CHUNK, WORD_BITS, Figures, Kernel, Steps
from .counting import run_counts

__all__ = ["Bitmap"]

WORD = WORD_BITS
"""Rows in an index word."""


def _occupancy(block: np.ndarray) -> np.ndarray:
    """Return bool, shape (columns, words, 64), padded with False."""
    depth, columns = block.shape
    words = -(-depth // WORD)
    occupied = np.zeros((columns, words * WORD), bool)
    occupied[:, :depth] = (block != 0).T
    return occupied.reshape(columns, words, WORD)


class Bitmap(Kernel):
    """Occupancy bits plus packed values; one cycle per non-zero."""

    name = "bitmap"
    code = 2
    number = 1
    preference = 50
    summary = "a bit per row and the non-zeros"
    scanned = True
    takes_words = True
    situations = ("empty word inside a column", "close token", "chunk passed over")

    @property
    def entry_bits(self) -> int:
        return WORD

    def most_entries(self, depth: int) -> int:
        return -(-depth // WORD)

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        packed = np.packbits(_occupancy(block), axis=-1, bitorder="little")
        transposed = np.ascontiguousarray(block.T)
        return packed.reshape(-1).view("<u8").astype(np.uint64), transposed[transposed != 0]

    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        words = -(-depth // WORD)
        raw = np.asarray(index[: columns * words], "<u8").view(np.uint8)
        occupied = np.unpackbits(raw, bitorder="little").reshape(columns, words * WORD)
        occupied = occupied[:, :depth].astype(bool)
        block = np.zeros((columns, depth), np.int8)
        block[occupied] = values[: int(occupied.sum())]
        return block.T.copy()

    def steps(self, block: np.ndarray) -> Steps:
        chunks = _occupancy(block).reshape(-1, WORD // CHUNK, CHUNK).sum(-1)
        words_per_column = -(-block.shape[0] // WORD)
        words = chunks.shape[0]
        final = np.arange(words) % words_per_column == words_per_column - 1
        empty = ~chunks.any(axis=1)
        # An empty word is one step; it stands in the place of the word's last chunk.
        keep = chunks != 0
        keep[:, -1] |= empty
        position = np.arange(WORD // CHUNK)
        last_kept = np.where(keep, position, -1).max(axis=1)
        word = keep & (position == last_kept[:, None])
        last = word & final[:, None]
        push = (chunks != 0) | last
        return Steps(chunks[keep].astype(np.uint8), push[keep], word[keep], last[keep])

    def figures(self, occupied: np.ndarray) -> Figures:
        depth, columns = occupied.shape
        words = -(-depth // WORD)
        chunks = run_counts(occupied, CHUNK)
        kept = chunks.sum(axis=0, dtype=np.int64)
        # Steps: the occupied chunks, and one for each word without any.
        found = run_counts(chunks != 0, WORD // CHUNK)
        steps = np.maximum(found, 1).sum(axis=0, dtype=np.int64)
        close = found[-1] == 0
        entries = np.full(columns, words, np.int64)
        return Figures(kept + close, steps, entries, kept, np.ones(columns, bool))

    def seen(self, block: np.ndarray, steps: Steps) -> set[str]:
        found = set()
        if (~steps.push & steps.word).any():
            found.add("empty word inside a column")
        if (steps.push & steps.last & (steps.events == 0)).any():
            found.add("close token")
        if any(CHUNK < row < len(block) - 1 for row in (block != 0).argmax(axis=0)):
            found.add("chunk passed over")
        return found

    def possible(self, k_tile: int) -> Sequence[str]:
        return self.situations if k_tile > WORD else self.situations[1:]
