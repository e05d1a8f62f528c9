"""Share of the limit that the array reaches on real, Wanda-pruned weights, cycle-exact.

Every linear layer of the first, the middle and the last layer of each model is pruned with the
activations that real text or photos bring to it, quantised to INT8 and planned for 64 tokens.
The share of the limit is non-zero products / (multipliers * cycles), so that zeros which
quantising adds, start-up and imbalance all count against it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flows.bench.bars import Bar
from flows.bench.presets import shipped
from flows.compress.prune import pruned_operands
from flows.engines import run_matmul
from flows.models.calibration import MODELS, load_calibrated, short_name
from rtl_gen.config import Derived

__all__ = ["HEADER", "PRESET", "SPARSITIES", "measure", "run"]

HEADER = (
    *("layer", "shape", "zeros", "cycles", "% of limit"),
    *("bits / position", "kernel"),
)

Progress = Callable[[str, int, int], None]

SPARSITIES = (0.3, 0.5)
TOKENS = 64
PRESET = "mid"
_BAR = 0.96


def measure(derived: Derived, activations: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Cycles, share of the limit, bits per position and kernel of a product as `matmul` has it."""
    product = run_matmul(derived, activations, weights, "cycle")
    plan, cycles, shape = product.plan, product.cycles or 0, derived.shape
    useful = int(np.count_nonzero(weights)) * len(activations)
    return {
        "rows": len(activations),
        "depth": weights.shape[0],
        "outputs": weights.shape[1],
        "sparsity": float(np.mean(weights == 0)),
        "cycles": cycles,
        "share_of_limit": useful / (shape.multipliers * cycles),
        "bits_per_position": 8 * plan.weight_bytes / weights.size,
        "kernel": plan.kernel,
        "source": "computed (cycle model)",
    }


def run(
    progress: Progress, models: Sequence[str] = MODELS, layers: Sequence[int] | None = None
) -> dict:
    """Preset `PRESET` as shipped on the cycle model, cycles from empty rings to the last result.

    Args:
        progress: called with (what, done, total).
        models: names of the registry.
        layers: layers of each model to take; by default the first, the middle and the last.
    """
    derived = shipped(PRESET)
    figures, summary, bars, rows = [], [], [], []
    for model in models:
        data = load_calibrated(model, progress, layers)
        for pruned in SPARSITIES:
            mine = []
            for number, (name, layer) in enumerate(data.items()):
                progress(f"{model} {pruned:.0%}", number, len(data))
                found = measure(derived, *pruned_operands(layer, pruned))
                mine.append({"model": model, "layer": name, "pruned": pruned, **found})
            shares = [f["share_of_limit"] for f in mine]
            mean, least = float(np.mean(shares)), min(shares)
            summary.append({"model": model, "pruned": pruned, "mean": mean, "minimum": least})
            bars.append(Bar(f"{model}, {pruned:.0%} pruned: mean share of limit", mean, _BAR))
            figures += mine
            rows += [_row(f) for f in mine]
            short = short_name(model)
            rows.append((f"{short} mean, {pruned:.0%} pruned", "", "", "", f"{mean:.1%}", "", ""))
            rows.append((f"{short} least, {pruned:.0%} pruned", "", "", "", f"{least:.1%}", "", ""))
    return {
        "title": f"Real tensors, Wanda, M = {TOKENS}, {PRESET} as shipped (cycle model, exact)",
        "header": HEADER,
        "rows": rows,
        "seed": None,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "figures": figures,
        "summary": summary,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{short_name(figure['model'])} {figure['layer'].removeprefix('encoder.')}",
        f"{figure['depth']} x {figure['outputs']}",
        f"{figure['sparsity']:.1%}",
        f"{figure['cycles']:,}",
        f"{figure['share_of_limit']:.1%}",
        f"{figure['bits_per_position']:.2f}",
        figure["kernel"],
    )
