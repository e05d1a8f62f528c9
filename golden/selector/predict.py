"""What a block costs in each kernel, computed from its pattern alone, exactly.

| kernel      | event slots                                        | index entries              |
|-------------|----------------------------------------------------|----------------------------|
| `dense`     | depth * columns                                    | none                       |
| `bitmap`    | occupied + columns - tails[64]                     | ceil(depth / 64) * columns |
| `runlength` | occupied + pads - long_gaps + empty columns        | occupied + pads + columns  |
| `nm`        | ceil(depth / M) * N * columns, if peaks[M] <= N    | one per slot               |
| `block`     | rows stored + columns - tails[16]                  | ceil(depth / 16) * columns |

where the block kernel stores R rows for each occupied run, less the rows that the last run of a
column lacks: ``R * runs[R] - (-depth % R) * tails[R]``.
"""

from dataclasses import dataclass

from ..errors import BadInput
from ..formats.entries import entries_per_word
from ..shape import ArrayShape
from .pattern import RUN_ROWS, TAIL_ROWS, Pattern
from .signature import CELL_ROWS, WORD_ROWS

__all__ = ["KernelParameters", "predict"]


@dataclass(frozen=True, kw_only=True)
class KernelParameters:
    """Parameters of the kernels, by their names in `golden.shape.ArrayShape`."""

    gap_bits: int = 4
    nm_n: int = 2
    nm_m: int = 4
    block_rows: int = 8

    @classmethod
    def of(cls, shape: ArrayShape) -> "KernelParameters":
        """Return what an array was built for."""
        return cls(
            gap_bits=shape.gap_bits,
            nm_n=shape.nm_n,
            nm_m=shape.nm_m,
            block_rows=shape.block_rows,
        )


def _index_bits(entries: int, bits: int) -> int:
    return 64 * -(-entries // entries_per_word(bits))


def predict(
    pattern: Pattern, kernel_parameters: KernelParameters | None = None
) -> dict[str, tuple[int, int]]:
    """Event slots and stored bits of a block in each kernel that can hold it, exactly.

    Args:
        pattern: of the block.
        kernel_parameters: of the kernels; ``gap_bits`` must be the pattern's.

    Returns:
        Kernel to (cycles, bits): the sum of `Kernel.column_cycles`, and the size of what
        `Kernel.encode` returns, 64 to an index word and 8 to a value.  ``nm`` is left out where
        it can't hold the block.

    Raises:
        BadInput: the pattern was taken for another ``gap_bits``, or a parameter has no statistic.
    """
    k = kernel_parameters or KernelParameters(gap_bits=pattern.gap_bits)
    if k.gap_bits != pattern.gap_bits:
        raise BadInput(
            f"predict: gap_bits: must be {pattern.gap_bits} as in the pattern, got {k.gap_bits}"
        )
    if k.nm_m not in RUN_ROWS or not 1 <= k.nm_n < k.nm_m:
        raise BadInput(
            f"predict: nm: must have M of {RUN_ROWS} and N below M, got {k.nm_n}:{k.nm_m}"
        )
    if k.block_rows not in (1, *RUN_ROWS):
        raise BadInput(f"predict: block_rows: must be 1 or of {RUN_ROWS}, got {k.block_rows}")
    depth, columns, occupied = pattern.depth, pattern.columns, pattern.occupied
    tails = dict(zip(TAIL_ROWS, pattern.tails, strict=True))
    size = depth * columns
    stored = occupied
    if k.block_rows > 1:
        runs = pattern.runs[RUN_ROWS.index(k.block_rows)]
        stored = k.block_rows * runs - -depth % k.block_rows * tails[k.block_rows]
    chunks = -(-depth // CELL_ROWS) * columns
    costs = {
        "dense": (size, 8 * size),
        "bitmap": (
            occupied + columns - tails[WORD_ROWS],
            64 * -(-depth // WORD_ROWS) * columns + 8 * occupied,
        ),
        "runlength": (
            occupied + pattern.pads - pattern.long_gaps + pattern.empty_columns,
            _index_bits(occupied + pattern.pads + columns, k.gap_bits) + 8 * occupied,
        ),
        "block": (
            stored + columns - tails[CELL_ROWS],
            _index_bits(chunks, CELL_ROWS // k.block_rows) + 8 * stored,
        ),
    }
    if pattern.peaks[RUN_ROWS.index(k.nm_m)] <= k.nm_n:
        slots = -(-depth // k.nm_m) * k.nm_n * columns
        costs["nm"] = (slots, _index_bits(slots, (k.nm_m - 1).bit_length()) + 8 * slots)
    return costs
