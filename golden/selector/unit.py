"""Raw blocks to the statistics that the fuse selector weighs, as `rtl_gen.fuse.unit` takes them.

`rtl_gen.fuse.unit.FuseUnit` sees a block as a stream of INT8 values and keeps of it only what its
candidates ask for, per distinct threshold t of theirs:

- *kept*: values of ``|x| >= 2**t``, for every t;
- *stored*: rows of the ``block`` kernel's occupied runs, for each t of a clustered candidate;
- *crowded*: some M rows hold more than N values, for each t of an ``nm`` candidate;
- *dropped* energy: ``4**(b - 1)`` for each value ``0 < |x| < 2**t`` of bit length b, and the
  energy of all values, where any t is above 0.

`describe_raw` says the same of whole blocks. What a `golden.selector.selector.Selector` of the
parameters' ``cycle_bits`` chooses for them is what the unit answers, bit for bit. A kernel that
can't hold a block at its candidate's threshold is infeasible; everything else is
`golden.selector.candidates.describe_blocks`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import BadInput
from ..formats import KERNELS, STORED
from ..shape import ArrayShape
from .block_check import check_block
from .candidates import COUNT_BITS, Blocks, Candidate, describe_blocks
from .selector import R_BITS
from .table import PerformanceTable

__all__ = [
    "WORD_ROWS_CHOICES",
    "UnitParameters",
    "default_candidates",
    "describe_raw",
    "lossy_candidates",
    "raw_statistics",
    "raw_statistics_naive",
]

WORD_ROWS_CHOICES = (8, 16, 32, 64)
"""Values that the unit may read per cycle."""

_OCTAVES = 8
_MAGNITUDES = _OCTAVES + 1
_CANDIDATES_MOST = 64
_SHAPES_MOST = 64


def _lists_zeros(kernel: str) -> bool:
    """Whether zeros cost a kernel as much as non-zeros do, wherever they stand."""
    return KERNELS[kernel].stores_zeros and not KERNELS[kernel].clustered


def default_candidates(kernels: Sequence[str]) -> tuple[Candidate, ...]:
    """Every kernel that a table may hold, without a threshold; those that skip zeros first.

    An empty block takes candidate 0, whatever it is, so that one must make empty blocks cheap.
    """
    measured = [kernel for kernel in kernels if kernel in STORED and KERNELS[kernel].counted]
    return tuple(Candidate(kernel) for kernel in sorted(measured, key=_lists_zeros))


def lossy_candidates(kernels: Sequence[str]) -> tuple[Candidate, ...]:
    """The default candidates, and thresholds of 4 and 16 for the kernels that skip what they drop.

    Those are ``bitmap`` at both and ``block`` at 4, or else the first kernel at both.
    """
    exact = default_candidates(kernels)
    wanted = (Candidate("bitmap", 2), Candidate("block", 2), Candidate("bitmap", 4))
    chosen = tuple(candidate for candidate in wanted if candidate.kernel in kernels)
    if not chosen:
        chosen = tuple(Candidate(exact[0].kernel, threshold) for threshold in (2, 4))
    return exact + chosen


@dataclass(frozen=True, kw_only=True)
class UnitParameters:
    """What a fuse unit is built for.

    Parameters
    ----------
    candidates : tuple of Candidate
        In order of their numbers, 1 to 64.
    sizes : tuple of int
        Elements of a block of each shape number of the table, 1 to 64 shapes.
    k_tile, columns : int
        Most rows and columns of a block, 1 to 4096; together below 2**24 elements.
    word_rows : int
        Rows of a column that arrive together: 8, 16, 32 or 64.
    block_rows : int
        Rows of a run of the ``block`` kernel: 1, 2, 4, 8 or 16.
    nm_n, nm_m : int
        At most N non-zeros in M rows for the ``nm`` kernel; M is 2, 4, 8 or 16 and N below M.

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
    block_rows: int = 8
    nm_n: int = 2
    nm_m: int = 4

    def __post_init__(self) -> None:
        for name, most in (("candidates", _CANDIDATES_MOST), ("sizes", _SHAPES_MOST)):
            if not 1 <= len(getattr(self, name)) <= most:
                raise BadInput(
                    f"fuse unit: {name}: must have 1 to {most} entries, "
                    f"got {len(getattr(self, name))}"
                )
        limit = (1 << COUNT_BITS) - 1
        for name, value, most in (
            *(("sizes", size, limit) for size in self.sizes),
            ("k_tile", self.k_tile, 4096),
            ("columns", self.columns, 4096),
            ("k_tile * columns", self.k_tile * self.columns, limit),
            ("nm_n", self.nm_n, self.nm_m - 1),
        ):
            if not 1 <= value <= most:
                raise BadInput(f"fuse unit: {name}: must be 1 to {most}, got {value}")
        for name, known in (
            ("word_rows", WORD_ROWS_CHOICES),
            ("block_rows", (1, 2, 4, 8, 16)),
            ("nm_m", (2, 4, 8, 16)),
        ):
            if getattr(self, name) not in known:
                listed = ", ".join(map(str, known))
                raise BadInput(
                    f"fuse unit: {name}: must be one of {listed}, got {getattr(self, name)}"
                )

    @classmethod
    def of(
        cls,
        shape: ArrayShape,
        sizes: Sequence[int] | None = None,
        candidates: Sequence[Candidate] | None = None,
        word_rows: int | None = None,
    ) -> "UnitParameters":
        """Return what suits an array.

        Args:
            shape: the array; one unit serves one group of engines.
            sizes: elements of the table's block shapes; a full block without it.
            candidates: `default_candidates` of the array's kernels without them.
            word_rows: what a beat of the group's weight stream carries without it.
        """
        return cls(
            candidates=tuple(candidates or default_candidates(shape.kernels)),
            sizes=tuple(sizes or (shape.k_tile * shape.columns,)),
            k_tile=shape.k_tile,
            columns=shape.columns,
            word_rows=word_rows or shape.data_bits // 8,
            block_rows=shape.block_rows,
            nm_n=shape.nm_n,
            nm_m=shape.nm_m,
        )

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

    @cached_property
    def clustered_thresholds(self) -> tuple[int, ...]:
        """Distinct thresholds of clustered candidates; none where a run is one row."""
        if self.block_rows == 1:
            return ()
        return tuple(sorted({c.threshold for c in self.candidates if KERNELS[c.kernel].clustered}))

    @cached_property
    def nm_thresholds(self) -> tuple[int, ...]:
        """Distinct thresholds of ``nm`` candidates."""
        return tuple(sorted({c.threshold for c in self.candidates if KERNELS[c.kernel].selective}))

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
) -> tuple[list[int], list[int], list[bool]]:
    """The specification of `raw_statistics`: value after value, in the order of the stream."""
    p = parameters
    check_block("fuse unit", block, p.k_tile, p.columns)
    depth, columns = block.shape
    histogram = [0] * _MAGNITUDES
    stored, crowded = [0] * len(p.candidates), [False] * len(p.candidates)
    for column in range(columns):
        for row in range(depth):
            histogram[abs(int(block[row, column])).bit_length()] += 1
        for number, candidate in enumerate(p.candidates):
            least = 1 << candidate.threshold
            for start in range(0, depth, p.block_rows):
                rows = range(start, min(start + p.block_rows, depth))
                if any(abs(int(block[row, column])) >= least for row in rows):
                    stored[number] += len(rows)
            if KERNELS[candidate.kernel].selective:
                for start in range(0, depth, p.nm_m):
                    rows = range(start, min(start + p.nm_m, depth))
                    held = sum(abs(int(block[row, column])) >= least for row in rows)
                    crowded[number] |= held > p.nm_n
    return histogram, stored, crowded


def raw_statistics(
    block: np.ndarray, parameters: UnitParameters
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Statistics of one int8 block of shape (depth, columns).

    Returns:
        log2-magnitude histogram (9,), rows that the ``block`` kernel stores per candidate (C,),
        and whether an ``nm`` candidate can't hold the block (C,).

    Raises:
        BadInput: the block is not int8 of two dimensions, is empty or larger than the parameters
            say.
    """
    p = parameters
    check_block("fuse unit", block, p.k_tile, p.columns)
    depth, columns = block.shape
    magnitude = np.abs(block.T.astype(np.int16))
    lengths = np.frexp(magnitude.astype(np.float32))[1].astype(np.int8)
    padded = np.zeros((columns, -(-depth // 16) * 16), np.int8)
    padded[:, :depth] = lengths
    runs = padded.reshape(columns, -1, p.block_rows).max(axis=-1)
    rows = np.clip(depth - np.arange(runs.shape[1]) * p.block_rows, 0, p.block_rows)
    thresholds = np.array([c.threshold for c in p.candidates])
    # A group is crowded at a threshold that its (N + 1)-th largest value reaches.
    groups = np.sort(padded.reshape(-1, p.nm_m), axis=-1)[:, p.nm_m - 1 - p.nm_n]
    nm = np.array([KERNELS[c.kernel].selective for c in p.candidates])
    return (
        np.bincount(lengths.reshape(-1), minlength=_MAGNITUDES).astype(np.int64),
        ((runs[..., None] > thresholds) * rows[:, None]).sum(axis=(0, 1), dtype=np.int64),
        nm & (groups.max() > thresholds),
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
    histogram, stored, infeasible = (np.stack(part) for part in zip(*found, strict=True))
    return describe_blocks(table, parameters.candidates, shape, histogram, stored, infeasible)
