"""Index words made of small entries of equal width, the first in the low bits."""

import numpy as np

__all__ = ["entries_per_word", "pack_entries", "unpack_entries", "word_ends"]


def entries_per_word(bits: int) -> int:
    """Entries of ``bits`` bits in a 64-bit word; bits that are left over stay zero."""
    return 64 // bits


def pack_entries(entries: np.ndarray, bits: int) -> np.ndarray:
    """Pack a 1-D array of unsigned entries into uint64 words."""
    per_word = entries_per_word(bits)
    padded = np.zeros(-(-len(entries) // per_word) * per_word, np.uint64)
    padded[: len(entries)] = entries
    shifts = (np.arange(per_word) * bits).astype(np.uint64)
    return np.bitwise_or.reduce(padded.reshape(-1, per_word) << shifts, axis=1)


def unpack_entries(words: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Inverse of `pack_entries`: the first ``count`` entries, int64."""
    per_word = entries_per_word(bits)
    shifts = (np.arange(per_word) * bits).astype(np.uint64)
    entries = (words[:, None] >> shifts) & np.uint64((1 << bits) - 1)
    return entries.reshape(-1)[:count].astype(np.int64)


def word_ends(count: int, bits: int) -> np.ndarray:
    """Bool (count,): the entry is the last one taken from its word."""
    per_word = entries_per_word(bits)
    ends = np.arange(count) % per_word == per_word - 1
    ends[-1] = True
    return ends
