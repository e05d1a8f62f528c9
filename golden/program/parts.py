"""A part: one kernel's share of a block of weights, the unit of the weight streams."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..numerics.combine import UNIT

__all__ = ["Part"]


@dataclass(frozen=True, eq=False)
class Part:
    """One kernel's share of a block.

    Parts of a block have disjoint support; an engine runs them one after another against the
    same activation tile, and the drain adds their column sums.

    Attributes:
        kernel: name of the format (`golden.formats`); None leaves the choice to the encoder, which
            takes the one with the fewest decoder cycles.
        block: int8 (depth, columns), zero where other parts of the block hold the values.
        weight: Q15 factor of its column sums (`golden.numerics.combine`).  From the first k tile
            to the last the weights of a column are all `UNIT`, or sum to it.
    """

    kernel: str | None
    block: NDArray[np.int8] = field(repr=False)
    weight: int = UNIT
