"""Block kernel: dense runs of rows, empty runs left out.

Index stream: for every 16-row chunk of a column one entry of ``16 / R`` bits, bit i = run i of R
rows is occupied; entries run on from column to column, ``64 R / 16`` to a word.  Value stream:
all R bytes of each occupied run, zeros included (fewer where the tile ends inside a run).

The decoder walks one chunk per cycle; an empty chunk costs one decoder cycle, hidden while the
scanner has events; an empty chunk that ends its column becomes a close token.
"""

from collections.abc import Sequence

import numpy as np

from .base import CHUNK, Figures, Kernel, Parameter, Steps
from .counting import column_counts, run_counts
from .entries import pack_entries, unpack_entries, word_ends

__all__ = ["BlockRuns"]


class BlockRuns(Kernel):
    """Occupied runs of R rows are dense; one cycle per stored row."""

    name = "block"
    code = 5
    number = 4
    preference = 30
    summary = "dense runs of rows, empty runs left out"
    scanned = True
    stores_zeros = True
    clustered = True
    parameters = (
        Parameter(
            field="block_rows",
            path=("block_rows",),
            default=8,
            choices=(1, 2, 4, 8, 16),
            text="rows of a run in the block kernel",
            unit="rows",
            effect="longer runs need fewer occupancy bits and store more zeros",
        ),
    )
    situations = ("run passed over", "close token", "zero stored in a run", "last run partial")

    def __init__(self, block_rows: int = 8) -> None:
        self.rows = block_rows
        self.bits = CHUNK // block_rows

    @property
    def entry_bits(self) -> int:
        return self.bits

    @property
    def run_rows(self) -> int:
        return self.rows

    def most_entries(self, depth: int) -> int:
        return -(-depth // CHUNK)

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

    def figures(self, occupied: np.ndarray) -> Figures:
        depth, columns = occupied.shape
        runs = run_counts(occupied, self.rows) != 0
        # The last run may be shorter than the others.
        stored = column_counts(runs) * self.rows - runs[-1] * (-depth % self.rows)
        chunks = np.full(columns, -(-depth // CHUNK), np.int64)
        close = ~runs[(depth - 1) // CHUNK * self.bits :].any(axis=0)
        return Figures(stored + close, chunks, chunks, stored, np.ones(columns, bool))

    def order(self, rng: np.random.Generator, depth: int, columns: int) -> np.ndarray:
        size = depth * columns
        ranks = rng.permutation(size)
        # All rows of a run have its rank, so that runs fill one after another.
        runs = np.arange(size) // depth * depth + np.arange(size) % depth // self.rows
        return np.argsort(ranks[runs], kind="stable")

    def seen(self, block: np.ndarray, steps: Steps) -> set[str]:
        depth = len(block)
        counts = run_counts(block != 0, self.rows)
        found = set()
        if (counts == 0).any():
            found.add("run passed over")
        if (steps.push & steps.last & (steps.events == 0)).any():
            found.add("close token")
        if ((counts > 0) & (counts < self.rows)).any():
            found.add("zero stored in a run")
        if depth % self.rows:
            found.add("last run partial")
        return found

    def possible(self, k_tile: int) -> Sequence[str]:
        # Runs of one row hold no zeros and end nowhere but with the column.
        return self.situations if self.rows > 1 else self.situations[:2]
