"""Real layers with an output error: approximate mode and scales per part, on unseen tokens.

Each layer has three sets of tokens from different inputs (`flows.models.calibration`): *fit* and
*hold*, which calibration sees, and *judge*, which it does not.  Activations are divided by the
layer's divisors (`flows.compress.equalise`) and quantised per token, or taken as int8 (their
dequantised values are then the float layer's input, and there are no divisors).  The reference is
always the float product of the float weights; for a pruned layer, of the pruned float weights.

*Approximate mode*: the budget is held on fit and hold tokens with a margin of `_MARGIN`; a layer
whose error on the judge tokens exceeds the budget, or that the budget can't reach, counts with
gain 1.  Gain is cycles of the plainly quantised layer over cycles with weights dropped, each in
the quicker of ``dense`` and ``bitmap``.  *Other text* is the sentences of `bench demo`, short and
not at all like reference prose; no bar rests on it.  Nor does one on the *other linear layers*
beside the first, which are measured unpruned with float activations.

*Scales per part* (`golden.planner.part_search`): they are chosen on fit and hold tokens, for the
bench's array with fusion and 64 tokens; the ratio of the error to that of one scale per column is
taken on judge tokens, weights alone, both plainly rounded.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from flows.bench.bars import Bar
from flows.compress.approximate import approximate
from flows.compress.equalise import equalised_layer
from flows.compress.layer import Layer, layer_of, sample_of
from flows.compress.prune import wanda
from flows.engines import table_of
from flows.models.base import F32
from flows.models.calibration import Tokens, load_tokens, short_name
from golden.cycles.count import count_cycles
from golden.errors import CheckFailed
from golden.numerics.quantise import quantise_activations
from golden.planner.compete import compile_product
from golden.planner.part_search import OneScale, split_scales
from golden.planner.product import plan_matmul
from rtl_gen.config import Derived

__all__ = [
    "BUDGET",
    "NEAR_HEADER",
    "PART_LIMITS",
    "SCALE_HEADER",
    "approximate_layer",
    "bars",
    "measure",
    "note",
    "scale_layer",
    "tables",
]

Progress = Callable[[str, int, int], None]

BUDGET = 0.018
PART_LIMITS = (1.0, 1.01, 1.05)
"""Most bytes and cycles of scales per part, relative to one scale."""

NEAR_HEADER = (
    *("layer", "pruned", "activations", "error", "other text"),
    *("exact cycles", "cycles", "gain"),
)
SCALE_HEADER = ("layer", "pruned", "bytes, cycles", "error ratio", "parts")

_MARGIN = 0.95  # of the budget, for tokens that calibration has not seen
_TOKENS = 64  # of the judge set, for plans and cycles
_LAYERS = (0, 2)
_FIRST = 0  # of the linear layers: the one that bars rest on
_KINDS = (_FIRST, 1, 2, 3, 4)  # the attention's and the first of the feed-forward part
_SPARSITIES = (0.0, 0.5)


def _cycles(derived: Derived, activations: np.ndarray, weights: np.ndarray) -> int:
    return min(
        count_cycles(plan_matmul(derived.shape, activations, weights, kernel)).cycles
        for kernel in ("dense", "bitmap")
    )


def _given(activations: F32) -> np.ndarray:
    """Activations as the array multiplies them, in real units."""
    rounded, scale = quantise_activations(activations, per="token")
    return rounded * scale[:, None].astype(np.float64)


def _pruned(tokens: Tokens, sparsity: float) -> np.ndarray:
    keep = wanda(tokens.weight, tokens.fit, sparsity)
    return np.where(keep, tokens.weight, 0)


def _error(layer: Layer, weights: np.ndarray, activations: np.ndarray | None) -> float | None:
    return None if activations is None else sample_of(activations, layer).error(layer, weights)


def approximate_layer(
    derived: Derived, what: str, tokens: Tokens, sparsity: float, *, int8_activations: bool
) -> dict[str, Any]:
    """Cycles within the error budget against exact ones.

    Args:
        derived: the array.
        what: the layer's name for tables.
        tokens: the layer.
        sparsity: share of weights that Wanda drops first; the pruned layer is the reference.
        int8_activations: the float layer takes the quantised activations, so that only weights
            count in the error.
    """
    fit, hold, judge, other = (
        _given(part) if int8_activations and part is not None else part
        for part in (*tokens.sets, tokens.other)
    )
    seen = np.concatenate([fit, hold])
    held_out = len(hold) / len(seen)
    pruned = _pruned(tokens, sparsity).astype(np.float64)
    plain = layer_of(pruned)
    layer = plain if int8_activations else equalised_layer(pruned, seen, held_out=held_out)
    try:
        near = approximate(
            layer,
            sample_of(seen, layer),
            BUDGET * _MARGIN,
            derived.shape,
            table_of(derived),
            held_out=held_out,
        )
    except CheckFailed:
        near = None
    weights = layer.weights if near is None else near.weights
    sample = sample_of(judge, layer)
    error = sample.error(layer, weights)
    exact = _cycles(derived, sample.activations[:_TOKENS], plain.weights)
    cycles = _cycles(derived, sample.activations[:_TOKENS], weights)
    counts = near is not None and error <= BUDGET
    return {
        "what": what,
        "sparsity": sparsity,
        "activations": "int8" if int8_activations else "float",
        "cycles_exact": exact,
        "cycles": cycles,
        "gain": exact / cycles if counts else 1.0,
        "counts": counts,
        "gain_limit": np.count_nonzero(plain.weights) / np.count_nonzero(weights),
        "error": error,
        "error_calibration": None if near is None else near.error,
        "error_quantisation": _error(plain, plain.weights, judge),
        "error_equalised": sample.error(layer, layer.weights),
        "error_other_text": _error(layer, weights, other),
        "error_other_text_quantisation": _error(plain, plain.weights, other),
        "equalised": layer.divisors is not None,
        "weights_dropped": 0 if near is None else near.dropped,
        "weights_changed": 0 if near is None else near.changed,
        "tokens": [len(part) for part in tokens.sets],
    }


def scale_layer(
    derived: Derived,
    what: str,
    tokens: Tokens,
    sparsity: float,
    limits: Sequence[float] = PART_LIMITS,
) -> dict[str, Any]:
    """Output error of scales per part against one scale, by limit of bytes and cycles.

    Args:
        derived: the array, which is given fusion here.
        what: the layer's name for tables.
        tokens: the layer.
        sparsity: share of weights that Wanda drops first.
        limits: most bytes and cycles, in turn, relative to one scale.
    """
    shape = replace(derived.shape, fusion=True)
    layer = layer_of(_pruned(tokens, sparsity).astype(np.float64))
    seen = np.concatenate([tokens.fit, tokens.hold]).astype(np.float64)
    judge = tokens.judge.astype(np.float64)
    rows = sample_of(tokens.judge[:_TOKENS], layer).activations
    plan = compile_product(shape, rows, layer.weights, lambda: table_of(derived)).plan
    one = OneScale(layer.weights, layer.scale, plan)
    before = float(np.linalg.norm(judge @ (layer.real - layer.weights * layer.scale)))
    found: dict[str, Any] = {"what": what, "sparsity": sparsity}
    for limit in limits:
        split = split_scales(one, layer.real, seen, byte_limit=limit, cycle_limit=limit)
        after = before
        if split.fused is not None:
            real = split.fused.real(len(layer.real))
            after = float(np.linalg.norm(judge @ (layer.real - real)))
        found[f"{limit:g}"] = after / before
        found[f"{limit:g} bytes"] = split.weight_bytes / split.weight_bytes_one_scale
        found[f"{limit:g} cycles"] = split.cycles / split.cycles_one_scale
        found[f"{limit:g} parts"] = 1 if split.fused is None else split.fused.tiles
    return found


def measure(
    derived: Derived, models: Sequence[str], progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Figures of approximate mode and of scales per part, of two layers of each model.

    Scales per part and both kinds of activations are measured on the first linear layer alone;
    figures of the others have ``first`` False.
    """
    near, scales = [], []
    for model in models:
        found = load_tokens(model, _LAYERS, progress, _KINDS)
        for number, (name, tokens) in enumerate(found.items()):
            what = f"{short_name(model)} {name.removeprefix('encoder.')}"
            progress(f"budget and scales, {what}", number, len(found))
            first = number % len(_KINDS) == _FIRST
            for sparsity in _SPARSITIES if first else _SPARSITIES[:1]:
                for given in (False, True) if first else (False,):
                    figure = approximate_layer(
                        derived, what, tokens, sparsity, int8_activations=given
                    )
                    near.append({**figure, "first": first})
                if first:
                    scales.append(scale_layer(derived, what, tokens, sparsity))
    return near, scales


def _mean(figures: Sequence[dict[str, Any]], field: str) -> float:
    return float(np.mean([figure[field] for figure in figures]))


def bars(near: Sequence[dict[str, Any]], scales: Sequence[dict[str, Any]]) -> list[Bar]:
    """What is asked of both; rounding of activations counts in the first, not in the second."""
    floats = [figure for figure in near if figure["activations"] == "float" and figure["first"]]
    asked = f"approximate at {BUDGET:.1%} output error over exact, mean"
    return [
        Bar(asked, _mean(floats, "gain"), 1.3),
        *(
            Bar(
                f"error with scales per part over one scale, bytes and cycles x {limit:g}",
                _mean(scales, f"{limit:g}"),
                0.8,
                True,
            )
            for limit in PART_LIMITS[:2]
        ),
    ]


def note(near: Sequence[dict[str, Any]]) -> str:
    """One line: gains by sparsity and kind of activations, of other layers, and other text."""
    parts = []
    first = [figure for figure in near if figure["first"]]
    for sparsity in _SPARSITIES:
        for kind in ("float", "int8"):
            mine = [f for f in first if (f["sparsity"], f["activations"]) == (sparsity, kind)]
            parts.append(f"{sparsity:.0%} pruned, {kind} activations {_mean(mine, 'gain'):.3f}")
    others = [figure for figure in near if not figure["first"]]
    if others:
        parts.append(f"other linear layers {_mean(others, 'gain'):.3f}")
    text = [f for f in first if f["counts"] and f["error_other_text"] is not None]
    if text:
        most = max(f["error_other_text"] for f in text)
        parts.append(
            f"error on other text {_mean(text, 'error_other_text'):.2%} in the mean, {most:.2%} "
            f"at most, in plain INT8 {_mean(text, 'error_other_text_quantisation'):.2%}"
        )
    return "approximate: " + ", ".join(parts)


def tables(
    near: Sequence[dict[str, Any]], scales: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Title, header and rows of a table of each kind of figures that there are."""
    found = [
        {
            "title": f"Approximate mode at {BUDGET:.1%} output error, on unseen tokens",
            "header": NEAR_HEADER,
            "rows": [_near_row(f) for f in near],
        },
        {
            "title": "Scales per part: output error over that of one scale",
            "header": SCALE_HEADER,
            "rows": [_scale_row(f, limit) for f in scales for limit in PART_LIMITS],
        },
    ]
    return [table for table in found if table["rows"]]


def _near_row(figure: dict[str, Any]) -> tuple[str, ...]:
    other = figure["error_other_text"]
    return (
        figure["what"],
        f"{figure['sparsity']:.0%}",
        figure["activations"],
        f"{figure['error']:.2%}",
        "-" if other is None else f"{other:.2%}",
        f"{figure['cycles_exact']:,}",
        f"{figure['cycles']:,}",
        f"{figure['gain']:.3f}" if figure["counts"] else "over budget",
    )


def _scale_row(figure: dict[str, Any], limit: float) -> tuple[str, ...]:
    return (
        figure["what"],
        f"{figure['sparsity']:.0%}",
        f"x {limit:g}",
        f"{figure[f'{limit:g}']:.3f}",
        f"{figure[f'{limit:g} parts']}",
    )
