"""What travels between a block's decoder and the multipliers."""

from amaranth.lib import data

from golden.block import HEADER_FIELDS
from golden.kernels import CHUNK

__all__ = ["block_header", "chunk", "event", "marks", "row"]


def marks() -> dict[str, int]:
    """Flags that events carry from their block to the lanes and the drain.

    ``first`` and ``final`` say what the drain does with the column's sums; on a block's last
    event ``block_end`` starts the columns anew, ``tile_end`` releases the activation tile and
    ``job_end`` closes the engine's job.
    """
    return {"first": 1, "final": 1, "block_end": 1, "tile_end": 1, "job_end": 1}


def block_header() -> data.FlexibleLayout:
    """The 64-bit header word in front of a block (`golden.block`)."""
    fields = {name: data.Field(bits, low) for name, bits, low in HEADER_FIELDS}
    return data.FlexibleLayout(64, fields)


def chunk(k_bits: int) -> data.StructLayout:
    """Occupancy of ``CHUNK`` rows, from a kernel's decoder to the scanner.

    ``base`` counts chunks; ``last`` closes the column.
    """
    base_bits = max(0, k_bits - (CHUNK - 1).bit_length())
    return data.StructLayout({"base": base_bits, "mask": CHUNK, "last": 1})


def row(k_bits: int) -> data.StructLayout:
    """One occupied row, from a kernel's decoder or the scanner; it still lacks its value.

    ``valued`` is low for a close token, which only closes its column.
    """
    return data.StructLayout({"k": k_bits, "valued": 1, "last": 1})


def event(k_bits: int) -> data.StructLayout:
    """One event: ``value`` meets row ``k`` of the activation tile in all lanes.

    ``last`` closes the output column; the others are `marks`.
    """
    return data.StructLayout({"k": k_bits, "value": 8, "valued": 1, "last": 1, **marks()})
