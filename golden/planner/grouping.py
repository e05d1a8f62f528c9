"""Cuts the weights into blocks that each have one structure, so that one kernel suits them.

A block pays for its kernel's index over all its rows and columns, so its rows and columns should
be of one structure.  Two choices decide that.  Both are made from the prices of single columns
(`golden.planner.column_prices`), where a stored byte costs ``price`` cycles:

1. *Where the k tiles end.*  The columns are bisected into groups of similar prices.  Borders may
   stand at every `_STEP` rows; dynamic programming finds the partition of least total price, in
   which each group has its cheapest variant in each tile.
2. *Which columns share an engine.*  The columns are bisected again, by their prices in the final
   tiles: they are ordered along the principal axis of these prices and cut in proportion to the
   engines on either side, down to single engines.  Then simulated annealing (Kirkpatrick, Gelatt,
   Vecchi 1983) exchanges and moves columns within a segment, to lower the energy::

       sum over engines, tiles of min over variants of (sum of column prices + headers)
       + weight * sum over engines of (cycles - mean)^2

   The second term stands for the makespan.

The same seed gives the same result.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ..shape import ArrayShape
from .anneal import anneal
from .column_prices import FORBIDDEN, Variant, column_prices, variants_of
from .operand import Items, SentRows
from .tile import Tile
from .tilings import column_weights

__all__ = ["Grouping", "bisect_columns"]

_STEP = 64  # rows between possible borders, which fill whole index words of every kernel
_SAMPLED = 256  # columns that the bounds of the k tiles are chosen by
_MOVES = 500  # steps of the annealing for each column
_MOST_MOVES = 1_000_000
_MOVED = 0.2  # share of the steps that move one column instead of exchanging two
_HEAT = 0.0003  # first temperature, in usual changes; a warmer start would undo the bisection
_DECADES = 4.0  # powers of ten that the temperature falls by
_ITERATIONS = 20  # of the power iteration for the principal axis
_SPREAD = 0.02  # share of an engine's cycles at which imbalance weighs like the longest engine


def bisect_columns(
    features: np.ndarray, load: np.ndarray, bins: int, most: int | None = None
) -> list[np.ndarray]:
    """Divide columns into groups of nearly equal load, so that similar columns share a group.

    Args:
        features: float64 (columns, features); columns with close features are similar.
        load: float64 (columns,), cycles of each column, above 0.
        bins: number of groups.
        most: largest number of columns in a group; ``bins`` groups must have room for all.

    Returns:
        Column numbers of each group, ascending; groups are empty where columns are few.
    """
    limit = len(features) if most is None else most

    def cut(columns: np.ndarray, bins: int) -> list[np.ndarray]:
        if bins == 1:
            return [np.sort(columns)]
        left = bins // 2
        if len(columns) > 1:
            mine = features[columns] - features[columns].mean(axis=0)
            axis = _principal_axis(mine)
            # Rounded, so that the order of equal columns does not depend on the last bits.
            columns = columns[np.argsort(np.round(mine @ axis, 6), kind="stable")]
        done = np.cumsum(load[columns])
        place = int(np.searchsorted(done - load[columns] / 2, done[-1:].sum() * left / bins))
        # Each side keeps at least one column for each of its groups, where there are enough.
        spare = len(columns) - bins
        place = min(max(place, left), left + spare) if spare >= 0 else min(place, left)
        place = max(min(place, left * limit), len(columns) - (bins - left) * limit)
        return cut(columns[:place], left) + cut(columns[place:], bins - left)

    return cut(np.arange(len(features)), bins)


@dataclass(frozen=True)
class Grouping:
    """Chooses k tiles and the columns of each engine for `golden.planner.product.plan_matmul`.

    Attributes:
        shape: the array.
        price: what a stored byte costs, in cycles.
    """

    shape: ArrayShape
    price: float

    @cached_property
    def variants(self) -> list[Variant]:
        """All ways in which the array can hold a block."""
        return variants_of(self.shape)

    @cached_property
    def _header(self) -> np.ndarray:
        """Price of a block's headers and half a word of padding, in each variant."""
        parts = np.array([len(variant) for variant in self.variants])
        return parts * (1 + 12 * self.price)

    def _priced(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        cycles, stored = column_prices(self.shape, self.variants, tile)
        return np.minimum(cycles + self.price * stored, FORBIDDEN), cycles

    def bounds(self, sent: SentRows) -> np.ndarray:
        """Choose where the k tiles end, as the module describes.

        Args:
            sent: the rows that are sent.

        Returns:
            int64 (k tiles + 1,), first row of each tile, then the number of rows.
        """
        weights = sent.weights
        depth, outputs = weights.shape
        step = min(_STEP, self.shape.sure_rows)
        borders = np.append(np.arange(0, depth, step), depth)
        columns = np.unique(np.linspace(0, outputs - 1, min(outputs, _SAMPLED)).astype(int))
        sample = weights[:, columns]
        strips = [self._priced(Tile(sample[a:b]))[0] for a, b in pairwise(borders)]
        load = np.ones(len(columns))
        groups = bisect_columns(_features(strips), load, min(len(columns), self.shape.engines))
        order = np.concatenate(groups)
        starts = np.cumsum([0, *(len(group) for group in groups[:-1])])
        share = len(columns) / outputs
        least = np.full(len(borders), np.inf)
        least[0] = 0.0
        before = np.zeros(len(borders), np.int64)
        reach = self.shape.k_tile // step
        strip_weights = [column_weights(weights[a:b]) for a, b in pairwise(borders)]
        weight = np.cumsum([np.zeros(outputs, np.int64), *strip_weights], axis=0)
        for end in range(1, len(borders)):
            for begin in range(max(0, end - reach), end):
                if (weight[end] - weight[begin]).max() > self.shape.column_weight:
                    continue
                prices = self._priced(Tile(sample[borders[begin] : borders[end]]))[0]
                blocks = np.add.reduceat(prices[:, order], starts, axis=1) / share
                total = least[begin] + float((blocks + self._header[:, None]).min(axis=0).sum())
                if total < least[end] - 1e-9:
                    least[end], before[end] = total, begin
        chosen = [len(borders) - 1]
        while chosen[-1]:
            chosen.append(int(before[chosen[-1]]))
        return borders[chosen[::-1]]

    def assign(self, items: Items, segments: int, seed: int) -> list[list[np.ndarray]]:
        """Choose the columns of each engine, as the module describes.

        Args:
            items: the columns.
            segments: number of segments, which take turns in the rings.
            seed: seed of the annealing.

        Returns:
            Column numbers as ``[segment][engine]``; every column stands there once.
        """
        engines = self.shape.engines
        found = [self._priced(tile) for tile in items.tiles]
        # (columns, tiles, variants), without the dummy.
        prices = np.stack([price for price, _ in found]).transpose(2, 0, 1)[:-1]
        cycles = np.stack([cycle for _, cycle in found]).transpose(2, 0, 1)[:-1]
        load = cycles.min(axis=2).sum(axis=1)
        features = _features([price[:, :-1] for price, _ in found])
        bins = bisect_columns(features, load, engines * segments, self.shape.columns)
        assignment = []
        for segment in range(segments):
            start = bins[segment::segments]
            mine = np.concatenate(start)
            owner = np.repeat(np.arange(engines), [len(part) for part in start])
            if len(mine) > 1 and engines > 1:
                taken = np.ascontiguousarray(cycles[mine])
                ideal = float(taken.min(axis=2).sum()) / engines
                owner = anneal(
                    np.ascontiguousarray(prices[mine]),
                    taken,
                    self._header,
                    owner,
                    engines,
                    self.shape.columns,
                    0.0,
                    2.5 / max(1.0, _SPREAD * ideal),
                    _HEAT,
                    _DECADES,
                    _MOVED,
                    min(_MOVES * len(mine), _MOST_MOVES),
                    (seed + segment) % (1 << 32),
                )
            assignment.append([np.sort(mine[owner == engine]) for engine in range(engines)])
        return assignment


def _principal_axis(rows: np.ndarray) -> np.ndarray:
    """Find the direction in which centred rows spread most, by power iteration.

    A few iterations are enough: the axis only orders the columns, and where two directions spread
    equally either of them serves.

    Returns:
        float64 (features,); its largest entry is positive.
    """
    spread = np.square(rows).sum(axis=0)
    axis = np.zeros(rows.shape[1])
    axis[np.argmax(spread)] = 1.0
    for _ in range(_ITERATIONS):
        turned = rows.T @ (rows @ axis)
        length = np.linalg.norm(turned)
        if not length:
            break
        axis = turned / length
    return axis * np.sign(axis[np.argmax(np.abs(axis))])


def _features(prices: Sequence[np.ndarray]) -> np.ndarray:
    """What each variant costs a column above its cheapest one, in every tile.

    Returns:
        float64 (columns, features), one feature for each tile and variant.
    """
    extra = [tile - tile.min(axis=0) for tile in prices]
    # A kernel that refuses a column must not outweigh all other differences.
    clipped = [np.minimum(tile, 4 * np.median(tile) + 1) for tile in extra]
    return np.concatenate(clipped, axis=0).T
