"""How fast the C++ harness simulates the preset of the headlines."""

from collections.abc import Callable
from typing import Any

import numpy as np

from flows.bench.bars import Bar
from flows.bench.presets import shipped
from flows.compress.prune import random_mask
from flows.engines import run_matmul

__all__ = ["HEADER", "PRESET", "run"]

HEADER = ("kernel", "cycles", "cycles per second")
PRESET = "mid"

_BAR = 150_000
_SEED = 7


def run(progress: Callable[[str, int, int], None], preset: str = PRESET, size: int = 512) -> dict:
    """A (64, size) @ (size, size) product, dense and half empty."""
    derived = shipped(preset)
    rng = np.random.default_rng(_SEED)
    activations = rng.integers(-128, 128, (64, size)).astype(np.int8)
    figures = []
    for sparsity, kernel in ((0.0, "dense"), (0.5, "bitmap")):
        keep = random_mask((size, size), sparsity, _SEED)
        weights = np.where(keep, rng.integers(-128, 128, keep.shape), 0).astype(np.int8)
        product = run_matmul(derived, activations, weights, "rtl", kernel, progress)
        figures.append({"kernel": kernel, **product.report(derived, weights)})
    speeds = [figure["simulated_cycles_per_second"] for figure in figures]
    macs = derived.shape.multipliers
    return {
        "title": f"Harness speed, {preset}, {macs} multipliers ({figures[0]['cycles_source']})",
        "header": HEADER,
        "rows": [_row(figure) for figure in figures],
        "seed": _SEED,
        "figures": figures,
        "bars": [Bar("cycles per second", min(speeds), _BAR).report()],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    speed = figure["simulated_cycles_per_second"]
    return figure["kernel"], f"{figure['cycles']:,}", f"{speed:,.0f}"
