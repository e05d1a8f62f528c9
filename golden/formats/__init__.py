"""Block storage formats, one file each, behind one interface.

A block is an int8 array of shape (depth, columns).  A kernel stores it as two sequential
streams: *index* words (64 bits, where the non-zeros are) and *value* bytes (what they are, in
the order of the events).  Adding a kernel is one new file here, one in ``rtl_gen/kernels`` and
one line in each registry.
"""

from .base import CHUNK, Kernel, Steps
from .bitmap import Bitmap
from .block_runs import BlockRuns
from .dense import Dense
from .nm import StructuredNM
from .raw import Raw
from .runlength import RunLength

__all__ = ["CHUNK", "KERNELS", "Kernel", "Steps"]

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (Dense(), Bitmap(), RunLength(), StructuredNM(), BlockRuns(), Raw())
}
"""Formats with their usual parameters; `Kernel.configured` takes an array's."""
