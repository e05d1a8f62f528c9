"""One product on many clusters of engines: how it is cut, and the cycles it takes.

Clusters share nothing but the clock: each has its own activation broadcast, weights and results.
A product is cut three ways:

- tokens: clusters with the same weights take the same cycles, so one of them is counted for all;
- columns: dealt longest processing time first by decoder cycles, each cluster counted by itself;
- k: clusters that hold different rows of the same columns; the host adds their results.

The cut is the one with the fewest cycles by `predict`; what is reported is the cycle model's count
of every cluster, and a product takes as long as its slowest cluster.  Each product starts from
empty rings.  The memories that feed the clusters are ideal: what they would have to deliver is
reported.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise

import numpy as np

from golden.cycles.count import count_cycles
from golden.planner.choose import built_kernels, column_costs
from golden.planner.distribute import assign_columns
from golden.planner.product import plan_without_search
from golden.planner.tile import Tile
from golden.planner.tilings import tilings
from golden.program.plan import Plan
from golden.shape import ArrayShape

__all__ = ["Cut", "best_cut", "count_product", "predict", "row_bounds"]

_PARTS = (1, 2, 4, 8, 16)
_LATENCY = 30  # cycles from the first beat to the first event and from the last event to the end
_LEAD_TILES = 8  # tiles of tokens up to which a short first k tile pays
_NEAR = 1.02
_LEAST_ROWS = 16  # of k in a cluster


@dataclass(frozen=True)
class Cut:
    """Into how many each dimension is cut.

    Attributes:
        tokens, columns, k: clusters along each; their product is at most the clusters there are.
        parts: k parts of a column within a cluster.
    """

    tokens: int
    columns: int
    k: int
    parts: int


def predict(
    shape: ArrayShape, cut: Cut, tokens: int, depth: int, outputs: int, density: float
) -> float:
    """Cycles of the slowest cluster, for ranking cuts."""
    rows = -(-depth // cut.k)
    plays = -(-tokens // (shape.lanes * cut.tokens))
    items = -(-outputs // cut.columns) * cut.parts
    k_tiles = -(-rows // shape.k_tile)
    beats = -(-rows // shape.rows_per_beat) * shape.beats_per_row
    events = max(rows * density / cut.parts, k_tiles)
    busy = -(-items // shape.engines) * events
    # Engines of a group share a weight port: values, occupancy bits and a header.
    stored = items * (events + k_tiles * 8 + rows / 8) / shape.groups / (shape.data_bits // 8)
    return _LATENCY + min(beats, shape.k_tile // 8) + max(stored, plays * max(busy, beats))


def best_cut(
    shape: ArrayShape, clusters: int, tokens: int, depth: int, outputs: int, density: float
) -> Cut:
    """Of the cuts within 2 % of the least predicted cycles, the one with the most token parts.

    Those store the same weights in several clusters, but add nothing up.
    """
    powers = [1 << i for i in range(clusters.bit_length())]
    cuts = [
        Cut(m, n, k, parts)
        for k in powers
        for parts in _PARTS
        for n in powers
        for m in powers
        if m * n * k <= clusters
        and m <= max(1, tokens // shape.lanes)
        and n <= outputs
        and depth // k >= _LEAST_ROWS
    ]
    cycles = np.array([predict(shape, cut, tokens, depth, outputs, density) for cut in cuts])
    near = np.flatnonzero(cycles <= _NEAR * cycles.min())
    return cuts[min(near, key=lambda i: (-cuts[i].tokens, cycles[i]))]


def _cluster_plan(shape: ArrayShape, weights: np.ndarray, tokens: int, parts: int) -> Plan:
    """A plan as `plan_matmul` makes it, without its search."""
    plays = -(-tokens // shape.lanes)
    bounds = tilings(shape, weights)[: 2 if plays <= _LEAD_TILES else 1][-1]
    kernels = built_kernels(shape, "bitmap")
    return plan_without_search(shape, kernels, weights, bounds, tokens, parts)


def row_bounds(weights: np.ndarray, parts: int, beat: int) -> np.ndarray:
    """First row of each k part, then K: whole beats with about the same non-zeros in each part."""
    depth = len(weights)
    events = np.concatenate([[0], np.cumsum(np.count_nonzero(weights, axis=1))])
    wanted = events[-1] * np.arange(1, parts) / parts
    inner = np.round(np.searchsorted(events, wanted) / beat).astype(np.int64) * beat
    # No part may be empty.
    for i in range(len(inner)):
        inner[i] = max(inner[i], beat * (i + 1), inner[i - 1] + beat if i else 0)
    for i in reversed(range(len(inner))):
        inner[i] = min(inner[i], depth - beat * (len(inner) - i))
    return np.concatenate([[0], inner, [depth]])


def count_product(shape: ArrayShape, weights: np.ndarray, tokens: int, units: int) -> dict:
    """Cycles of one product on ``units`` units, every distinct cluster counted.

    Args:
        shape: one cluster.
        weights: int8 (K, N).
        tokens: M.
        units: a multiple of the cluster's engines.
    """
    depth, outputs = weights.shape
    density = np.count_nonzero(weights) / weights.size
    clusters = units // shape.engines
    cut = best_cut(shape, clusters, tokens, depth, outputs, density)
    columns = [np.arange(outputs)]
    if cut.columns > 1:
        kernels = built_kernels(shape, "bitmap")
        costs = column_costs(kernels, [Tile(weights)]).sum(axis=0)
        columns = assign_columns(costs, cut.columns, 1)[0]
    rows = row_bounds(weights, cut.k, shape.rows_per_beat)
    most = -(-tokens // (shape.lanes * cut.tokens)) * shape.lanes
    waiting = np.zeros(3, np.int64)
    cycles, sent = [], 0
    for mine in columns:
        for low, high in pairwise(rows):
            part = np.ascontiguousarray(weights[low:high, mine])
            plan = _cluster_plan(shape, part, min(most, tokens), cut.parts)
            count = count_cycles(plan)
            cycles.append(count.cycles)
            waiting += [count.waiting_tile, count.waiting_drain, count.waiting_event]
            beats = sum(plan.tile_beats(k) for k in range(plan.k_tiles))
            plays = plan.m_tiles * plan.segments
            sent += plan.weight_bytes + beats * plays * shape.activation_bits // 8
    slowest = max(cycles)
    useful = int(np.count_nonzero(weights)) * tokens
    engine_cycles = shape.engines * len(cycles) * slowest
    return {
        "units": units,
        "tokens": tokens,
        "depth": depth,
        "outputs": outputs,
        "cut": asdict(cut),
        "columns_per_unit": outputs / cut.columns / shape.engines,
        "clusters_used": cut.tokens * cut.columns * cut.k,
        "clusters_counted": len(cycles),
        "cycles": slowest,
        "mean_cluster_cycles": float(np.mean(cycles)),
        "macs_effective": useful,
        "waiting_tile": float(waiting[0] / engine_cycles),
        "waiting_drain": float(waiting[1] / engine_cycles),
        "waiting_event": float(waiting[2] / engine_cycles),
        "bytes_sent": sent * cut.tokens,
        "source": "computed (cycle model)",
    }
