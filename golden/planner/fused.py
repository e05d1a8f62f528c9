"""A weight matrix whose k tiles have scales of their own, its plan and its exact product.

The rows of the matrix are dealt to k tiles.  In the columns of one block (an engine's share of a
segment) each tile has its own scale.  The header of a tile's block carries that scale as a Q15
weight.  The weights of a column sum to one over its tiles, and the drain adds up the weighted sums
of the tiles (`golden.numerics.combine`).  Which tile a value belongs to follows from its row, so
scales per tile cost neither an index bit nor an event.  They cost headers where there are more
tiles than the array asks for.

    real weight of row k in column n = S[n] * weights[tile of k][n] / 32768 * value[k][n]

`plan_fused` plans such a matrix, as `golden.planner.product.plan_matmul` plans a plain one::

    fused = ...                              # golden.planner.part_search.split_scales
    plan = plan_fused(shape, len(activations), fused)
    out = fused.product(activations, shape.rounding)  # int32, in units of S: what the array gives
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
from ..program.plan import Plan
from ..shape import ArrayShape
from .choose import ByCycles, Chooser, PartChoice, built_kernels
from .layout import decide, overflow, predict
from .operand import Items, SentRows
from .product import plan_of
from .tile import Tile

__all__ = ["FusedMatrix", "plan_fused"]


@dataclass(frozen=True, eq=False)
class FusedMatrix:
    """INT8 weights in k tiles with scales of their own.

    Attributes:
        matrix: int8 (rows, N), the rows in the order in which they are sent.
        order: int64 (rows,), number of each row in the original matrix.
        bounds: int64 (tiles + 1,), first row of each k tile, then the number of rows.
        assignment: output columns by segment and engine, each column once.
        weights: int64 (tiles, N), Q15, equal for all columns of one engine in one segment.
        scale: float64 (N,), S, real value of one unit of the fused product.

    Raises:
        BadInput: the weights of a column do not sum to one, the bounds do not ascend, a column is
            missing or stands there twice, or columns of one block have different weights.
    """

    matrix: NDArray[np.int8] = field(repr=False)
    order: NDArray[np.int64] = field(repr=False)
    bounds: NDArray[np.int64] = field(repr=False)
    assignment: tuple[tuple[NDArray[np.int64], ...], ...] = field(repr=False)
    weights: NDArray[np.int64] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)

    def __post_init__(self) -> None:
        rows, outputs = self.matrix.shape
        bounds = self.bounds.tolist()
        if bounds[0] != 0 or bounds[-1] != rows or any(a >= b for a, b in pairwise(bounds)):
            raise BadInput(f"fusion: bounds: must ascend from 0 to {rows}, got {bounds}")
        if self.weights.shape != (len(bounds) - 1, outputs) or not weights_valid(self.weights):
            raise BadInput(
                f"fusion: weights: must be {len(bounds) - 1} for each of {outputs} columns and sum "
                f"to {UNIT}, got shape {self.weights.shape}"
            )
        blocks = [columns for segment in self.assignment for columns in segment]
        if not np.array_equal(np.sort(np.concatenate(blocks)), np.arange(outputs)):
            raise BadInput(f"fusion: assignment: must hold each of {outputs} columns once")
        for columns in blocks:
            if len(columns) and (self.weights[:, columns] != self.weights[:, columns[:1]]).any():
                raise BadInput("fusion: weights: must be the same in all columns of a block")

    @property
    def tiles(self) -> int:
        """Number of k tiles."""
        return len(self.bounds) - 1

    @property
    def tile_of_row(self) -> NDArray[np.int64]:
        """Number of the tile of each row that is sent, int64 (rows,)."""
        return np.repeat(np.arange(self.tiles), np.diff(self.bounds))

    @property
    def row_scale(self) -> NDArray[np.float64]:
        """Real value of one unit of each value, float64 (rows, N)."""
        return (self.scale * self.weights / UNIT)[self.tile_of_row]

    def unordered(self, depth: int) -> NDArray[np.int8]:
        """Return the values in the original order of rows, int8 (depth, N).

        Rows that are not sent are zero.
        """
        found = np.zeros((depth, self.matrix.shape[1]), np.int8)
        found[self.order] = self.matrix
        return found

    def real(self, depth: int) -> NDArray[np.float64]:
        """Return the real matrix that the values stand for, float64 (depth, N)."""
        found = np.zeros((depth, self.matrix.shape[1]))
        found[self.order] = self.matrix * self.row_scale
        return found

    def product(
        self, activations: NDArray[np.int8], rounding: Rounding = "half_even"
    ) -> NDArray[np.int32]:
        """Compute the fused product, int32 (M, N), in units of S.

        Args:
            activations: int8 (M, K), channels in the original order.
            rounding: how the array rounds (`ArrayShape.rounding`).
        """
        sent = activations[:, self.order]
        partials = [matmul(sent[:, a:b], self.matrix[a:b]) for a, b in pairwise(self.bounds)]
        return combine(np.stack(partials), self.weights, rounding=rounding)

    def chooser(self, kernels: Sequence[Kernel], items: Items) -> Chooser:
        """Return a chooser that holds each block in its quickest kernel, with its tile's weight.

        Args:
            kernels: candidates.
            items: the columns, cut to the rows that are sent.
        """
        return _WeightedTiles(self.weights, kernels)

    def without(self, dropped: NDArray[np.bool_]) -> "FusedMatrix":
        """Return the matrix without some rows; each tile keeps at least one.

        Args:
            dropped: bool (K,), rows of the original matrix to leave out.
        """
        stays = ~dropped[self.order]
        for low, high in pairwise(self.bounds):
            stays[low] |= not stays[low:high].any()
        bounds = np.concatenate([[0], np.cumsum(stays)])[self.bounds]
        return replace(self, matrix=self.matrix[stays], order=self.order[stays], bounds=bounds)


class _WeightedTiles:
    """Holds each block whole in its quickest kernel and gives it the weight of its tile.

    Args:
        weights: int64 (tiles, N), Q15.
        kernels: candidates.
    """

    def __init__(self, weights: NDArray[np.int64], kernels: Sequence[Kernel]) -> None:
        self._weights = weights
        self._by_cycles = ByCycles(kernels)

    def choose(
        self, number: int, tile: Tile, blocks: Sequence[np.ndarray], room: int | None
    ) -> list[list[PartChoice]]:
        tiles, outputs = self._weights.shape
        found = self._by_cycles.choose(number, tile, blocks, room)
        if tiles == 1:
            return found
        return [
            # An engine without columns gets a dummy of zeros, whose weight is 1.0, to keep in step.
            [part]
            if columns[0] >= outputs
            else [replace(part, weight=int(self._weights[number, columns[0]]), exact=False)]
            for (part,), columns in zip(found, blocks, strict=True)
        ]


def plan_fused(shape: ArrayShape, rows: int, fused: FusedMatrix, kernel: str = "auto") -> Plan:
    """Plan the product of a fused matrix.

    Args:
        shape: the array, with fusion.
        rows: number of tokens, M.
        fused: the weights, with columns for each engine of the array.
        kernel: a kernel of the array for all blocks, or ``auto``, which takes the quickest for
            each block.

    Raises:
        BadInput: the array lacks fusion or the kernel, a tile or a block is too large for it, the
            kernel cannot hold the weights, or the rings are too small.
    """
    if not shape.fusion:
        raise BadInput("schedule.fusion: must be true for scales per part, got false")
    deepest = int(np.diff(fused.bounds).max())
    if deepest > shape.k_tile:
        raise BadInput(f"fusion: bounds: must cut tiles of at most {shape.k_tile}, got {deepest}")
    if any(len(segment) != shape.engines for segment in fused.assignment):
        raise BadInput(f"fusion: assignment: must have columns for each of {shape.engines} engines")
    widest = max(len(columns) for segment in fused.assignment for columns in segment)
    if widest > shape.columns:
        raise BadInput(
            f"fusion: assignment: must give an engine at most {shape.columns} columns of a "
            f"segment, got {widest}"
        )
    sent = SentRows(fused.order, fused.matrix)
    items = sent.items(fused.bounds)
    chooser = fused.chooser(built_kernels(shape, kernel), items)
    dealt = [list(segment) for segment in fused.assignment]
    m_tiles = -(-rows // shape.lanes)
    # One tile of tokens needs no replay, so the weights may stream through the rings.
    for replay in (True, False) if m_tiles > 1 else (False,):
        layout = decide(shape, chooser, items, dealt, replay)
        if overflow(shape, layout) <= 1:
            cycles = predict(shape, layout, m_tiles)
            planned = replace(layout, predicted=cycles, predicted_start=cycles)
            return plan_of(planned, shape, rows, sent)
    raise BadInput(
        f"array shape: index_words: must hold a block with its parts, got {shape.index_words}"
    )
