"""Scaling to 65,536 event units: SmolLM2's linear layers on clusters of 64, cycle-exact.

A *unit* is one engine: one event per cycle, V multipliers.  Larger arrays are *clusters* of 64
units that share nothing but the clock: each has its own activation broadcast, weights and
results.  All clusters work on one product, which is cut three ways:

- tokens: clusters with the same weights take the same cycles, so one of them is counted for all;
- columns: dealt longest processing time first by decoder cycles, each cluster counted by itself;
- k: clusters that hold different rows of the same columns; the host adds their results.

Matrices with a common input (Q, K and V; gate and up) run as one product.  The cut is the one
with the fewest cycles by `predict`; what is reported is the cycle model's count of every cluster,
and a product takes as long as its slowest cluster.  Each product starts from empty rings.  The
memories that feed the clusters are ideal: what they would have to deliver is reported.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from flows.bench.bars import Bar
from flows.bench.sparsity import SPARSITIES, masked_weights, sparse_config
from flows.bench.tensors import load_calibrated, pruned_operands
from golden.cycles.count import count_cycles
from golden.planner.choose import built_kernels, column_costs
from golden.planner.distribute import assign_columns
from golden.planner.layout import tilings
from golden.planner.product import plan_matmul, plan_without_search
from golden.planner.tile import Tile
from golden.program.plan import Plan
from golden.shape import ArrayShape

__all__ = ["CLUSTER", "UNITS", "Cut", "best_cut", "count_product", "model_speed", "predict", "run"]

Progress = Callable[[str, int, int], None]

MODEL = "SmolLM2-135M-Instruct"
CLUSTER = 64
UNITS = (64, 256, 1024, 4096, 16_384, 65_536)
_LAYERS = 30
_PRODUCTS = (
    ("attn_q", "attn_k", "attn_v"),
    ("attn_output",),
    ("ffn_gate", "ffn_up"),
    ("ffn_down",),
)
_SPARSITY = 0.5
_TOKENS = 2048
_FEW_TOKENS = 16
_FEW_UNITS = 4096  # beyond, a unit has less than one column of 16 tokens
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
    depth = len(weights)
    plays = -(-tokens // shape.lanes)
    bounds = tilings(shape, depth)[-1 if plays <= _LEAD_TILES else 0]
    kernels = built_kernels(shape, "bitmap")
    return plan_without_search(shape, kernels, weights, bounds, tokens, parts)


def _row_bounds(weights: np.ndarray, parts: int, beat: int) -> np.ndarray:
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
    rows = _row_bounds(weights, cut.k, shape.rows_per_beat)
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
            sent += plan.weight_bytes + beats * plays * shape.data_bits // 8
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


def _total(products: Sequence[dict], lanes: int) -> dict[str, Any]:
    """Products one after the other."""
    units = products[0]["units"]
    cycles = sum(p["cycles"] for p in products)
    useful = sum(p["macs_effective"] for p in products)
    weight = [p["cycles"] * p["clusters_used"] * CLUSTER / (units * cycles) for p in products]

    def share(name: str) -> float:
        return sum(w * p[name] for w, p in zip(weight, products, strict=True))

    return {
        "units": units,
        "tokens": products[0]["tokens"],
        "cycles": cycles,
        "share_of_limit": useful / (units * lanes * cycles),
        "macs_effective": useful,
        "clusters_idle": 1 - sum(weight),
        "waiting_tile": share("waiting_tile"),
        "waiting_drain": share("waiting_drain"),
        "waiting_event": share("waiting_event"),
        "bytes_per_cycle": sum(p["bytes_sent"] for p in products) / cycles,
        "products": list(products),
    }


def _limited_by(total: dict[str, Any]) -> str:
    """The greatest loss, in words."""
    losses = {
        "activation port": total["waiting_tile"],
        "drain": total["waiting_drain"],
        "weights or events": total["waiting_event"],
        "no work for a cluster": total["clusters_idle"],
    }
    losses["uneven shares and ends"] = 1 - total["share_of_limit"] - sum(losses.values())
    worst = max(losses, key=lambda name: losses[name])
    return f"{worst} ({losses[worst]:.0%})"


def model_speed(size: int = 1024, tokens: int = 64) -> list[dict]:
    """Dense-equivalent products that the cycle model counts per CPU second; best of three runs."""
    shape = sparse_config(CLUSTER).shape
    activations = np.zeros((tokens, size), np.int8)
    figures = []
    for sparsity in (0.0, *SPARSITIES):
        weights = masked_weights("random", sparsity, size)
        plan = plan_matmul(shape, activations, weights, "bitmap" if sparsity else "dense")
        seconds = []
        for _ in range(3):
            started = time.process_time()
            count = count_cycles(plan)
            seconds.append(time.process_time() - started)
        figures.append(
            {
                "sparsity": sparsity,
                "tokens": tokens,
                "cycles": count.cycles,
                "seconds": min(seconds),
                "macs_dense_per_second": tokens * size * size / min(seconds),
            }
        )
    return figures


def _layer(data: dict, number: int) -> Iterable[np.ndarray]:
    """The pruned INT8 matrices of one layer, those with a common input side by side."""
    for names in _PRODUCTS:
        parts = [pruned_operands(data[f"blk.{number}.{name}"], _SPARSITY)[1] for name in names]
        yield np.concatenate(parts, axis=1)


def run(
    progress: Progress,
    layers: Sequence[int] = tuple(range(_LAYERS)),
    units: Sequence[int] = UNITS,
    tokens: int = _TOKENS,
) -> dict:
    """The middle layer on every size, then all layers on the largest.

    Args:
        progress: called with (what, done, total).
        layers: of the model.
        units: sizes, multiples of 64, ascending.
        tokens: M of the long case; beside it stands one tile of tokens, as in batched decoding,
            for the sizes that it can still use.
    """
    derived = sparse_config(CLUSTER)
    shape = derived.shape
    data = load_calibrated(MODEL, progress, list(layers))
    middle = list(_layer(data, layers[len(layers) // 2]))
    count_product(shape, middle[1][:, :CLUSTER], shape.lanes, CLUSTER)  # compiles the model
    started = time.process_time()
    curve = []
    points = [(tokens, u) for u in units] + [(_FEW_TOKENS, u) for u in units if u <= _FEW_UNITS]
    for number, (rows, size) in enumerate(points):
        progress("scaling", number, len(points))
        curve.append(_total([count_product(shape, w, rows, size) for w in middle], shape.lanes))
    full = [t for t in curve if t["tokens"] == tokens]
    model = []
    for number, layer in enumerate(layers):
        progress(f"{units[-1]:,} units", number, len(layers))
        if number == len(layers) // 2:
            model += full[-1]["products"]
        else:
            model += [count_product(shape, w, tokens, units[-1]) for w in _layer(data, layer)]
    whole = _total(model, shape.lanes)
    seconds = time.process_time() - started
    progress("speed of the cycle model", 0, 1)
    speeds = model_speed()
    bars = [
        Bar("CPU seconds for all sizes and layers", seconds, 60, at_most=True),
        Bar(
            f"share of linear scaling, {units[-1] // units[0]:,} times the units, M = {tokens}",
            full[-1]["share_of_limit"] / full[0]["share_of_limit"],
            0.5,
        ),
        *(
            Bar(
                f"1e9 dense-equivalent MACs per CPU second of the model, {s['sparsity']:.0%} zeros",
                s["macs_dense_per_second"] / 1e9,
                1,
            )
            for s in speeds
        ),
    ]
    rows = [_row(f"layer {layers[len(layers) // 2]}", total) for total in curve]
    rows.append(_row(f"all {len(layers)} layers", whole))
    return {
        "title": f"SmolLM2, Wanda {_SPARSITY:.0%}, clusters of {CLUSTER} units, V = {shape.lanes} "
        f"(cycle model, exact, {seconds:.0f} CPU seconds)",
        "header": (
            *("weights", "M", "units", "cycles", "MACs per cycle", "% of limit"),
            *("bytes per cycle", "largest loss"),
        ),
        "rows": rows,
        "seed": None,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "seconds": seconds,
        "curve": curve,
        "model": whole,
        "model_speed": speeds,
        "bars": [bar.report() for bar in bars],
    }


def _row(what: str, total: dict[str, Any]) -> tuple[str, ...]:
    return (
        what,
        f"{total['tokens']:,}",
        f"{total['units']:,}",
        f"{total['cycles']:,}",
        f"{total['macs_effective'] / total['cycles']:,.0f}",
        f"{total['share_of_limit']:.1%}",
        f"{total['bytes_per_cycle']:,.0f}",
        _limited_by(total),
    )
