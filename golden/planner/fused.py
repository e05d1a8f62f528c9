"""A whole weight matrix as fused parts: what a plan divides its blocks by, and its product.

The parts have disjoint support, so their INT8 sum ``matrix`` holds every value of every part, and
where a value stands says whose it is.  A plan cuts that sum into blocks by columns and rows, and
each block gets its parts here (`FusedChooser`)::

    fused = FusedMatrix.of(mixed_scale(weights, shape=shape))
    plan = plan_matmul(shape, activations, fused.matrix, split=fused)
    out = fused.product(activations)      # int32, in units of S; what the array gives
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..formats import Kernel
from ..numerics.combine import UNIT, combine, weights_valid
from ..numerics.quantise import Rounding
from ..operators.matmul import matmul
from .choose import ByCycles, PartChoice
from .decompose import Part
from .operand import Items
from .scales import MixedScale
from .tile import Tile

__all__ = ["FusedChooser", "FusedMatrix"]


@dataclass(frozen=True, eq=False)
class FusedMatrix:
    """Parts of a matrix, of one scale (exact) or of a scale each (mixed).

    Attributes:
        parts: int8 (K, N) each, with disjoint support.
        weights: Q15 weight of each part, which sum to 32768; or all 32768, the exact mode.
        kernels: kernel of each part, or None for the best one block by block.

    Raises:
        BadInput: no part, parts that overlap or differ in shape, weights that break the rule.
    """

    parts: tuple[NDArray[np.int8], ...] = field(repr=False)
    weights: tuple[int, ...]
    kernels: tuple[str | None, ...]

    def __post_init__(self) -> None:
        counts = len(self.parts), len(self.weights), len(self.kernels)
        if not self.parts or len(set(counts)) != 1:
            raise BadInput(f"fusion: parts: must have a weight and a kernel each, got {counts}")
        first = self.parts[0]
        if any(p.dtype != np.int8 or p.ndim != 2 or p.shape != first.shape for p in self.parts):
            shapes = [f"{p.dtype} {p.shape}" for p in self.parts]
            raise BadInput(f"fusion: parts: must be int8 matrices of one shape, got {shapes}")
        if (np.sum([part != 0 for part in self.parts], axis=0) > 1).any():
            raise BadInput("fusion: parts: must have disjoint support, got parts that overlap")
        if not weights_valid(self.weights, exact=self.exact):
            raise BadInput(
                f"fusion: weights: must sum to {UNIT} or all be {UNIT}, got {list(self.weights)}"
            )

    @classmethod
    def of(cls, parts: MixedScale | Sequence[Part]) -> "FusedMatrix":
        """From a mixed-scale split, or from the parts of a decomposition (exact mode).

        Raises:
            BadInput: a mixed-scale split with weights of their own for each column, which no
                part header can carry.
        """
        if isinstance(parts, MixedScale):
            if parts.weights.ndim != 1:
                raise BadInput(
                    "fusion: weights: must be one per part (per='part'), "
                    f"got shape {parts.weights.shape}"
                )
            weights = tuple(int(weight) for weight in parts.weights)
            # The weight of a single part is 1.0, which is the exact mode.
            parts = parts.parts
        else:
            weights = (UNIT,) * len(parts)
        return cls(
            tuple(part.block for part in parts), weights, tuple(part.kernel for part in parts)
        )

    @property
    def exact(self) -> bool:
        """Whether all parts have one scale."""
        return all(weight == UNIT for weight in self.weights)

    @property
    def matrix(self) -> NDArray[np.int8]:
        """Every value in its place, int8 (K, N)."""
        return np.bitwise_or.reduce(self.parts)

    def rows(self, kept: NDArray[np.int64]) -> "FusedMatrix":
        """The same with some of the rows only."""
        return FusedMatrix(tuple(part[kept] for part in self.parts), self.weights, self.kernels)

    def product(
        self, activations: NDArray[np.int8], rounding: Rounding = "half_even"
    ) -> NDArray[np.int32]:
        """The fused product, int32 (M, N): in units of S, in the exact mode the plain product.

        ``rounding`` is the array's (`ArrayShape.rounding`); it matters in units of S alone.
        Every part's own product must fit int32, as it does up to K = 131072.
        """
        partials = np.stack([matmul(activations, part) for part in self.parts])
        return combine(partials, self.weights, exact=self.exact, rounding=rounding)


class FusedChooser:
    """Each block in the parts that a `FusedMatrix` divides it by (`golden.planner.choose.Chooser`).

    Args:
        fused: parts of the rows that are sent.
        kernels: of the array; a part's own is named by ``fused``.
        items: what is distributed, of the same rows.
    """

    def __init__(self, fused: FusedMatrix, kernels: Sequence[Kernel], items: Items) -> None:
        self.fused = fused
        self._any = ByCycles(kernels)
        known = {kernel.name: kernel for kernel in kernels}
        for name in fused.kernels:
            if name is not None and name not in known:
                raise BadInput(
                    f"fusion: kernels: must be of the array ({', '.join(known)}), got {name!r}"
                )
        self._own = [self._any if n is None else ByCycles([known[n]]) for n in fused.kernels]
        self._tiles = [
            [
                Tile(np.where(part[low:high][:, items.column] != 0, tile.block, 0).astype(np.int8))
                for part in fused.parts
            ]
            for tile, (low, high) in zip(items.tiles, pairwise(items.bounds), strict=True)
        ]

    def choose(
        self, number: int, tile: Tile, blocks: Sequence[np.ndarray], room: int | None
    ) -> list[list[PartChoice]]:
        """Parts without a value are left out.

        Where the weights must still sum to one, a single empty part stands for all of these.
        """
        fused, exact = self.fused, self.fused.exact
        offers = [
            own.choose(number, part, blocks, room)
            for own, part in zip(self._own, self._tiles[number], strict=True)
        ]
        whole = self._any.choose(number, tile, blocks, room)
        empty = Tile(np.zeros_like(tile.block))
        found: list[list[PartChoice]] = []
        for place, columns in enumerate(blocks):
            mine, absent = [], 0
            for offer, part, weight in zip(offers, self._tiles[number], fused.weights, strict=True):
                if part.counts()[columns].any():
                    mine.append(replace(offer[place][0], weight=weight, exact=exact))
                else:
                    absent += weight
            if not mine:
                mine = whole[place]
            elif absent and not exact:
                (rest,) = self._any.choose(number, empty, [columns], room)
                mine.append(replace(rest[0], weight=absent, exact=False))
            found.append(mine)
        return found
