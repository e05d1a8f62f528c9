"""Share of the limit 1 / (1 - sparsity) that the array reaches, cycle-exact."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flows.arrays import sparse_config
from flows.bench.bars import Bar
from flows.cache import cache_folder
from flows.compress.masks import masked_weights
from flows.engines import run_matmul
from flows.generate import generate
from flows.synth import read_manifest, synthesise
from golden.cycles.count import count_cycles
from golden.errors import CheckFailed
from golden.planner.product import plan_matmul
from rtl_gen.config import Derived

__all__ = ["HEADER", "SPARSITIES", "run"]

HEADER = (
    *("mask", "sparsity", "cycles", "speed-up", "per LUT", "per DSP"),
    *("limit", "% of limit", "bar"),
)

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_BARS = {
    "random": (0.98, 0.97, 0.97, 0.96, 0.94, 0.90),
    "clustered": (0.97, 0.96, 0.96, 0.94, 0.91, 0.88),
}
_SIZE = 1024
_ROWS = 64
_SEED = 20
_AREA_ENGINES = 8
_TARGET = "xcup"
_DENSE = ("dense",)
_MASKS = ("random", "clustered")


def _share(derived: Derived, weights: np.ndarray, kernel: str) -> tuple[int, float]:
    """Cycles, and non-zero products per multiplier and cycle."""
    activations = np.zeros((_ROWS, weights.shape[0]), np.int8)
    count = count_cycles(plan_matmul(derived.shape, activations, weights, kernel))
    useful = int(np.count_nonzero(weights)) * _ROWS
    return count.cycles, useful / (derived.shape.multipliers * count.cycles)


def _area(kernels: Sequence[str]) -> dict[str, Any]:
    """LUT and DSP of one engine: those of an array of a few, divided."""
    folder = cache_folder("synth")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        derived = sparse_config(_AREA_ENGINES, kernels=kernels)
        design = generate(derived, Path(scratch, "rtl"))
        module = read_manifest(design).array
        figure = synthesise(design, _TARGET, module, out=Path(scratch, "synth"))
    return {
        "lut_per_engine": (figure["lut"] + figure["lutram"]) / _AREA_ENGINES,
        "dsp_per_engine": figure["dsp"] / _AREA_ENGINES,
        "tool": figure["tool"],
        "source": f"estimated: P = {_AREA_ENGINES} measured, scaled by engines",
    }


def run(progress: Callable[[str, int, int], None]) -> dict:
    """P = 64 on the cycle model, and one point at P = 16 on the RTL to confirm it.

    Cycles run from the start of the job, with empty rings, to the last result.
    """
    derived = sparse_config(64)
    dense_weights = masked_weights("random", 0.0, _SIZE)
    dense_cycles, dense_share = _share(derived, dense_weights, "dense")
    # What the array would be without any sparsity: the same shape, but the dense kernel alone.
    only_cycles, _ = _share(sparse_config(64, kernels=_DENSE), dense_weights, "dense")
    areas = {}
    for number, (name, kernels) in enumerate((("sparse", ("dense", "bitmap")), ("dense", _DENSE))):
        progress("synthesise", number, 2)
        areas[name] = _area(kernels)
    per_lut = areas["dense"]["lut_per_engine"] / areas["sparse"]["lut_per_engine"]
    per_dsp = areas["dense"]["dsp_per_engine"] / areas["sparse"]["dsp_per_engine"]
    figures = []
    total = len(_MASKS) * len(SPARSITIES)
    for mask in _MASKS:
        for number, sparsity in enumerate(SPARSITIES):
            progress("cycle model", len(figures), total)
            weights = masked_weights(mask, sparsity, _SIZE)
            cycles, share = _share(derived, weights, "bitmap")
            figures.append(
                {
                    "mask": mask,
                    "sparsity": sparsity,
                    "cycles": cycles,
                    "speed_up": dense_cycles / cycles,
                    "speed_up_per_lut": only_cycles / cycles * per_lut,
                    "speed_up_per_dsp": only_cycles / cycles * per_dsp,
                    "limit": 1 / (1 - float(np.mean(weights == 0))),
                    "share_of_limit": share,
                    "bar": _BARS[mask][number],
                    "source": "computed (cycle model)",
                }
            )
    smaller = sparse_config(16)
    weights = masked_weights("clustered", 0.9, 512)
    rng = np.random.default_rng(_SEED)
    activations = rng.integers(-128, 128, (_ROWS, 512)).astype(np.int8)
    rtl = run_matmul(smaller, activations, weights, "rtl", "bitmap", progress)
    cycle = run_matmul(smaller, activations, weights, "cycle", "bitmap", progress)
    if rtl.cycles != cycle.cycles or not np.array_equal(rtl.output, cycle.output):
        raise CheckFailed(
            f"bench sparsity: RTL must equal the models, {rtl.cycles} != {cycle.cycles} cycles"
        )
    bars = [Bar(f"{f['mask']} {f['sparsity']:.0%}", f["share_of_limit"], f["bar"]) for f in figures]
    mean = float(np.mean([f["speed_up"] for f in figures]))
    bars.append(Bar("mean speed-up over the same hardware run dense", mean, 6.6))
    bars.append(Bar("dense matrix on the sparse hardware", dense_share, 0.98))
    bars.append(
        Bar("dense-only hardware's cycles over the sparse's", only_cycles / dense_cycles, 0.98)
    )
    return {
        "title": f"{_SIZE} x {_SIZE}, M = {_ROWS}, P = 64, V = 16 (cycle model, exact; "
        f"RTL at P = 16: {rtl.cycles} cycles, the same); per LUT and DSP against dense-only "
        f"hardware (estimated from P = {_AREA_ENGINES} on {_TARGET}, {areas['sparse']['tool']})",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "seed": _SEED,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "figures": figures,
        "dense_only_cycles": only_cycles,
        "areas": areas,
        "rtl": {"cycles": rtl.cycles, "source": rtl.source},
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        figure["mask"],
        f"{figure['sparsity']:.0%}",
        f"{figure['cycles']:,}",
        f"{figure['speed_up']:.2f}",
        f"{figure['speed_up_per_lut']:.2f}",
        f"{figure['speed_up_per_dsp']:.2f}",
        f"{figure['limit']:.2f}",
        f"{figure['share_of_limit']:.1%}",
        f"{figure['bar']:.0%}",
    )
