"""Share of the limit 1 / (1 - sparsity) that the presets reach as shipped, cycle-exact.

The share is the utilisation: non-zero products / (multipliers * cycles), from the start of a job
with empty rings to its last result.  At 0 % the weights hold no zero and run with the dense kernel
where the preset has one; everything else runs with the bitmap kernel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flows.bench.bars import Bar
from flows.bench.presets import DENSE, PRESETS, shipped, with_kernels
from flows.compress.masks import masked_weights
from flows.engines import run_matmul
from golden.cycles.count import count_cycles
from golden.errors import CheckFailed
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape
from rtl_gen.config import Derived

__all__ = ["HEADER", "MASKS", "ROWS_HEADER", "SPARSITIES", "few_rows", "measure", "run", "shares"]

Progress = Callable[[str, int, int], None]

MASKS = ("random", "clustered")
SPARSITIES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
HEADER = ("preset", "mask", *(f"{s:.0%}" for s in SPARSITIES), "bits in", "bits out")
ROWS_HEADER = ("M", "cycles", "event slots used", "relative to the most rows", "weights replayed")

_JUDGED = "mid"
_BARS = {
    "random": (0.99, 0.98, 0.97, 0.97, 0.96, 0.94, 0.90),
    "clustered": (0.99, 0.97, 0.96, 0.96, 0.94, 0.91, 0.88),
}
_SPEED_UP = 6.6
_DENSE_ONLY = 0.98
_SIZE = 1024
_TOKENS = 64
_FEW = (1, 8, 16, 32, 128)
_FEW_BAR = 0.97
_RTL_SIZE = 256
_RTL_SPARSITY = 0.9
_SEED = 20


def measure(shape: ArrayShape, weights: np.ndarray, kernel: str, tokens: int) -> dict[str, Any]:
    """Cycles of a product, and what the multipliers and the engines' event slots were used for.

    Returns:
        ``cycles``, ``share_of_limit`` (non-zero products per multiplier and cycle), ``slots``
        (valued events per engine and cycle) and ``replayed`` (whether the weights stay in the
        rings for all tiles of tokens).
    """
    plan = plan_matmul(shape, np.zeros((tokens, len(weights)), np.int8), weights, kernel)
    count = count_cycles(plan)
    useful = int(np.count_nonzero(weights)) * tokens
    return {
        "kernel": kernel,
        "cycles": count.cycles,
        "share_of_limit": useful / (shape.multipliers * count.cycles),
        "slots": count.events / (shape.engines * count.cycles),
        "replayed": plan.replay,
        "source": "computed (cycle model)",
    }


def shares(derived: Derived, mask: str, size: int, tokens: int) -> dict[str, Any]:
    """A preset at every sparsity of one mask."""
    shape = derived.shape
    points = []
    for sparsity in SPARSITIES:
        weights = masked_weights(mask, sparsity, size)
        kernel = "dense" if sparsity == 0 and "dense" in shape.kernels else "bitmap"
        zeros = float(np.mean(weights == 0))
        found = measure(shape, weights, kernel, tokens)
        points.append({"sparsity": sparsity, "zeros": zeros, **found})
    return {
        "preset": derived.name,
        "mask": mask,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "multipliers": shape.multipliers,
        "input_port_bits": shape.input_port_bits,
        "output_port_bits": shape.output_port_bits,
        "points": points,
    }


def few_rows(
    shape: ArrayShape, weights: np.ndarray, tokens: Sequence[int] = _FEW
) -> list[dict[str, Any]]:
    """Event slots used for few rows of activations, relative to the most, which stand last."""
    found = [{"rows": rows, **measure(shape, weights, "bitmap", rows)} for rows in tokens]
    most = found[-1]["slots"]
    return [{**figure, "relative": figure["slots"] / most} for figure in found]


def _confirm(derived: Derived, size: int, tokens: int, progress: Progress) -> dict[str, Any]:
    """The same product on the RTL and on the cycle model: cycles and results must be equal."""
    weights = masked_weights("clustered", _RTL_SPARSITY, size)
    rng = np.random.default_rng(_SEED)
    activations = rng.integers(-128, 128, (tokens, size)).astype(np.int8)
    rtl = run_matmul(derived, activations, weights, "rtl", "bitmap", progress)
    cycle = run_matmul(derived, activations, weights, "cycle", "bitmap", progress)
    if rtl.cycles != cycle.cycles or not np.array_equal(rtl.output, cycle.output):
        raise CheckFailed(
            f"bench sparsity: RTL must equal the models, {rtl.cycles} != {cycle.cycles} cycles"
        )
    return {"size": size, "rows": tokens, "cycles": rtl.cycles, "source": rtl.source}


def _bars(figures: Sequence[dict[str, Any]], few: Sequence[dict[str, Any]]) -> list[Bar]:
    """What the preset with bars must reach; ``figures`` are its own."""
    bars, gains = [], []
    for figure in figures:
        dense, *sparse = figure["points"]
        bars += [
            Bar(f"{figure['mask']} {point['sparsity']:.0%}", point["share_of_limit"], bar)
            for point, bar in zip(figure["points"], _BARS[figure["mask"]], strict=True)
        ]
        gains += [dense["cycles"] / point["cycles"] for point in sparse]
    bars.append(
        Bar("mean speed-up over the same hardware run dense", float(np.mean(gains)), _SPEED_UP)
    )
    bars += [
        Bar(f"slots used at M = {f['rows']}, of M = {few[-1]['rows']}", f["relative"], _FEW_BAR)
        for f in few[:-1]
    ]
    return bars


def run(
    progress: Progress,
    presets: Sequence[str] = PRESETS,
    judged: str = _JUDGED,
    size: int = _SIZE,
    rtl_size: int = _RTL_SIZE,
) -> dict:
    """Every preset on the cycle model, and one point of the preset with bars on its RTL.

    Args:
        progress: called with (what, done, total).
        presets: names.
        judged: the one of them that the bars are for.
        size: rows and columns of the weights.
        rtl_size: the same of the product that the RTL runs.
    """
    figures = []
    cases = [(name, mask) for name in presets for mask in MASKS]
    for number, (name, mask) in enumerate(cases):
        progress("cycle model", number, len(cases))
        figures.append(shares(shipped(name), mask, size, _TOKENS))
    own = shipped(judged)
    few = few_rows(own.shape, masked_weights("random", 0.5, size))
    bars = _bars([f for f in figures if f["preset"] == judged], few)
    # What the array would be without any sparsity: the same preset, but the dense kernel alone.
    unpruned = masked_weights("random", 0.0, size)
    only = measure(with_kernels(judged, DENSE).shape, unpruned, "dense", _TOKENS)
    run_dense = next(f for f in figures if f["preset"] == judged)["points"][0]
    bars.append(
        Bar(
            "cycles of dense-only hardware over those of the sparse run dense",
            only["cycles"] / run_dense["cycles"],
            _DENSE_ONLY,
        )
    )
    rtl = _confirm(own, rtl_size, _TOKENS, progress)
    return {
        "title": f"% of the limit, presets as shipped, {size} x {size}, M = {_TOKENS} (cycle "
        f"model, exact; RTL of {judged}, {rtl_size} x {rtl_size}, clustered "
        f"{_RTL_SPARSITY:.0%}: {rtl['cycles']} cycles, the same)",
        "header": HEADER,
        "rows": [_row(figure) for figure in figures],
        "more": [
            {
                "title": f"Few rows on {judged}, random 50% (cycle model, exact)",
                "header": ROWS_HEADER,
                "rows": [_few_row(figure) for figure in few],
            }
        ],
        "seed": _SEED,
        "figures": figures,
        "few_rows": few,
        "dense_only": only,
        "rtl": rtl,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        figure["preset"],
        figure["mask"],
        *(f"{100 * point['share_of_limit']:.1f}" for point in figure["points"]),
        f"{figure['input_port_bits']:,}",
        f"{figure['output_port_bits']:,}",
    )


def _few_row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(figure["rows"]),
        f"{figure['cycles']:,}",
        f"{figure['slots']:.1%}",
        f"{figure['relative']:.1%}",
        "yes" if figure["replayed"] else "no",
    )
