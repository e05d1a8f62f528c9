"""What travels between a block's decoder and the multipliers."""

from amaranth.lib import data

from golden.formats import CHUNK, KERNELS
from golden.formats.block_header import HEADER_FIELDS
from golden.shape import ArrayShape

__all__ = [
    "block_header",
    "carries_values",
    "chunk",
    "column_flags",
    "event",
    "found_row",
    "marks",
    "row",
]


def block_header() -> data.FlexibleLayout:
    """The 64-bit header word in front of a block (`golden.formats.block_header`)."""
    fields = {name: data.Field(bits, low) for name, bits, low in HEADER_FIELDS}
    return data.FlexibleLayout(64, fields)


def carries_values(shape: ArrayShape) -> bool:
    """Whether a kernel of the array finds values among its index words.

    Chunks then hold a word of them and rows a byte, both beside a flag.
    """
    return any(KERNELS[name].carries_values for name in shape.kernels)


def marks() -> dict[str, int]:
    """Flags of a column that go with its events to the lanes and the drain.

    ``first`` and ``final`` say what the drain does with the column's sums.  The others stand on
    the whole last column of a block and take effect when it closes: ``block_end`` starts the
    columns anew, ``tile_end`` releases the activation tile, ``job_end`` closes the engine's job.
    """
    return {"first": 1, "final": 1, "block_end": 1, "tile_end": 1, "job_end": 1}


def column_flags() -> dict[str, int]:
    """`marks` and what the rings need.

    ``hold``: the segment will be played again; ``segment_end``: its last column.
    """
    return {**marks(), "hold": 1, "segment_end": 1}


def chunk(k_bits: int, carried: bool = False) -> data.StructLayout:
    """Occupancy of ``CHUNK`` rows, from a kernel's decoder to the scanner.

    ``base`` counts chunks; ``last`` closes the column.  With ``carried``, value i modulo 8 of
    ``word`` belongs to row i, if the flag of that name is set.
    """
    base_bits = max(0, k_bits - (CHUNK - 1).bit_length())
    values = {"carried": 1, "word": 64} if carried else {}
    return data.StructLayout({"base": base_bits, "mask": CHUNK, "last": 1, **values})


def found_row(k_bits: int) -> data.StructLayout:
    """One occupied row, as a decoder or the scanner finds it.

    ``valued`` is low for a close token, which only closes its column.
    """
    return data.StructLayout({"k": k_bits, "valued": 1, "last": 1})


def row(k_bits: int, carried: bool = False) -> data.StructLayout:
    """One occupied row on its way to its value, or with it in ``byte`` where it is ``carried``."""
    values = {"carried": 1, "byte": 8} if carried else {}
    return data.StructLayout({"k": k_bits, "valued": 1, "last": 1, **column_flags(), **values})


def event(k_bits: int) -> data.StructLayout:
    """One event: ``value`` meets row ``k`` of the activation tile in all lanes."""
    return data.StructLayout({"k": k_bits, "valued": 1, "last": 1, **marks(), "value": 8})
