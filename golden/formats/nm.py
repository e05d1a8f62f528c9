"""N:M kernel: every run of M rows holds at most N non-zeros, at stored places.

Index stream: one entry of log2(M) bits per slot, N slots per run of M rows, ascending; entries
run on from column to column, ``64 // log2(M)`` to a word.  Value stream: one byte per slot.  A
run with fewer than N non-zeros fills its slots with zeros of the same run, which cost their
cycle.  A last run shorter than M rows is filled up with zero rows; its slots may then name rows
behind the end of the tile, with value zero.
"""

import numpy as np

from ..errors import BadInput
from .base import Figures, Kernel, Parameter, Steps
from .counting import run_counts
from .entries import entries_per_word, pack_entries, unpack_entries, word_ends

__all__ = ["StructuredNM"]


class StructuredNM(Kernel):
    """Fixed number of slots per run of rows; one cycle per slot."""

    name = "nm"
    code = 4
    number = 3
    preference = 40
    summary = "N slots for every M rows"
    stores_zeros = True
    selective = True
    parameters = (
        Parameter(
            field="nm_n",
            path=("nm", "n"),
            default=2,
            choices=tuple(range(1, 16)),
            text="non-zeros in every run of m rows, below m",
            unit="rows",
            effect="slots per run, each a cycle",
        ),
        Parameter(
            field="nm_m",
            path=("nm", "m"),
            default=4,
            choices=(2, 4, 8, 16),
            text="rows of a run",
            unit="rows",
            effect="bits of a slot's place",
        ),
    )
    situations = ("slot filled with zero", "last run partial", "entries across columns")

    def __init__(self, nm_n: int = 2, nm_m: int = 4) -> None:
        self.n = nm_n
        self.m = nm_m
        self.bits = max(1, (nm_m - 1).bit_length())

    @property
    def entry_bits(self) -> int:
        return self.bits

    @property
    def run_rows(self) -> int:
        return self.m

    def most_entries(self, depth: int) -> int:
        return -(-depth // self.m) * self.n

    def trimmed(self, block: np.ndarray) -> np.ndarray:
        # Of each M rows the first N non-zero ones stay.
        runs = self._runs(block)
        runs[np.cumsum(runs != 0, axis=-1) > self.n] = 0
        return np.ascontiguousarray(runs.reshape(block.shape[1], -1)[:, : len(block)].T)

    def refusal(self) -> str:
        return f"they are not {self.n}:{self.m} sparse"

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
        occupied = runs != 0
        # The first zeros of a run fill the slots that its non-zeros leave free.
        free = self.n - np.count_nonzero(occupied, axis=-1, keepdims=True)
        taken = occupied | (np.cumsum(~occupied, axis=-1, dtype=np.int8) <= free)
        return pack_entries(np.flatnonzero(taken) % self.m, self.bits), runs[taken]

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

    def figures(self, occupied: np.ndarray) -> Figures:
        depth, columns = occupied.shape
        slots = np.full(columns, self.most_entries(depth), np.int64)
        held = run_counts(occupied, self.m).max(axis=0) <= self.n
        return Figures(slots, slots, slots, slots, held)

    def order(self, rng: np.random.Generator, depth: int, columns: int) -> np.ndarray:
        places = rng.permutation(depth * columns)
        # Within every run of M rows the N of least rank are allowed.
        rank = rng.random((columns, -(-depth // self.m), self.m)).argsort(axis=-1)
        allowed = (rank < self.n).reshape(columns, -1)[:, :depth].reshape(-1)
        return places[allowed[places]]

    def seen(self, block: np.ndarray, steps: Steps) -> set[str]:
        depth, columns = block.shape
        runs = (self._runs(block) != 0).sum(axis=-1)
        found = set()
        if (runs < self.n).any():
            found.add("slot filled with zero")
        if depth % self.m:
            found.add("last run partial")
        if columns > 1 and self.most_entries(depth) % entries_per_word(self.bits):
            found.add("entries across columns")
        return found
