"""Block storage formats, one file each, behind one interface.

A block is an int8 array of shape (depth, columns).  A kernel stores it as two sequential
streams: *index* words (64 bits, where the non-zeros are) and *value* bytes (what they are, in
the order of the events).  Adding a kernel is one new file here, one in ``rtl_gen/kernels`` and
one line in each registry (``docs/kernels.md``).
"""

from .band import Band
from .base import CHUNK, WORD_BITS, Figures, Kernel, Parameter, Steps
from .bitmap import Bitmap
from .block_runs import BlockRuns
from .dense import Dense
from .nm import StructuredNM
from .raw import Raw
from .runlength import RunLength

__all__ = [
    "CHUNK",
    "KERNELS",
    "PARAMETERS",
    "RUN_TIME",
    "STORED",
    "WORD_BITS",
    "Figures",
    "Kernel",
    "Parameter",
    "Steps",
    "preferred",
]

KERNELS: dict[str, type[Kernel]] = {
    kernel.name: kernel for kernel in (Dense, Bitmap, RunLength, StructuredNM, BlockRuns, Band, Raw)
}
"""Formats by name, in the order in which documentation lists them."""

STORED = tuple(name for name, kernel in KERNELS.items() if not kernel.run_time)
"""Formats for weights, which are known beforehand."""

RUN_TIME = tuple(name for name, kernel in KERNELS.items() if kernel.run_time)
"""Formats for operands that exist only at run time; never chosen for weights."""

PARAMETERS: tuple[Parameter, ...] = tuple(
    parameter for kernel in KERNELS.values() for parameter in kernel.parameters
)
"""What the formats are built with."""


def preferred(names: tuple[str, ...] = STORED) -> list[str]:
    """Kernels in the order in which those of equal cycles and equal bytes are preferred."""
    return sorted(names, key=lambda name: KERNELS[name].preference)
