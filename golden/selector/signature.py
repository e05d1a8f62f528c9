"""Locality-sensitive signature of a block's occupancy, and the buckets of like blocks.

The signature is a SimHash (Charikar, "Similarity estimation techniques from rounding
algorithms", STOC 2002) of the block's *cells*.  A cell is 16 rows by ``cell_columns`` columns;
its feature is the number of non-zeros in it.  Bit p of the signature is the sign of the
projection on plane p:

    s[p] = sum over cells of plane[p][cell] * count[cell],    bit p = s[p] < 0

so the expected Hamming distance of two blocks is ``width * angle / pi``, with the angle between
their vectors of counts.  Two random blocks of one density agree in few single bits, so signatures
of single bits, sampled or hashed, see them as unlike; counts of cells average that noise out and
keep where in the block the non-zeros are (figures in docs/studies/block-signatures.md).  An empty
block has signature 0.

Planes: +1 and -1 from 64-bit xorshift generators (Marsaglia, "Xorshift RNGs", 2003), one for
every 16 planes, seeded with consecutive outputs of SplitMix64.  Each has a column state, stepped
with the shifts `COLUMN_SHIFTS` from one group of ``cell_columns`` columns to the next, and a word
state, which begins a column as the column state and is stepped with `WORD_SHIFTS` from one word
of 64 rows to the next.  Bit ``4 (p % 16) + i`` of the word state makes plane p negative on the
i-th 16 rows of the word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ..errors import BadInput

if TYPE_CHECKING:
    from .pattern import Pattern

__all__ = [
    "CELL_ROWS",
    "COLUMN_SHIFTS",
    "DEFAULT_SEED",
    "PLANES_PER_GENERATOR",
    "WORD_ROWS",
    "WORD_SHIFTS",
    "Bucket",
    "Buckets",
    "generator_seeds",
    "hamming",
    "signature",
    "signature_naive",
    "xorshift",
]

CELL_ROWS = 16
"""Rows of a cell: one chunk."""
WORD_ROWS = 64
"""Rows of a word of occupancy."""
PLANES_PER_GENERATOR = 64 // (WORD_ROWS // CELL_ROWS)
"""A generator has 64 bits of state; a plane takes one for each chunk of a word."""
WORD_SHIFTS = (13, 7, 17)
COLUMN_SHIFTS = (1, 35, 34)
DEFAULT_SEED = 0x5EED

_MASK = (1 << 64) - 1


def xorshift(state: int, shifts: tuple[int, int, int]) -> int:
    """One step of a 64-bit xorshift generator: left, right, left."""
    left, right, again = shifts
    state ^= (state << left) & _MASK
    state ^= state >> right
    return state ^ ((state << again) & _MASK)


def generator_seeds(width: int, seed: int) -> tuple[int, ...]:
    """First states of the generators that ``width`` planes need: SplitMix64, never zero."""
    states = []
    for i in range(1, -(-width // PLANES_PER_GENERATOR) + 1):
        z = (seed + i * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        # A xorshift generator never leaves state zero.
        states.append((z ^ (z >> 31)) or 1)
    return tuple(states)


def _check(occupied: np.ndarray, width: int, seed: int, cell_columns: int) -> None:
    if occupied.ndim != 2 or 0 in occupied.shape:
        raise BadInput(
            f"signature: occupied: must have at least one row and one column, got shape "
            f"{occupied.shape}"
        )
    if not 8 <= width <= 64:
        raise BadInput(f"signature: width: must be 8 to 64, got {width}")
    if not 0 <= seed <= _MASK:
        raise BadInput(f"signature: seed: must fit 64 bits, got {seed}")
    if cell_columns < 1:
        raise BadInput(f"signature: cell_columns: must be at least 1, got {cell_columns}")


def signature_naive(
    occupied: np.ndarray, width: int = 16, seed: int = DEFAULT_SEED, cell_columns: int = 4
) -> int:
    """The specification of `signature`: element after element, in the order of the stream."""
    _check(occupied, width, seed, cell_columns)
    depth, columns = occupied.shape
    sums = [0] * width
    column_states = list(generator_seeds(width, seed))
    for column in range(columns):
        if column and column % cell_columns == 0:
            column_states = [xorshift(state, COLUMN_SHIFTS) for state in column_states]
        states = column_states
        for row in range(depth):
            if row and row % WORD_ROWS == 0:
                states = [xorshift(state, WORD_SHIFTS) for state in states]
            if occupied[row, column]:
                cell = row % WORD_ROWS // CELL_ROWS
                for plane in range(width):
                    generator, place = divmod(plane, PLANES_PER_GENERATOR)
                    minus = states[generator] >> (4 * place + cell) & 1
                    sums[plane] += -1 if minus else 1
    return sum((total < 0) << plane for plane, total in enumerate(sums))


@lru_cache(maxsize=64)
def _planes(width: int, seed: int, words: int, groups: int) -> np.ndarray:
    """Planes as int64 (width, 4 * words * groups): chunks of the first column group first."""
    generators = generator_seeds(width, seed)
    states = np.zeros((len(generators), groups, words), np.uint64)
    for generator, column_state in enumerate(generators):
        for group in range(groups):
            state = column_state
            for word in range(words):
                states[generator, group, word] = state
                state = xorshift(state, WORD_SHIFTS)
            column_state = xorshift(column_state, COLUMN_SHIFTS)
    minus = states[..., None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)
    # (generator, group, word, plane, chunk) to (generator, plane, group, word, chunk).
    minus = minus.reshape(len(generators), groups, words, PLANES_PER_GENERATOR, 4)
    minus = minus.transpose(0, 3, 1, 2, 4).reshape(-1, 4 * words * groups)[:width]
    planes = 1 - 2 * minus.astype(np.int64)
    planes.flags.writeable = False
    return planes


def signature(
    occupied: np.ndarray, width: int = 16, seed: int = DEFAULT_SEED, cell_columns: int = 4
) -> int:
    """SimHash of a block's cells.

    Args:
        occupied: bool, shape (depth, columns), both >= 1.
        width: planes, the bits of the signature, 8 to 64.
        seed: of the planes, 64 bits.
        cell_columns: columns of a cell, >= 1.

    Returns:
        Unsigned integer of ``width`` bits.

    Raises:
        BadInput: an argument breaks its rule.
    """
    _check(occupied, width, seed, cell_columns)
    depth, columns = occupied.shape
    words, groups = -(-depth // WORD_ROWS), -(-columns // cell_columns)
    padded = np.zeros((groups * cell_columns, words * WORD_ROWS), bool)
    padded[:columns, :depth] = occupied.T
    counts = padded.reshape(groups, cell_columns, -1, CELL_ROWS).sum(axis=(1, 3), dtype=np.int64)
    sums = _planes(width, seed, words, groups) @ counts.reshape(-1)
    return int(sum(1 << int(plane) for plane in np.flatnonzero(sums < 0)))


def hamming(left: int, right: int) -> int:
    """Number of bits in which two signatures differ."""
    return (left ^ right).bit_count()


@dataclass
class Bucket:
    """Blocks that are alike, and the sum of their statistics.

    Attributes:
        signature: of the first block; later ones lie within the radius of it.
        depth: rows, the same for all blocks of the bucket.
        octave: density class of all blocks, see `Pattern.octave`.
        blocks, columns, occupied: sums over the blocks.
        column_histogram, magnitude_histogram: int64, sums over the blocks.
        peaks: largest over the blocks, so that ``nm`` holds every block where it holds these.
    """

    signature: int
    depth: int
    octave: int
    column_histogram: np.ndarray
    magnitude_histogram: np.ndarray
    peaks: tuple[int, ...]
    blocks: int = 0
    columns: int = 0
    occupied: int = 0

    def merge(self, pattern: Pattern) -> None:
        """Add one block's statistics."""
        self.blocks += 1
        self.columns += pattern.columns
        self.occupied += pattern.occupied
        self.column_histogram += np.array(pattern.column_histogram)
        self.magnitude_histogram += np.array(pattern.magnitude_histogram)
        self.peaks = tuple(max(pair) for pair in zip(self.peaks, pattern.peaks, strict=True))


@dataclass
class Buckets:
    """Groups like blocks; the order of the blocks alone decides the buckets.

    Two blocks can share a bucket if they have the same depth, the same density class and the
    same `Pattern.half_full` runs: a SimHash sees directions and no lengths, and cells are too
    coarse to see N:M structure.  Among the buckets of that class a block joins the one whose
    signature is nearest (the oldest of equals) if it lies within the radius, and opens a new one
    otherwise.

    Parameters
    ----------
    radius : int
        Largest Hamming distance within a bucket, >= 0; 0 asks for equal signatures.

    Raises
    ------
    BadInput
        Where the radius is negative, or a pattern has other bins than those before it.
    """

    radius: int = 2
    buckets: list[Bucket] = field(default_factory=list, init=False)
    _classes: dict[tuple, list[int]] = field(default_factory=dict, init=False, repr=False)
    _bins: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise BadInput(f"buckets: radius: must be at least 0, got {self.radius}")

    def __len__(self) -> int:
        return len(self.buckets)

    def __getitem__(self, number: int) -> Bucket:
        return self.buckets[number]

    def add(self, pattern: Pattern) -> int:
        """Put a block into its bucket; return the bucket's number, counted from 0."""
        bins = len(pattern.column_histogram)
        if self._bins not in (0, bins):
            raise BadInput(
                f"buckets: column_histogram: must have {self._bins} bins as before, got {bins}"
            )
        self._bins = bins
        kin = self._classes.setdefault((pattern.depth, pattern.octave, pattern.half_full), [])
        distances = [hamming(self.buckets[i].signature, pattern.signature) for i in kin]
        if distances and min(distances) <= self.radius:
            number = kin[distances.index(min(distances))]
        else:
            number = len(self.buckets)
            kin.append(number)
            self.buckets.append(
                Bucket(
                    signature=pattern.signature,
                    depth=pattern.depth,
                    octave=pattern.octave,
                    column_histogram=np.zeros(bins, np.int64),
                    magnitude_histogram=np.zeros(len(pattern.magnitude_histogram), np.int64),
                    peaks=pattern.peaks,
                )
            )
        self.buckets[number].merge(pattern)
        return number
