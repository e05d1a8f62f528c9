"""Pattern analysis: what the zeros and the values of a block look like.

A `Pattern` is all that the fuse selector knows of a block; `analyse` takes it from the values.  It
holds what `golden.selector.predict` needs for the exact cost of every kernel of `golden.formats`.

A run, as in the kernels, is aligned: run i of R rows begins at row ``i R`` of its column.
"""

from dataclasses import dataclass

import numpy as np

from ..errors import BadInput
from ..shape import is_power_of_two
from .block_check import check_block
from .signature import CELL_ROWS, DEFAULT_SEED, WORD_ROWS, signature, signature_naive

__all__ = [
    "RUN_ROWS",
    "TAIL_ROWS",
    "Pattern",
    "PatternParameters",
    "analyse",
    "analyse_naive",
]

RUN_ROWS = (2, 4, 8, 16)
"""Lengths of the runs that `Pattern.runs` and `Pattern.peaks` count."""
TAIL_ROWS = (*RUN_ROWS, WORD_ROWS)
"""Lengths of the last run of a column in `Pattern.tails`."""
_MAGNITUDES = 9


@dataclass(frozen=True, kw_only=True)
class PatternParameters:
    """What patterns are taken for.

    Parameters
    ----------
    k_tile : int
        Most rows of a block; a power of two, 16 to 4096.
    columns : int
        Most columns of a block, 1 to 4096.
    gap_bits : int
        Bits of a gap of the ``runlength`` kernel, 3 to 8.
    signature_bits : int
        Planes of the signature, 8 to 64.
    cell_columns : int
        Columns of a cell of the signature; a power of two, 1 to 64.
    seed : int
        Of the signature's planes, 64 bits.

    Raises
    ------
    BadInput
        Where a field breaks its rule.
    """

    k_tile: int = 256
    columns: int = 256
    gap_bits: int = 4
    signature_bits: int = 16
    cell_columns: int = 4
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        for name, least, most, power in (
            ("k_tile", 16, 4096, True),
            ("columns", 1, 4096, False),
            ("gap_bits", 3, 8, False),
            ("signature_bits", 8, 64, False),
            ("cell_columns", 1, 64, True),
            ("seed", 0, (1 << 64) - 1, False),
        ):
            value = getattr(self, name)
            good = isinstance(value, int) and least <= value <= most
            if not good or (power and not is_power_of_two(value)):
                rule = f"{'a power of two, ' if power else ''}{least} to {most}"
                raise BadInput(f"pattern parameters: {name}: must be {rule}, got {value!r}")

    @property
    def pad(self) -> int:
        """Zeros that one PAD entry of the ``runlength`` kernel stands for."""
        return (1 << self.gap_bits) - 2

    @property
    def column_bins(self) -> int:
        """Bins of the column histogram: counts 0 to ``k_tile``, by bit length."""
        return self.k_tile.bit_length() + 1


@dataclass(frozen=True, kw_only=True)
class Pattern:
    """Statistics of one block.

    Attributes:
        depth, columns: the block's rows and columns.
        gap_bits: for which pads and long gaps were counted.
        occupied: non-zeros.
        occupied_rows: rows with a non-zero in any column.
        chunk_mask: bit i: rows 16 i to 16 i + 15 hold a non-zero in any column.
        column_histogram: columns by the bit length of their number of non-zeros: bin 0 counts
            the empty ones, bin b those with 2**(b-1) to 2**b - 1.
        magnitude_histogram: elements by the bit length of their magnitude: bin 0 counts zeros,
            bin b the magnitudes 2**(b-1) to 2**b - 1, bin 8 the values -128.
        runs: occupied runs of 2, 4, 8 and 16 rows, over all columns.
        tails: columns whose last run of 2, 4, 8, 16 and 64 rows is occupied.
        peaks: most non-zeros in a run of 2, 4, 8 and 16 rows.
        pads: PAD entries of the ``runlength`` kernel: the sum of ``gap // pad`` over non-zeros,
            with the gap from the non-zero before it in the column, or from the column's start.
        long_gaps: non-zeros with a gap of at least ``pad``.
        envelope: sum over occupied columns of the rows from the first to the last non-zero.
            A band, whatever its slope, has an envelope near its number of non-zeros.
        diagonal: non-zeros whose neighbour one row up in the column before is one as well.
            A diagonal of slope one has nearly all, a random block the fraction of its density.
        signature: see `golden.selector.signature`.
    """

    depth: int
    columns: int
    gap_bits: int
    occupied: int
    occupied_rows: int
    chunk_mask: int
    column_histogram: tuple[int, ...]
    magnitude_histogram: tuple[int, ...]
    runs: tuple[int, ...]
    tails: tuple[int, ...]
    peaks: tuple[int, ...]
    pads: int
    long_gaps: int
    envelope: int
    diagonal: int
    signature: int

    @property
    def empty_rows(self) -> int:
        """Rows without a non-zero."""
        return self.depth - self.occupied_rows

    @property
    def empty_columns(self) -> int:
        """Columns without a non-zero."""
        return self.column_histogram[0]

    @property
    def octave(self) -> int:
        """Density class: 0 for an empty block, t + 1 for a density in (2**-(t+1), 2**-t]."""
        if not self.occupied:
            return 0
        return (self.depth * self.columns // self.occupied).bit_length()

    @property
    def half_full(self) -> tuple[bool, ...]:
        """Whether 1:2, 2:4, 4:8 and 8:16 hold the block."""
        return tuple(2 * peak <= rows for peak, rows in zip(self.peaks, RUN_ROWS, strict=True))


def analyse_naive(block: np.ndarray, parameters: PatternParameters | None = None) -> Pattern:
    """The specification of `analyse`: element after element, in the order of the stream."""
    p = parameters or PatternParameters()
    check_block("pattern analysis", block, p.k_tile, p.columns)
    depth, columns = block.shape
    column_histogram, magnitudes = [0] * p.column_bins, [0] * _MAGNITUDES
    runs, peaks, tails = [0] * len(RUN_ROWS), [0] * len(RUN_ROWS), [0] * len(TAIL_ROWS)
    occupied = pads = long_gaps = envelope = diagonal = chunk_mask = 0
    rows_seen = set()
    for column in range(columns):
        in_column = gap = 0
        first = last = None
        in_run = dict.fromkeys(TAIL_ROWS, 0)
        for row in range(depth):
            value = int(block[row, column])
            magnitudes[abs(value).bit_length()] += 1
            for rows in TAIL_ROWS:
                if row % rows == 0:
                    in_run[rows] = 0
            if value == 0:
                gap += 1
                continue
            in_column += 1
            rows_seen.add(row)
            chunk_mask |= 1 << (row // CELL_ROWS)
            for rows in TAIL_ROWS:
                in_run[rows] += 1
            for i, rows in enumerate(RUN_ROWS):
                runs[i] += in_run[rows] == 1
                peaks[i] = max(peaks[i], in_run[rows])
            pads += gap // p.pad
            long_gaps += gap >= p.pad
            gap = 0
            first = row if first is None else first
            last = row
            diagonal += row > 0 and column > 0 and block[row - 1, column - 1] != 0
        if first is not None and last is not None:
            envelope += last - first + 1
        for i, rows in enumerate(TAIL_ROWS):
            tails[i] += in_run[rows] > 0
        occupied += in_column
        column_histogram[in_column.bit_length()] += 1
    return Pattern(
        depth=depth,
        columns=columns,
        gap_bits=p.gap_bits,
        occupied=occupied,
        occupied_rows=len(rows_seen),
        chunk_mask=chunk_mask,
        column_histogram=tuple(column_histogram),
        magnitude_histogram=tuple(magnitudes),
        runs=tuple(runs),
        tails=tuple(tails),
        peaks=tuple(peaks),
        pads=pads,
        long_gaps=long_gaps,
        envelope=envelope,
        diagonal=int(diagonal),
        signature=signature_naive(block != 0, p.signature_bits, p.seed, p.cell_columns),
    )


def _bit_lengths(values: np.ndarray, bins: int) -> tuple[int, ...]:
    """Histogram of non-negative integers by their bit length."""
    # frexp writes x as m * 2**e with m in [0.5, 1): e is the bit length.
    lengths = np.frexp(values.reshape(-1).astype(np.float64))[1]
    return tuple(np.bincount(lengths, minlength=bins).tolist())


def analyse(block: np.ndarray, parameters: PatternParameters | None = None) -> Pattern:
    """Statistics of an int8 block of shape (depth, columns).

    Raises:
        BadInput: the block is not int8 of two dimensions, is empty or larger than the parameters
            say.
    """
    p = parameters or PatternParameters()
    check_block("pattern analysis", block, p.k_tile, p.columns)
    depth, columns = block.shape
    occupied = np.zeros((columns, -(-depth // WORD_ROWS) * WORD_ROWS), bool)
    occupied[:, :depth] = block.T != 0
    in_runs = [occupied.reshape(columns, -1, rows).sum(-1, dtype=np.int64) for rows in TAIL_ROWS]
    column, row = np.nonzero(occupied)
    gaps = np.diff(row, prepend=-1) - 1
    begins = np.diff(column, prepend=-1) != 0
    gaps[begins] = row[begins]
    rows_seen = occupied.any(axis=0)
    chunks = np.flatnonzero(rows_seen.reshape(-1, CELL_ROWS).any(axis=1))
    return Pattern(
        depth=depth,
        columns=columns,
        gap_bits=p.gap_bits,
        occupied=len(row),
        occupied_rows=int(rows_seen.sum()),
        chunk_mask=sum(1 << int(chunk) for chunk in chunks),
        column_histogram=_bit_lengths(occupied.sum(axis=1), p.column_bins),
        magnitude_histogram=_bit_lengths(np.abs(block.astype(np.int16)), _MAGNITUDES),
        runs=tuple(int((counts > 0).sum()) for counts in in_runs[:-1]),
        tails=tuple(
            int((counts[:, (depth - 1) // rows] > 0).sum())
            for rows, counts in zip(TAIL_ROWS, in_runs, strict=True)
        ),
        peaks=tuple(int(counts.max()) for counts in in_runs[:-1]),
        pads=int((gaps // p.pad).sum()),
        long_gaps=int((gaps >= p.pad).sum()),
        envelope=len(row) + int(gaps[~begins].sum()),
        diagonal=int((occupied[1:, 1:] & occupied[:-1, :-1]).sum()),
        signature=signature(block != 0, p.signature_bits, p.seed, p.cell_columns),
    )
