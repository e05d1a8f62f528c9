"""Raw blocks to the statistics that the fuse selector weighs, as `rtl_gen.fuse.unit` takes them.

`rtl_gen.fuse.unit.FuseUnit` sees a block as a stream of INT8 values and keeps of it only what its
candidates ask for:

- *kept*: values of ``|x| >= 2**t``, for every distinct threshold t of theirs;
- *ragged*: the rows are no multiple of ``dense_rows``, so that no ``dense`` candidate holds them;
- *dropped* energy: ``4**(b - 1)`` for each value ``0 < |x| < 2**t`` of bit length b, and the
  energy of all values, where any t is above 0.

`describe_raw` says the same of whole blocks. What a `golden.selector.selector.Selector` of the
parameters' ``cycle_bits`` chooses for them is what the unit answers, bit for bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import BadInput
from ..formats import RUN_TIME
from ..shape import ArrayShape
from .block_check import check_block
from .candidates import COUNT_BITS, Blocks, Candidate, describe_blocks
from .selector import R_BITS
from .table import PerformanceTable

__all__ = [
    "BLOCKS_AHEAD",
    "OPERAND_WORDS",
    "WORD_ROWS_CHOICES",
    "UnitParameters",
    "describe_raw",
    "operand_candidates",
    "operand_columns",
    "raw_statistics",
    "raw_statistics_naive",
]

WORD_ROWS_CHOICES = (8, 16, 32, 64)
"""Values that the unit may read per cycle."""

BLOCKS_AHEAD = 4
"""Blocks of a run-time operand that the feeder holds whole, their headers not yet sent."""

OPERAND_WORDS = 512
"""Most 64-bit words of a block of a run-time operand; the feeder holds two such blocks."""

_OCTAVES = 8
_MAGNITUDES = _OCTAVES + 1
_CANDIDATES_MOST = 64
_SHAPES_MOST = 64


def operand_candidates(kernels: Sequence[str], lossy: bool) -> tuple[Candidate, ...]:
    """How an array may run a block of an operand that exists only at run time.

    As it stands in memory (``raw``), zeros skipped, or as ``dense`` rows if the array has that
    kernel; ``lossy`` adds ``raw`` at thresholds of 4 and 16. Nothing else can be encoded from
    raw bytes on the way. An array without ``raw`` has none.
    """
    if not set(kernels) & set(RUN_TIME):
        return ()
    found = [Candidate("raw")]
    if "dense" in kernels:
        found.append(Candidate("dense"))
    if lossy:
        found += [Candidate("raw", 2), Candidate("raw", 4)]
    return tuple(found)


def operand_columns(k_tile: int, columns: int) -> int:
    """Most columns of a block of a run-time operand: what the feeder's buffer holds twice.

    Args:
        k_tile, columns: of the array, see `golden.shape.ArrayShape`.
    """
    return min(columns, max(1, OPERAND_WORDS * 8 // k_tile))


@dataclass(frozen=True, kw_only=True)
class UnitParameters:
    """What a fuse unit is built for.

    Parameters
    ----------
    candidates : tuple of Candidate
        In order of their numbers, 1 to 64, of the kernels ``raw`` and ``dense``. An empty block
        takes the first, whatever it is.
    sizes : tuple of int
        Elements of a block of each shape number of the table, 1 to 64 shapes.
    k_tile, columns : int
        Most rows and columns of a block, 1 to 4096; together below 2**24 elements.
    word_rows : int
        Rows of a column that arrive together: 8, 16, 32 or 64.
    dense_rows : int
        A ``dense`` candidate holds blocks whose rows are a multiple of this, a power of two up to
        64; others are *ragged*.

    Raises
    ------
    BadInput
        Where a field breaks its rule.
    """

    candidates: tuple[Candidate, ...]
    sizes: tuple[int, ...]
    k_tile: int = 256
    columns: int = 16
    word_rows: int = 16
    dense_rows: int = 1

    def __post_init__(self) -> None:
        for name, most in (("candidates", _CANDIDATES_MOST), ("sizes", _SHAPES_MOST)):
            if not 1 <= len(getattr(self, name)) <= most:
                raise BadInput(
                    f"fuse unit: {name}: must have 1 to {most} entries, "
                    f"got {len(getattr(self, name))}"
                )
        for candidate in self.candidates:
            if candidate.kernel not in ("raw", "dense"):
                raise BadInput(
                    f"fuse unit: candidates: must be of the kernels raw and dense, "
                    f"got {candidate.kernel}"
                )
        limit = (1 << COUNT_BITS) - 1
        for name, value, most in (
            *(("sizes", size, limit) for size in self.sizes),
            ("k_tile", self.k_tile, 4096),
            ("columns", self.columns, 4096),
            ("k_tile * columns", self.k_tile * self.columns, limit),
        ):
            if not 1 <= value <= most:
                raise BadInput(f"fuse unit: {name}: must be 1 to {most}, got {value}")
        for name, known in (
            ("word_rows", WORD_ROWS_CHOICES),
            ("dense_rows", (1, 2, 4, 8, 16, 32, 64)),
        ):
            if getattr(self, name) not in known:
                listed = ", ".join(map(str, known))
                raise BadInput(
                    f"fuse unit: {name}: must be one of {listed}, got {getattr(self, name)}"
                )

    @classmethod
    def of_operand(cls, shape: ArrayShape, lossy: bool) -> "UnitParameters":
        """Return what chooses for the run-time operands of an array, 64 bits per cycle.

        A ``dense`` block's columns must fill whole beats of the weight streams.
        """
        columns = operand_columns(shape.k_tile, shape.columns)
        return cls(
            candidates=operand_candidates(shape.kernels, lossy),
            sizes=(shape.k_tile * columns,),
            k_tile=shape.k_tile,
            columns=columns,
            word_rows=8,
            dense_rows=shape.data_bits // 8,
        )

    @property
    def buffer_words(self) -> int:
        """64-bit words that the feeder holds: at least two of the largest blocks."""
        return 1 << (2 * self.columns * self.k_tile // 8 - 1).bit_length()

    @property
    def ragged_matters(self) -> bool:
        """Whether a block's rows may keep a candidate from holding it."""
        return self.dense_rows > 1 and any(c.kernel == "dense" for c in self.candidates)

    @property
    def count_bits(self) -> int:
        """Bits of a number of elements of one block."""
        return (self.k_tile * self.columns).bit_length()

    @property
    def cycle_bits(self) -> int:
        """Bits of R: room for 16 cycles per element of a full block, at most `R_BITS`."""
        return min(R_BITS, self.count_bits + 4)

    def dropped_bits(self, threshold: int) -> int:
        """Bits of the energy that a threshold above 0 drops of one block."""
        return self.count_bits + 2 * (threshold - 1)

    @property
    def energy_bits(self) -> int:
        """Bits of the energy of one block, 4**7 for each value at most."""
        return self.count_bits + 2 * (_OCTAVES - 1)

    @cached_property
    def thresholds(self) -> tuple[int, ...]:
        """Distinct thresholds of the candidates, and 0, which tells an empty block."""
        return tuple(sorted({0, *(c.threshold for c in self.candidates)}))

    @property
    def lossy(self) -> bool:
        """Whether any candidate drops values, so that errors are weighed."""
        return self.thresholds[-1] > 0

    @property
    def block_cycles(self) -> int:
        """Cycles from block to block that the unit needs, whatever the number of words.

        A candidate takes one; the relative error of a threshold takes a division of 17, done
        once for candidates of one threshold that follow each other.
        """
        ratios = 0
        before = 0
        for candidate in self.candidates:
            ratios += candidate.threshold not in (0, before)
            before = candidate.threshold or before
        return len(self.candidates) + 17 * ratios


def raw_statistics_naive(
    block: np.ndarray, parameters: UnitParameters
) -> tuple[list[int], list[bool]]:
    """The specification of `raw_statistics`: value after value, in the order of the stream."""
    p = parameters
    check_block("fuse unit", block, p.k_tile, p.columns)
    depth, columns = block.shape
    histogram = [0] * _MAGNITUDES
    for column in range(columns):
        for row in range(depth):
            histogram[abs(int(block[row, column])).bit_length()] += 1
    infeasible = [c.kernel == "dense" and depth % p.dense_rows != 0 for c in p.candidates]
    return histogram, infeasible


def raw_statistics(block: np.ndarray, parameters: UnitParameters) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of one int8 block of shape (depth, columns).

    Returns:
        log2-magnitude histogram (9,), and whether a candidate can't hold the block (C,).

    Raises:
        BadInput: the block is not int8 of two dimensions, is empty or larger than the parameters
            say.
    """
    p = parameters
    check_block("fuse unit", block, p.k_tile, p.columns)
    lengths = np.frexp(np.abs(block.astype(np.int16)).astype(np.float32))[1]
    dense = np.array([c.kernel == "dense" for c in p.candidates])
    return (
        np.bincount(lengths.reshape(-1), minlength=_MAGNITUDES).astype(np.int64),
        dense & (len(block) % p.dense_rows != 0),
    )


def describe_raw(
    table: PerformanceTable,
    parameters: UnitParameters,
    shape: np.ndarray,
    blocks: Sequence[np.ndarray],
) -> Blocks:
    """Statistics of blocks for the selector, from their values.

    Args:
        table: its shapes must have the parameters' sizes.
        parameters: of the unit.
        shape: (B,), shape numbers.
        blocks: B int8 arrays (depth, columns).

    Raises:
        BadInput: a block or the table does not suit the parameters.
    """
    sizes = tuple(depth * columns for depth, columns in table.shapes)
    if sizes != parameters.sizes:
        raise BadInput(
            f"fuse unit: sizes: must be those of the table's shapes, {sizes}, "
            f"got {parameters.sizes}"
        )
    found = [raw_statistics(block, parameters) for block in blocks]
    histogram, infeasible = (np.stack(part) for part in zip(*found, strict=True))
    # Rows stored in runs count for other kernels alone.
    stored = np.zeros(len(found), np.int64)
    return describe_blocks(table, parameters.candidates, shape, histogram, stored, infeasible)
