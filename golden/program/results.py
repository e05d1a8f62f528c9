"""What the array must send back for a plan: every column of every engine, padding included."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..numerics.combine import ACCUMULATOR_BITS, round_accumulator
from .plan import Plan

__all__ = ["GroupResults", "expected_results"]


@dataclass(frozen=True, eq=False)
class GroupResults:
    """Columns that one group sends in a job, engine by engine.

    Columns of one engine arrive in this order; those of different engines of the group mingle in
    an order that depends on the stalls of all streams.

    Attributes:
        data: int32 (columns, lanes).
        engines: int64 (columns,), the engine within the group, TID of the stream.
        m_tiles: int64 (columns,), the tile of tokens within the job.
        outputs: int64 (columns,), the output column, -1 for one that is to be discarded.
    """

    data: NDArray[np.int32]
    engines: NDArray[np.int64]
    m_tiles: NDArray[np.int64]
    outputs: NDArray[np.int64]


def expected_results(plan: Plan, activations: NDArray[np.int8], job: range) -> list[GroupResults]:
    """Results of one job by group, from the plan's blocks and the activations.

    Args:
        plan: of the product.
        activations: int8 (M, K), as the plan was made for.
        job: tiles of tokens, one of ``plan.jobs``.
    """
    shape = plan.shape
    lanes = np.zeros((len(job) * shape.lanes, plan.depth), np.int64)
    mine = activations[job.start * shape.lanes : job.stop * shape.lanes, plan.kept]
    lanes[: len(mine)] = mine
    found = []
    for group in range(shape.groups):
        data, engines, tiles, outputs = [], [], [], []
        for engine in range(shape.group):
            stream = plan.streams[group * shape.group + engine]
            for segment, columns in enumerate(stream.columns):
                sums = _segment(plan, group * shape.group + engine, segment, lanes)
                # By tile of tokens, then by column: (columns, tiles, lanes) turned round.
                by_tile = sums.T.reshape(len(columns), len(job), shape.lanes).swapaxes(0, 1)
                data.append(by_tile.reshape(-1, shape.lanes))
                engines.append(np.full(len(data[-1]), engine))
                tiles.append(np.repeat(np.arange(len(job)), len(columns)))
                outputs.append(np.tile(columns, len(job)))
        found.append(GroupResults(*(np.concatenate(p) for p in (data, engines, tiles, outputs))))
    return found


def _segment(plan: Plan, engine: int, segment: int, lanes: NDArray[np.int64]) -> NDArray[np.int32]:
    """Sums of one engine's columns of a segment, int32 (rows of the job, columns)."""
    stream = plan.streams[engine]
    total = np.zeros((len(lanes), len(stream.columns[segment])), np.int64)
    for block, header, tile in zip(stream.blocks, stream.headers, stream.tiles, strict=True):
        place, k_tile = divmod(int(tile), plan.k_tiles)
        if place == segment:
            low, high = int(plan.bounds[k_tile]), int(plan.bounds[k_tile + 1])
            weight = header.weight if plan.shape.fusion else 1
            total += weight * (lanes[:, low:high] @ block.astype(np.int64))
    if plan.shape.fusion:
        return round_accumulator(_wrapped(total, ACCUMULATOR_BITS))
    return _wrapped(total, 32).astype(np.int32)


def _wrapped(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Two's complement of ``bits``."""
    half = np.int64(1) << (bits - 1)
    return ((values + half) & (2 * half - 1)) - half
