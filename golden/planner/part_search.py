"""Searches scales for the k tiles of float weights, within limits of bytes and cycles.

The *one-scale product*, with one scale for each column, is what all candidates are measured by.
Candidates differ in three things:

- the k tiles: those of the one-scale product, or more of them;
- the columns of each engine: columns with similar ratios of scales together, or dealt as in the
  one-scale product;
- whether weights that one scale rounds to zero may become values, which event kernels pay for.

Candidates are planned in order of their output error, the least first.  If one kernel holds all
blocks of the one-scale product, each candidate is planned in that kernel first, then with the
quickest kernel for each block.  The first plan within the limits is taken.  The one-scale product
itself is always allowed, so neither its error nor the limits are ever exceeded.

The energy of a channel is the mean square of its activations.  A share `_UNSEEN` of the mean energy
is added, so that a channel that is silent on a few tokens still counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..formats import KERNELS
from ..program.plan import Plan
from ..shape import ArrayShape
from .choose import built_kernels, column_costs
from .compete import counted
from .fused import FusedMatrix, plan_fused
from .grouping import bisect_columns
from .scales import Assignment, fuse_tiles, tile_sums
from .tile import Tile
from .tiled import equal_tiles, row_tiles

__all__ = ["OneScale", "SplitScales", "split_scales"]

_UNIT = 64  # tiles are multiples of so many rows, which fill whole index words of every kernel
_MOST_TILES = 16
_MORE = (1, 2, 4)  # numbers of tiles to try, in multiples of the fewest that the array allows
_UNSEEN = 0.01
_QUIET = 3.0  # octaves below the loudest tile; quieter tiles count as if they were this quiet


@dataclass(frozen=True, eq=False)
class OneScale:
    """The product with one scale for each column, which all candidates are measured by.

    Attributes:
        weights: int8 (K, N).
        scale: float64 (N,).
        plan: its plan on the array.
    """

    weights: NDArray[np.int8] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)
    plan: Plan = field(repr=False)


@dataclass(frozen=True, eq=False)
class SplitScales:
    """The result of the search, beside the one-scale product.

    Attributes:
        fused: the weights with a scale for each k tile; None where no candidate within the limits
            has a smaller error than one scale.
        plan: the plan of ``fused``, or the one-scale plan.
        error, error_one_scale: output error by the rounding of the weights alone,
            ``|X (W - W')| / |X W|``; 0 for a product of zeros.
        cycles, cycles_one_scale: cycles over at most `golden.planner.compete.COUNTED_TILES` tiles
            of tokens.
        weight_bytes, weight_bytes_one_scale: bytes of the weight streams.
        planned: number of candidates that were planned.
    """

    fused: FusedMatrix | None
    plan: Plan = field(repr=False)
    error: float
    error_one_scale: float
    cycles: int
    cycles_one_scale: int
    weight_bytes: int
    weight_bytes_one_scale: int
    planned: int


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Weights with scales for each k tile, before a plan is made of them.

    Attributes:
        way: whether weights that one scale rounds to zero stay zero, and whether columns with
            similar ratios of scales share an engine.
        fused: the weights.
        error: relative error of the output.
    """

    way: tuple[bool, bool]
    fused: FusedMatrix
    error: float


def _run(plan: Plan) -> int:
    """Number of consecutive rows that the kernels of a plan need to stay together."""
    kernels = (KERNELS[name].configured(plan.shape) for name in plan.kernel_blocks)
    return max(kernel.run_rows for kernel in kernels)


def _tilings(plan: Plan, rows: int, run: int) -> list[NDArray[np.int64]]:
    """List the bounds of k tiles to try, with two tiles or more, the fewest tiles first."""
    limit = plan.shape.sure_rows
    unit = max(1, min(_UNIT, limit, rows // 2))
    unit = -(-unit // run) * run
    fewest = max(2, -(-rows // limit))
    counts = sorted({fewest + 1, *(more * fewest for more in _MORE)})
    found = [plan.bounds] if plan.k_tiles > 1 and plan.depth == rows else []
    found += [equal_tiles(rows, count, unit) for count in counts if count <= _MOST_TILES]
    by_name = {bounds.tobytes(): bounds for bounds in found}
    return sorted(
        (b for b in by_name.values() if len(b) > 2 and np.diff(b).max() <= limit), key=len
    )


def _like(
    shape: ArrayShape, peaks: NDArray[np.float64], load: NDArray[np.float64], segments: int
) -> Assignment:
    """Deal columns so that those with similar ratios of scales share an engine, at equal load."""
    ratio = np.log2(np.maximum(peaks, 1e-300) / np.maximum(peaks.max(axis=0), 1e-300))
    features = np.maximum(ratio, -_QUIET).T
    bins = bisect_columns(features, load, shape.engines * segments, shape.columns)
    return tuple(tuple(bins[segment::segments]) for segment in range(segments))


def _dealt(plan: Plan) -> Assignment | None:
    """Return the columns as a plan deals them; None where several engines share a column."""
    streams = plan.streams
    found = tuple(
        tuple(stream.columns[segment][stream.columns[segment] >= 0] for stream in streams)
        for segment in range(plan.segments)
    )
    return found if plan.k_split == 1 else None


def _candidates(
    one: OneScale,
    weights: NDArray[np.float64],
    energy: NDArray[np.float64],
    error: Callable[[FusedMatrix], float],
    kernel: str,
    seed: int,
) -> Iterator[_Candidate]:
    """Yield all candidates; the module says how they differ."""
    plan, shape = one.plan, one.plan.shape
    possible = weights != 0
    held = one.weights != 0
    # A column that vanishes in float32 is zero, whatever its scale.
    possible &= held.any(axis=0)
    run = _run(plan)
    for strict in (False, True):
        kept = held if strict else possible
        if strict and np.array_equal(held, possible):
            return
        rows = np.flatnonzero(kept.any(axis=1))
        real = np.where(kept, weights, 0.0)[rows]
        for bounds in _tilings(plan, len(rows), run):
            order = row_tiles(real, energy[rows], bounds, run=run, seed=seed)
            sent = rows[order]
            peaks, _ = tile_sums(np.abs(real[order]), np.zeros(real.shape), bounds)
            tiles = [Tile(one.weights[sent[low:high]]) for low, high in pairwise(bounds)]
            costs = column_costs(built_kernels(shape, kernel), tiles)
            load = costs.sum(axis=0).astype(np.float64)
            ways = {True: _like(shape, peaks, load, plan.segments), False: _dealt(plan)}
            for like, assignment in ways.items():
                if assignment is not None:
                    fused = fuse_tiles(weights, kept, energy, sent, bounds, assignment)
                    yield _Candidate((strict, like), fused, error(fused))


def _output_size(inputs: NDArray[np.float64]) -> Callable[[NDArray[np.float64]], float]:
    """Return a function of a matrix (K, N): the Frobenius norm of ``inputs @ matrix``."""
    tokens, depth = inputs.shape
    if tokens <= depth:
        return lambda matrix: float(np.linalg.norm(inputs @ matrix))
    # With more tokens than channels the Gram matrix is smaller than the inputs.
    gram = inputs.T @ inputs
    return lambda matrix: float(np.sqrt(max(0.0, float((matrix * (gram @ matrix)).sum()))))


def split_scales(
    one: OneScale,
    weights: NDArray[np.float64],
    inputs: NDArray[np.float64],
    *,
    byte_limit: float,
    cycle_limit: float,
    kernel: str = "auto",
    seed: int = 0,
    silent: NDArray[np.bool_] | None = None,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> SplitScales:
    """Find the scales of the least output error within the limits.

    Args:
        one: the one-scale product, on an array with fusion.
        weights: the float weights, (K, N).
        inputs: (tokens, K), activations in real units on which the error is judged.
        byte_limit, cycle_limit: most bytes and cycles, relative to the one-scale product.
        kernel: a kernel of the array for all blocks, or ``auto``.
        seed: seed of the exchanges of rows between tiles.
        silent: bool (K,), channels that are zero for all tokens of the product and need not be
            sent; None: all are sent.
        progress: called with (what, done, total).

    Raises:
        BadInput: the array has no fusion.
    """
    shape = one.plan.shape
    if not shape.fusion:
        raise BadInput("schedule.fusion: must be true for scales per part, got false")
    depth = len(weights)
    energy = np.square(inputs).mean(axis=0)
    energy = energy + (_UNSEEN * float(energy.mean()) or 1.0)
    size = _output_size(inputs)
    whole = size(weights)

    def relative(real: NDArray[np.float64]) -> float:
        change = size(weights - real)
        return change / whole if whole else change

    before = relative(one.weights * one.scale)
    cycles, stored = counted(one.plan).cycles, one.plan.weight_bytes
    progress("split scales", 0, 2)
    found = (
        _candidates(one, weights, energy, lambda f: relative(f.real(depth)), kernel, seed)
        if one.weights.any()
        else ()
    )
    able = sorted((c for c in found if c.error < before), key=lambda c: c.error)
    # Where one kernel holds all blocks, the quickest kernel of each block may cost more bytes.
    names = dict.fromkeys((one.plan.kernel if one.plan.kernel in shape.kernels else kernel, kernel))
    # Fewest tiles that took too many bytes, for each way and kernel; more tiles take more.
    too_many: dict[tuple[tuple[bool, bool], str], int] = {}
    planned = 0
    progress("split scales", 1, 2)
    for candidate, name in product(able, names):
        fused = candidate.fused if silent is None else candidate.fused.without(silent)
        way = candidate.way, name
        if fused.tiles >= too_many.get(way, _MOST_TILES + 1):
            continue
        planned += 1
        try:
            plan = plan_fused(shape, one.plan.rows, fused, name)
        except BadInput:
            continue
        if plan.weight_bytes > byte_limit * stored:
            too_many[way] = fused.tiles
            continue
        mine = counted(plan).cycles
        if mine <= cycle_limit * cycles:
            errors = candidate.error, before
            return SplitScales(
                fused, plan, *errors, mine, cycles, plan.weight_bytes, stored, planned
            )
    return SplitScales(None, one.plan, before, before, cycles, cycles, stored, stored, planned)
