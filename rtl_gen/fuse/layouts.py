"""Payloads of the streams between the parts of pattern analyser and fuse selector."""

from amaranth.hdl import signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from golden.selector.candidates import COUNT_BITS
from golden.selector.pattern import RUN_ROWS, TAIL_ROWS, PatternParameters
from golden.selector.selector import COST_BITS
from golden.selector.signature import CELL_ROWS, WORD_ROWS
from golden.selector.table import BIN_BITS, KERNEL_BITS

from .controller import ERROR_BITS, WEIGHT_BITS

__all__ = [
    "block_word",
    "choice_layout",
    "pattern_layout",
    "selector_ports",
    "statistics_layout",
]

_MAGNITUDES = 9


def block_word() -> data.StructLayout:
    """64 rows of a column; rows behind ``last_row`` are zero.

    ``column_end`` closes the column, ``block_end`` (with it) the block.  ``last_row``, the last
    row of the column within the word, counts only with ``column_end``.
    """
    values = data.ArrayLayout(signed(8), WORD_ROWS)
    return data.StructLayout({"values": values, "last_row": 6, "column_end": 1, "block_end": 1})


def pattern_layout(parameters: PatternParameters) -> data.StructLayout:
    """The fields of `golden.selector.pattern.Pattern`, without ``gap_bits``."""
    rows, columns = parameters.k_tile.bit_length(), parameters.columns.bit_length()
    elements = (parameters.k_tile * parameters.columns).bit_length()
    return data.StructLayout(
        {
            "depth": rows,
            "columns": columns,
            "occupied": elements,
            "occupied_rows": rows,
            "chunk_mask": parameters.k_tile // CELL_ROWS,
            "column_histogram": data.ArrayLayout(columns, parameters.column_bins),
            "magnitude_histogram": data.ArrayLayout(elements, _MAGNITUDES),
            "runs": data.ArrayLayout(elements, len(RUN_ROWS)),
            "tails": data.ArrayLayout(columns, len(TAIL_ROWS)),
            "peaks": data.ArrayLayout(5, len(RUN_ROWS)),
            "pads": elements,
            "long_gaps": elements,
            "envelope": elements,
            "diagonal": elements,
            "signature": parameters.signature_bits,
        }
    )


def statistics_layout(
    shapes: int, count_bits: int = COUNT_BITS, lossy: bool = True
) -> data.StructLayout:
    """One candidate of one block; ``last`` closes the block, ``empty`` is the block's.

    ``error`` is there only where candidates may drop values (``lossy``).
    """
    return data.StructLayout(
        {
            "bin": BIN_BITS,
            "kernel": KERNEL_BITS,
            "block_shape": (shapes - 1).bit_length(),
            "count": count_bits,
            "error": ERROR_BITS if lossy else 0,
            "infeasible": 1,
            "empty": 1,
            "last": 1,
        }
    )


def choice_layout(candidates: int) -> data.StructLayout:
    """The chosen candidate of one block; no candidate was feasible where ``cost`` is all ones."""
    return data.StructLayout(
        {
            "candidate": max(1, (candidates - 1).bit_length()),
            "kernel": KERNEL_BITS,
            "cost": COST_BITS,
            "error": ERROR_BITS,
        }
    )


def selector_ports(shapes: int) -> dict:
    """Table port, registers and state of a `FuseSelector`; see there."""
    registers = ("alpha", "beta", "alpha_max", "beta_min")
    return {
        "table_enable": In(1),
        "table_address": In(BIN_BITS + KERNEL_BITS + (shapes - 1).bit_length()),
        "table_data": In(64),
        **{name: In(WEIGHT_BITS) for name in registers},
        "budget": In(ERROR_BITS),
        "adapt": In(1),
        "restart": In(1),
        "running_error": Out(ERROR_BITS),
        "alpha_now": Out(WEIGHT_BITS),
        "beta_now": Out(WEIGHT_BITS),
    }
