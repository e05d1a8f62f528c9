"""Block kernel: dense runs of rows, empty runs left out.

Index stream: for every 16-row chunk of a column one entry of ``16 / R`` bits, bit i = run i of R
rows is occupied; entries run on from column to column, ``64 R / 16`` to a word.  Value stream:
all R bytes of each occupied run, zeros included (fewer where the tile ends inside a run).

The decoder walks one chunk per cycle; an empty chunk costs one decoder cycle, hidden while the
scanner has events; an empty chunk that ends its column becomes a close token.
"""

import numpy as np

from ..shape import ArrayShape
from .base import CHUNK, Kernel, Steps
from .entries import pack_entries, unpack_entries, word_ends

__all__ = ["BlockRuns"]


class BlockRuns(Kernel):
    """Occupied runs of R rows are dense; one cycle per stored row."""

    name = "block"
    code = 5
    scanned = True

    def __init__(self, rows: int = 8) -> None:
        self.rows = rows
        self.bits = CHUNK // rows

    def configured(self, shape: ArrayShape) -> "BlockRuns":
        return BlockRuns(shape.block_rows)

    def _occupied(self, block: np.ndarray) -> np.ndarray:
        """Return bool (columns, chunks, runs)."""
        depth, columns = block.shape
        chunks = -(-depth // CHUNK)
        padded = np.zeros((columns, chunks * CHUNK), bool)
        padded[:, :depth] = (block != 0).T
        return np.any(padded.reshape(columns, chunks, self.bits, self.rows), axis=-1)

    def _stored(self, occupied: np.ndarray, depth: int) -> np.ndarray:
        """Return bool (columns, depth): the rows whose bytes are stored."""
        return np.repeat(occupied.reshape(len(occupied), -1), self.rows, axis=1)[:, :depth]

    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        occupied = self._occupied(block)
        entries = (occupied << np.arange(self.bits)).sum(axis=-1).reshape(-1)
        stored = self._stored(occupied, block.shape[0])
        return pack_entries(entries, self.bits), np.ascontiguousarray(block.T)[stored]

    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        chunks = -(-depth // CHUNK)
        entries = unpack_entries(index, self.bits, columns * chunks)
        occupied = ((entries[:, None] >> np.arange(self.bits)) & 1).astype(bool)
        stored = self._stored(occupied.reshape(columns, chunks, self.bits), depth)
        block = np.zeros((columns, depth), np.int8)
        block[stored] = values[: int(stored.sum())]
        return block.T.copy()

    def steps(self, block: np.ndarray) -> Steps:
        depth, columns = block.shape
        occupied = self._occupied(block)
        chunks = occupied.shape[1]
        stored = np.zeros((columns, chunks * CHUNK), bool)
        stored[:, :depth] = self._stored(occupied, depth)
        events = stored.reshape(columns * chunks, CHUNK).sum(axis=1).astype(np.uint8)
        last = np.arange(columns * chunks) % chunks == chunks - 1
        return Steps(events, (events != 0) | last, word_ends(len(events), self.bits), last)

    def column_cycles(self, occupied: np.ndarray) -> np.ndarray:
        depth, _ = occupied.shape
        runs = self._occupied(occupied)
        stored = self._stored(runs, depth).sum(axis=1, dtype=np.int64)
        return stored + ~runs[:, -1].any(axis=1)
