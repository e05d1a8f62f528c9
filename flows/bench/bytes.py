"""Stored bits per position of every block format, against the entropy of what is stored.

*Stored* is all that a plan sends: index and value words, block headers, and the padding of each
engine's stream to whole 64-bit words, divided by K * N positions. With p the share of zeros and
h(p) = -p log2 p - (1 - p) log2 (1 - p) the entropy of the occupancy, there are two bounds::

    entropy bound = h(p) + (1 - p) * H(values)
    byte bound    = h(p) + (1 - p) * 8

H(values) is the entropy of a non-zero value: log2 254 where values are drawn uniformly from
-127..127 without 0, else the empirical entropy of the tensor's own non-zeros. No code that
treats positions and values as independent stores less than the entropy bound on average, and
none that keeps values as bytes less than the byte bound. The first is the smaller of the two; it
is the one that the bar is set on.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from flows.bench.bars import Bar
from flows.bench.presets import with_kernels
from flows.compress.prune import pruned_operands, random_mask
from flows.models.calibration import MODELS, load_calibrated, short_name
from golden.errors import BadInput
from golden.formats import STORED
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape

__all__ = ["GAP_BITS", "HEADER", "KERNELS", "SPARSITIES", "bounds", "run", "stored_bits"]

Progress = Callable[[str, int, int], None]

SPARSITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
GAP_BITS = (3, 4, 5, 6)
_PRESET = "mid"
_REAL_SPARSITIES = (0.3, 0.5, 0.8)
_SIZE = 1024
_SEED = 20
_BAR = 1.2
KERNELS = tuple(kernel for kernel in STORED if kernel != "runlength")

HEADER = (
    *("weights", *KERNELS, "runlength", "gap"),
    *("entropy bound", "best / bound"),
)
_UNIFORM = float(np.log2(254))


def _entropy(shares: np.ndarray) -> float:
    """Entropy in bits of a distribution; a share of 0 counts nothing."""
    present = shares[shares > 0]
    return float(-(present * np.log2(present)).sum())


def bounds(weights: np.ndarray, value_bits: float | None = None) -> tuple[float, float]:
    """Entropy bound and byte bound in bits per position.

    Args:
        weights: int8 (K, N).
        value_bits: H(values); by default the empirical entropy of the non-zeros.
    """
    occupied = weights[weights != 0]
    kept = len(occupied) / weights.size
    if value_bits is None:
        counts = np.bincount(occupied.astype(np.int64) + 128, minlength=256)
        value_bits = _entropy(counts / max(len(occupied), 1))
    where = _entropy(np.array([kept, 1 - kept]))
    return where + kept * value_bits, where + kept * 8


def stored_bits(shape: ArrayShape, weights: np.ndarray) -> dict[str, float | None]:
    """Bits per position of every format; None where a format can't hold the weights.

    ``runlength`` stands once per entry of `GAP_BITS`, as ``runlength/G``.
    """
    # More tokens than lanes, so that the weights are planned to stay in the rings.
    activations = np.zeros((2 * shape.lanes, weights.shape[0]), np.int8)
    found: dict[str, float | None] = {}
    for kernel in STORED:
        for gap_bits in GAP_BITS if kernel == "runlength" else (shape.gap_bits,):
            name = f"{kernel}/{gap_bits}" if kernel == "runlength" else kernel
            configured = replace(shape, kernels=STORED, gap_bits=gap_bits)
            try:
                plan = plan_matmul(configured, activations, weights, kernel)
            except BadInput:
                found[name] = None
            else:
                found[name] = 8 * plan.weight_bytes / weights.size
    return found


def _figure(
    shape: ArrayShape, what: str, weights: np.ndarray, value_bits: float | None
) -> dict[str, Any]:
    stored = {k: v for k, v in stored_bits(shape, weights).items() if v is not None}
    gaps = {k: v for k, v in stored.items() if k.startswith("runlength")}
    best = min(stored, key=lambda kernel: stored[kernel])
    entropy, byte = bounds(weights, value_bits)
    return {
        "what": what,
        "sparsity": float(np.mean(weights == 0)),
        "stored_bits": stored,
        "best": best,
        "best_gap_bits": int(min(gaps, key=lambda kernel: gaps[kernel]).partition("/")[2]),
        "entropy_bound": entropy,
        "byte_bound": byte,
        "over_entropy_bound": stored[best] / entropy,
        "over_byte_bound": stored[best] / byte,
    }


def _random_weights(sparsity: float, size: int) -> np.ndarray:
    """Int8 (size, size), non-zeros uniform over -127..127 without 0."""
    rng = np.random.default_rng(_SEED)
    values = rng.integers(1, 128, (size, size)) * rng.choice((-1, 1), (size, size))
    return np.where(random_mask((size, size), sparsity, _SEED), values, 0).astype(np.int8)


def run(progress: Progress, size: int = _SIZE, models: Sequence[str] = MODELS) -> dict:
    """Random masks, then the widest layer in the middle of each model, pruned with Wanda.

    Args:
        progress: called with (what, done, total).
        size: rows and columns of the random matrices.
        models: names of the registry.
    """
    shape = with_kernels(_PRESET, STORED).shape
    figures = []
    for number, sparsity in enumerate(SPARSITIES):
        progress("random masks", number, len(SPARSITIES))
        weights = _random_weights(sparsity, size)
        figures.append(_figure(shape, f"random {sparsity:.0%}", weights, _UNIFORM))
    for model in models:
        data = load_calibrated(model, progress)
        middle = list(data.items())[len(data) // 3 : 2 * len(data) // 3]
        name, layer = max(middle, key=lambda item: item[1].weight.shape[1])
        for number, sparsity in enumerate(_REAL_SPARSITIES):
            progress(f"{model} {name}", number, len(_REAL_SPARSITIES))
            _, weights = pruned_operands(layer, sparsity)
            figures.append(
                _figure(shape, f"{short_name(model)} {name} {sparsity:.0%}", weights, None)
            )
    bars = [Bar(f["what"], f["over_entropy_bound"], _BAR, at_most=True) for f in figures]
    return {
        "title": f"Stored bits per position, {_PRESET}, random masks {size} x {size} "
        "(computed: the plan's words, headers and padding included; gap: bits of the best gap)",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "seed": _SEED,
        "shape": asdict(shape),
        "figures": figures,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    stored, gap = figure["stored_bits"], figure["best_gap_bits"]
    return (
        figure["what"],
        *(f"{stored[k]:.2f}" if k in stored else "-" for k in KERNELS),
        f"{stored[f'runlength/{gap}']:.2f}",
        str(gap),
        f"{figure['entropy_bound']:.2f}",
        f"{figure['over_entropy_bound']:.3f}",
    )
