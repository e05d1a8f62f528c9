"""Scaling to 65,536 event units: SmolLM2's linear layers on clusters of 64, cycle-exact.

A *unit* is one engine: one event per cycle, V multipliers.  Larger arrays are *clusters* of 64
units; `flows.clusters` says how a product is cut among them.  Matrices with a common input (Q, K
and V; gate and up) run as one product.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from flows.arrays import sparse_config
from flows.bench.bars import Bar
from flows.bench.sparsity import SPARSITIES
from flows.clusters import count_product
from flows.compress.masks import masked_weights
from flows.compress.prune import pruned_operands
from flows.models.calibration import load_calibrated
from golden.cycles.count import count_cycles
from golden.planner.product import plan_matmul

__all__ = ["CLUSTER", "HEADER", "UNITS", "model_speed", "run"]

HEADER = (
    *("weights", "M", "units", "cycles", "MACs per cycle", "% of limit"),
    *("bytes per cycle", "largest loss"),
)

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
        "header": HEADER,
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
