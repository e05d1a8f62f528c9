"""Payloads of the streams between the parts of the fuse selector."""

from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from golden.selector.candidates import COUNT_BITS
from golden.selector.selector import COST_BITS
from golden.selector.table import BIN_BITS, KERNEL_BITS

from .controller import ERROR_BITS, WEIGHT_BITS

__all__ = [
    "choice_layout",
    "selector_ports",
    "statistics_layout",
]


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
