"""Measurements that a performance table is made of: kernels, densities, one point.

A density step is a share of non-zeros, ``DENSITIES``: none, then 1/64 to 1 in powers of two. A
density *bin* is what lies between two steps: bin 0 is the empty block, bin b holds the densities
above ``DENSITIES[b - 1]`` up to ``DENSITIES[b]``.

Energy is a *proxy* in units of one INT8 multiply-accumulate: ``events * V * mac + stored bytes *
byte + drained words * word``. The default weights follow the 45 nm figures of Horowitz,
"Computing's energy problem", ISSCC 2014, figure 1.1.9: 0.3 pJ for an 8-bit multiply and its
add, 10 pJ for 64 bits of a small SRAM, 0.1 pJ for a 32-bit add on top of reading and writing a
partial sum. Toggles are not counted.
"""

from fractions import Fraction
from typing import Annotated, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..formats import KERNELS

__all__ = [
    "BINS",
    "DENSITIES",
    "EnergyWeights",
    "Point",
    "Record",
    "density_bin",
]

DENSITIES = (Fraction(0), *(Fraction(1, 1 << b) for b in range(6, -1, -1)))
"""Shares of non-zeros that are measured, and the upper ends of the bins."""

BINS = len(DENSITIES)


def _known(kernel: str) -> str:
    """The name, if it is a kernel's."""
    if kernel not in KERNELS:
        raise ValueError(f"must be one of {', '.join(KERNELS)}")
    return kernel


class Record(BaseModel):
    """A frozen record that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EnergyWeights(Record):
    """Energy of one operation relative to an INT8 multiply-accumulate; assumed, not measured.

    Attributes:
        mac: one lane of one event.
        byte: one byte of block storage, read.
        word: one INT32 sum, drained: partial sum read, added to and written.
    """

    mac: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    byte: float = Field(default=4.0, ge=0, allow_inf_nan=False)
    word: float = Field(default=33.0, ge=0, allow_inf_nan=False)


class Point(Record):
    """One measurement: a kernel on random blocks of one shape and density.

    Attributes:
        kernel: name of the kernel.
        depth, columns: shape of an engine's block.
        step: index of the density in ``DENSITIES``.
        feasible: whether the kernel can hold such blocks; the other fields are 0 where not.
        blocks: further blocks per engine between the two runs that were compared.
        cycles: further cycles that those took.
        events: events in those, over all engines.
        weight_bytes: stored bytes of one block per engine, header and padding included, over
            all engines.
    """

    kernel: Annotated[str, AfterValidator(_known)]
    depth: int = Field(ge=1, le=4096)
    columns: int = Field(ge=1, le=4096)
    step: int = Field(ge=0, lt=BINS)
    feasible: bool
    blocks: int = Field(ge=0)
    cycles: int = Field(ge=0)
    events: int = Field(ge=0)
    weight_bytes: int = Field(ge=0)

    @model_validator(mode="after")
    def _check_measured(self) -> Self:
        if self.feasible and not (self.blocks and self.cycles and self.weight_bytes):
            raise ValueError("must hold blocks, cycles and weight_bytes above 0 where feasible")
        if self.depth * self.columns % (1 << (BINS - 2)):
            raise ValueError(f"must have depth x columns a multiple of {1 << (BINS - 2)}")
        return self


def density_bin(count: np.ndarray | int, size: np.ndarray | int) -> np.ndarray:
    """Bin of blocks of ``size`` elements with ``count`` non-zeros (or stored rows)."""
    count, size = np.asarray(count, np.int64), np.asarray(size, np.int64)
    above = [count > 0] + [count << b > size for b in range(6, 0, -1)]
    return np.asarray(np.sum(above, axis=0, dtype=np.int64))
