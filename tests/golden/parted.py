"""Random matrices of parts with weights, several to a k tile, and what they must give."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from golden.errors import BadInput
from golden.formats import Kernel
from golden.numerics.combine import UNIT, round_accumulator
from golden.numerics.quantise import Rounding
from golden.planner.choose import ByCycles, Chooser, PartChoice
from golden.planner.fused import FusedMatrix, plan_fused
from golden.planner.operand import Items
from golden.planner.tile import Tile
from golden.program.plan import Plan
from golden.shape import ArrayShape

__all__ = ["RandomParts", "dealt", "random_parts", "random_shares"]


@dataclass(frozen=True, eq=False)
class RandomParts(FusedMatrix):
    """A fused matrix whose tiles hold several parts.

    Attributes:
        owner: int (rows, N), the part of its tile that each place belongs to.
        shares: Q15 weight of each part of each tile; all together sum to 32768.
        names: kernel of each part of each tile, or None.
    """

    owner: np.ndarray
    shares: list[list[int]]
    names: list[list[str | None]]

    def parts(self, tile: int) -> list[np.ndarray]:
        """Int8 (depth, N) of each part of a tile."""
        rows = slice(*self.bounds[tile : tile + 2])
        return [
            np.where(self.owner[rows] == part, self.matrix[rows], 0).astype(np.int8)
            for part in range(len(self.shares[tile]))
        ]

    def chooser(self, kernels: Sequence[Kernel], items: Items) -> Chooser:
        return _SeveralParts(self, kernels)

    def accumulated(self, activations: np.ndarray) -> np.ndarray:
        """Sum of all weights times sums, int64 (M, N), from the definition."""
        acc = np.zeros((len(activations), self.matrix.shape[1]), np.int64)
        sent = activations[:, self.order].astype(np.int64)
        for tile, (low, high) in enumerate(pairwise(self.bounds)):
            for part, weight in zip(self.parts(tile), self.shares[tile], strict=True):
                acc += weight * (sent[:, low:high] @ part.astype(np.int64))
        return acc

    def product(self, activations: np.ndarray, rounding: Rounding = "half_even") -> np.ndarray:
        return round_accumulator(self.accumulated(activations), rounding)


class _SeveralParts:
    """Each block in the parts of its tile; a dummy of zeros has one, with the weight 1.0."""

    def __init__(self, parted: RandomParts, kernels: Sequence[Kernel]) -> None:
        self._parted = parted
        self._any = ByCycles(kernels)
        self._own = {kernel.name: ByCycles([kernel]) for kernel in kernels}

    def _of(self, name: str | None, part: Tile) -> ByCycles:
        """The kernel of the name where it can hold the part, else any."""
        own = self._any if name is None else self._own[name]
        return own if own.kernels[0].accepts(part.block) else self._any

    def choose(
        self, number: int, tile: Tile, blocks: Sequence[np.ndarray], room: int | None
    ) -> list[list[PartChoice]]:
        parted = self._parted
        exact = sum(len(tile) for tile in parted.shares) == 1
        parts = [Tile(np.pad(part, ((0, 0), (0, 1)))) for part in parted.parts(number)]
        offers = [
            self._of(name, part).choose(number, part, blocks, room)
            for name, part in zip(parted.names[number], parts, strict=True)
        ]
        whole = self._any.choose(number, tile, blocks, room)
        outputs = parted.matrix.shape[1]
        return [
            whole[place]
            if columns[0] >= outputs
            else [
                replace(offer[place][0], weight=weight, exact=exact)
                for offer, weight in zip(offers, parted.shares[number], strict=True)
            ]
            for place, columns in enumerate(blocks)
        ]


def random_shares(rng: np.random.Generator, parts: int) -> list[int]:
    """Halves, which make ties, or any weights that sum to one, zeros and ones among them."""
    if parts > 1 and rng.random() < 0.3:
        weights = [UNIT // 2, UNIT // 2] + [0] * (parts - 2)
    elif rng.random() < 0.2:
        weights = [UNIT] + [0] * (parts - 1)
    else:
        cuts = np.sort(rng.integers(0, UNIT + 1, parts - 1))
        weights = np.diff([0, *cuts, UNIT]).tolist()
    return [int(weight) for weight in rng.permutation(weights)]


def dealt(
    rng: np.random.Generator, engines: int, outputs: int, most: int
) -> tuple[tuple[np.ndarray, ...], ...]:
    """Columns dealt at random, at most ``most`` to an engine of a segment."""
    segments = -(-outputs // (engines * most))
    places = rng.permutation(segments * engines * most)[:outputs] // most
    return tuple(
        tuple(np.flatnonzero(places == segment * engines + engine) for engine in range(engines))
        for segment in range(segments)
    )


def random_parts(
    rng: np.random.Generator, shape: ArrayShape, depth: int, outputs: int, rows: int
) -> tuple[RandomParts, Plan]:
    """Tiles of any size, one to three parts in each, columns anywhere; and a plan that fits."""
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < rng.choice([0.0, 0.5, 0.9])] = -128 if rng.random() < 0.1 else 0
    bounds = [0]
    while bounds[-1] < depth:
        bounds.append(min(depth, bounds[-1] + int(rng.integers(1, shape.k_tile + 1))))
    tiles = len(bounds) - 1
    counts = rng.integers(1, 4, tiles)
    flat = random_shares(rng, int(counts.sum()))
    shares = [part.tolist() for part in np.split(flat, np.cumsum(counts)[:-1])]
    names: list[str | None] = [*shape.kernels, None]
    weights = np.repeat(np.array([sum(tile) for tile in shares])[:, None], outputs, axis=1)
    most = shape.columns
    while True:
        parts = RandomParts(
            matrix=w,
            order=rng.permutation(depth),
            bounds=np.array(bounds),
            assignment=dealt(rng, shape.engines, outputs, most),
            weights=weights,
            scale=np.ones(outputs),
            owner=rng.integers(0, np.repeat(counts, np.diff(bounds))[:, None], w.shape),
            shares=shares,
            names=[[names[rng.integers(len(names))] for _ in tile] for tile in shares],
        )
        try:
            return parts, plan_fused(shape, rows, parts)
        except BadInput:
            # The rings hold fewer columns at once.
            assert most > 1
            most = max(1, most // 2)
