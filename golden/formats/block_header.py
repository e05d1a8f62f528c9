"""Block header: one 64-bit index word in front of every block of weights.

A *block* is the part of the weights that one engine consumes against one activation tile:
``columns`` output columns of ``depth`` rows.  The header names the kernel that decodes it and
says where the block stands in the loop nest, so that the stream describes itself.

| bits  | field       | meaning                                                        |
|-------|-------------|----------------------------------------------------------------|
| 3:0   | kernel      | code of the event source (`golden.formats`)                    |
| 4     | first       | partial sums start from zero (first k tile)                    |
| 5     | final       | results leave the array (last k tile)                          |
| 6     | tile_end    | the activation tile is released after this block               |
| 7     | segment_end | last block of a segment: replay it for the next tile of tokens |
| 8     | job_end     | last block of the job (with ``segment_end``)                   |
| 9     | exact       | on the ``first`` part: all up to ``final`` have the weight 1.0 |
| 31:16 | columns     | output columns in the block, less one                          |
| 47:32 | depth       | rows per column, less one: 0 .. k_tile - 1                     |
| 63:48 | weight      | weight of the part in Q15, 0 .. 32768                          |

A word without kernel and flags (bits 15:0 are zero) is padding between two blocks: arrays with a
feeder for run-time operands (`golden.shape.ArrayShape.operand`) skip it, others refuse it.

``exact`` and ``weight`` count in arrays that are built with fusion (`golden.numerics.combine`);
others ignore them and add the parts.
"""

from dataclasses import dataclass

from ..numerics.combine import UNIT

__all__ = ["HEADER_FIELDS", "PADDING_BITS", "BlockHeader"]

PADDING_BITS = 16
"""Low bits that are zero in a word that fills up a beat between two blocks."""

# (name, bits, low bit); the hardware builds its layout from this table too.  `_COUNTS` hold one
# less than what they count, so that no word means an empty block.
HEADER_FIELDS = (
    ("kernel", 4, 0),
    ("first", 1, 4),
    ("final", 1, 5),
    ("tile_end", 1, 6),
    ("segment_end", 1, 7),
    ("job_end", 1, 8),
    ("exact", 1, 9),
    ("columns", 16, 16),
    ("depth", 16, 32),
    ("weight", 16, 48),
)
_COUNTS = ("columns", "depth")


@dataclass(frozen=True, kw_only=True)
class BlockHeader:
    """Fields of one block header; see the module for their meaning."""

    kernel: int
    columns: int
    depth: int
    first: bool = False
    final: bool = False
    tile_end: bool = True
    segment_end: bool = False
    job_end: bool = False
    exact: bool = True
    weight: int = UNIT

    def pack(self) -> int:
        """Return the header as one unsigned 64-bit word.

        Raises:
            ValueError: a field does not fit its bits.
        """
        word = 0
        for name, bits, low in HEADER_FIELDS:
            least = int(name in _COUNTS)
            value = int(getattr(self, name))
            if not least <= value < least + (1 << bits):
                most = least + (1 << bits) - 1
                raise ValueError(f"block header: {name} must be {least} to {most}, got {value}")
            word |= (value - least) << low
        return word

    @classmethod
    def unpack(cls, word: int) -> "BlockHeader":
        """Inverse of `pack`."""
        fields = {n: (int(word) >> low) & ((1 << bits) - 1) for n, bits, low in HEADER_FIELDS}
        return cls(**{name: value + (name in _COUNTS) for name, value in fields.items()})
