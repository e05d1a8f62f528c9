"""Real layers with an output error: approximate mode and mixed scales, judged on unseen tokens.

Each layer has three sets of tokens from different inputs: *fit* and *hold*, which calibration
sees, and *judge*, which it does not.  Texts are paragraphs of Python's language reference
(`pydoc_data`, so figures depend on the Python version), dealt in turn.  Photos are one to each
set, with crops and a mirror image.  Activations are divided by the layer's divisors
(`golden.fuse.equalise`) and quantised per token, or taken as int8 (their dequantised values are
then the float layer's input, and there are no divisors).  The reference is always the float
product of the float weights; for a pruned layer, of the pruned float weights.

*Approximate mode*: the budget is held on fit and hold tokens with a margin of `_MARGIN`; a layer
whose error on the judge tokens exceeds the budget, or that the budget can't reach, counts with
gain 1.  Gain is cycles of the plainly quantised layer over cycles with weights dropped, each in
the quicker of ``dense`` and ``bitmap``.  *Other text* is the sentences of `bench demo`, short and
not at all like reference prose; no bar rests on it.

*Mixed scales* (`golden.fuse.tiled`): the parts are chosen on fit and hold tokens, the ratio of
the errors to one float32 scale per column in its cheapest kernel is taken on judge tokens, weights
alone, both plainly rounded, for a block of the layer's first columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np

from flows.bench.bars import Bar
from flows.bench.demo import SENTENCES
from flows.bench.tensors import short_name
from flows.engines import table_of
from flows.models.base import F32, LayerData, LinearModel
from flows.models.fetch import fetch, load_model
from flows.prune import wanda
from golden.cycles import count_cycles
from golden.errors import CheckFailed
from golden.fuse.approximate import approximate
from golden.fuse.equalise import equalised_layer
from golden.fuse.layer import Layer, layer_of, sample_of
from golden.fuse.tiled import Scope, one_scale, tiled_scale
from golden.plan import plan_matmul
from golden.quantise import quantise_activations
from rtl_gen.config import Derived

__all__ = [
    "BUDGET",
    "BYTE_LIMITS",
    "SCOPES",
    "Tokens",
    "approximate_layer",
    "bars",
    "load_tokens",
    "measure",
    "note",
    "rows",
    "scale_layer",
]

Progress = Callable[[str, int, int], None]

BUDGET = 0.018
BYTE_LIMITS = (1.0, 1.01, 1.05)
SCOPES: tuple[Scope, ...] = ("shared", "column")
_MARGIN = 0.95  # of the budget, for tokens that calibration has not seen
_TEXTS = 90
_TOKENS = 64  # of the judge set, for cycles
_SCALE_COLUMNS = 64  # of a layer, for mixed scales
_LAYERS = (0, 2)
_SPARSITIES = (0.0, 0.5)


class Tokens(NamedTuple):
    """One linear layer with what enters it, in three sets, and of other text; see the module."""

    weight: F32
    fit: F32
    hold: F32
    judge: F32
    other: F32 | None = None

    @property
    def sets(self) -> tuple[F32, F32, F32]:
        """Fit, hold and judge."""
        return self.fit, self.hold, self.judge


def _paragraphs() -> list[str]:
    """Paragraphs of one sentence or more from the language reference, evenly spread."""
    found = []
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            text = " ".join(paragraph.split())
            if 120 <= len(text) <= 400 and text[0].isupper() and text.endswith("."):
                found.append(text)
    return found[:: max(1, len(found) // _TEXTS)][:_TEXTS]


def _views(photo: F32) -> list[F32]:
    """A photo (3, side, side), its mirror image and nine crops of half its side."""
    side = photo.shape[1]
    half = side // 2
    views = [photo, np.ascontiguousarray(photo[:, :, ::-1])]
    for top in (0, half // 2, half):
        for left in (0, half // 2, half):
            crop = photo[:, top : top + half, left : left + half]
            views.append(np.ascontiguousarray(crop.repeat(2, axis=1).repeat(2, axis=2)))
    return views


def _inputs(model: LinearModel) -> tuple[Sequence[Any], ...]:
    """Inputs of fit, hold and judge tokens, and of a text model other text."""
    side = getattr(model, "side", None)
    if side is None:
        texts = _paragraphs()
        deal = [(0, 1, 0, 2, 0, 0)[number % 6] for number in range(len(texts))]
        chosen = [[t for t, d in zip(texts, deal, strict=True) if d == part] for part in range(3)]
        return *chosen, SENTENCES
    # Only a vision model needs what reads photos.
    from flows.models.photos import load_photos

    fit, hold, judge = (_views(photo) for photo in load_photos(side).values())
    return fit, hold, judge


def load_tokens(
    name: str, layers: Sequence[int], progress: Progress, kinds: Sequence[int] = (0,)
) -> dict[str, Tokens]:
    """Linear layers of a model with their three sets of tokens.

    Args:
        name: of the registry.
        layers: numbers of the layers.
        progress: called with (what, done, total).
        kinds: which linear layers of each, in the order of execution.
    """
    fetch(name, progress=lambda done, total: progress(f"fetch {name}", done, total))
    model: LinearModel = load_model(name)
    per = len(model.linear_names) // model.layers
    names = [model.linear_names[layer * per + kind] for layer in layers for kind in kinds]
    # What follows the last layer that is asked for need not run.
    model = replace(model, layers=max(layers) + 1)
    sets: list[dict[str, LayerData]] = []
    for number, inputs in enumerate(_inputs(model)):
        progress(f"calibrate {name}", number, 4)
        sets.append(model.calibrate(inputs, names))
    return {n: Tokens(sets[0][n].weight, *(part[n].activations for part in sets)) for n in names}


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


def scale_layer(derived: Derived, what: str, tokens: Tokens, sparsity: float) -> dict[str, Any]:
    """Output error of scales per k tile against one scale, by limit of bytes relative to one."""
    weights = _pruned(tokens, sparsity)[:, :_SCALE_COLUMNS].astype(np.float64)
    seen = np.concatenate([tokens.fit, tokens.hold]).astype(np.float64)
    # |X D| = |R D| with the triangular factor of X, which is far smaller.
    factor = np.linalg.qr(seen, mode="r")
    judge = tokens.judge.astype(np.float64)
    one = one_scale(weights, derived.shape)
    before = float(np.linalg.norm(judge @ (weights - one.real)))
    found: dict[str, Any] = {"what": what, "sparsity": sparsity, "bytes_one_scale": one.bytes}
    for per in SCOPES:
        for limit in BYTE_LIMITS:
            mixed = tiled_scale(
                weights, activations=factor, per=per, shape=derived.shape, byte_limit=limit
            )
            after = float(np.linalg.norm(judge @ (weights - mixed.real)))
            found[f"{per} {limit:g}"] = after / before
            found[f"{per} {limit:g} bytes"] = mixed.bytes
            found[f"{per} {limit:g} parts"] = len(mixed.tiles)
    return found


def measure(
    derived: Derived, models: Sequence[str], progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Figures of approximate mode and of mixed scales, of the first linear layer of two layers."""
    near, scales = [], []
    for model in models:
        for name, tokens in load_tokens(model, _LAYERS, progress).items():
            what = f"{short_name(model)} {name.removeprefix('encoder.')}"
            for number, sparsity in enumerate(_SPARSITIES):
                progress(f"budget and scales, {what}", number, len(_SPARSITIES))
                near += [
                    approximate_layer(derived, what, tokens, sparsity, int8_activations=given)
                    for given in (False, True)
                ]
                scales.append(scale_layer(derived, what, tokens, sparsity))
    return near, scales


def _mean(figures: Sequence[dict[str, Any]], field: str) -> float:
    return float(np.mean([figure[field] for figure in figures]))


def bars(near: Sequence[dict[str, Any]], scales: Sequence[dict[str, Any]]) -> list[Bar]:
    """What is asked of both; rounding of activations counts in the first, not in the second."""
    floats = [figure for figure in near if figure["activations"] == "float"]
    asked = f"approximate at {BUDGET:.1%} output error over exact, mean"
    return [
        Bar(asked, _mean(floats, "gain"), 1.3),
        *(
            Bar(
                f"mixed-scale error, same bytes, {per} ratios", _mean(scales, f"{per} 1"), 0.8, True
            )
            for per in SCOPES
        ),
    ]


def note(near: Sequence[dict[str, Any]]) -> str:
    """One line: gains by sparsity and kind of activations."""
    parts = []
    for sparsity in _SPARSITIES:
        for kind in ("float", "int8"):
            mine = [f for f in near if (f["sparsity"], f["activations"]) == (sparsity, kind)]
            parts.append(f"{sparsity:.0%} pruned, {kind} activations {_mean(mine, 'gain'):.3f}")
    return "approximate: " + ", ".join(parts)


def rows(near: Sequence[dict[str, Any]], scales: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Lines of the bench's table, ten fields each."""
    return [
        (
            f"{f['what']}, approximate, {f['activations']} activations, error {f['error']:.2%}",
            f"{f['sparsity']:.0%}",
            *("", "", f"exact {f['cycles_exact']:,}"),
            f"{f['cycles']:,}",
            *("", f"{f['gain']:.3f}" if f["counts"] else "over budget", "", ""),
        )
        for f in near
    ] + [
        (
            f"{f['what']}, mixed-scale error ratio",
            f"{f['sparsity']:.0%}",
            *("", "", f"{per}, bytes x {limit:g}", f"{f[f'{per} {limit:g}']:.3f}"),
            *("", "", "", ""),
        )
        for f in scales
        for per in SCOPES
        for limit in BYTE_LIMITS
    ]
