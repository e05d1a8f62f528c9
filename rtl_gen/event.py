"""What travels between a block's decoder and the multipliers."""

from amaranth.lib import data

from golden.block import HEADER_FIELDS
from golden.kernels import CHUNK

__all__ = ["block_header", "chunk", "event", "position"]

# Flags of a block that its events carry to the drain.
_MARKS = {"first": 1, "final": 1, "tile_end": 1, "job_end": 1}


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


def position(k_bits: int) -> data.StructLayout:
    """An event that still lacks its value; ``valued`` is low for a close token.

    ``hold``, with ``segment_end``: the values that follow will be played again.
    """
    return data.StructLayout(
        {"k": k_bits, "valued": 1, "last": 1, "segment_end": 1, "hold": 1, **_MARKS}
    )


def event(k_bits: int) -> data.StructLayout:
    """One event: ``value`` meets row ``k`` of the activation tile in all lanes.

    ``last`` closes the output column; ``tile_end`` (with ``last``) releases the tile; ``first``
    and ``final`` say what the drain does with the sums; ``job_end`` closes the engine's job.
    """
    return data.StructLayout({"k": k_bits, "value": 8, "valued": 1, "last": 1, **_MARKS})
