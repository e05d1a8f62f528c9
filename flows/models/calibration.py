"""Linear layers of real models with what enters them, from texts and photos at hand.

`load_calibrated` gives one set of tokens, `load_tokens` several from different inputs.

*Fit* and *hold* are for calibration, *judge* is for what calibration must not see.  Texts are
paragraphs of Python's language reference (`pydoc_data`, so figures depend on the Python version),
dealt in turn.  Photos are one to each set, with crops and a mirror image.  *Other* text is the
`SENTENCES`, short and not at all like reference prose.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np

from flows.models.base import F32, LayerData, LinearModel
from flows.models.fetch import fetch, load_model

__all__ = [
    "MODELS",
    "SENTENCES",
    "Tokens",
    "inputs_of",
    "load_calibrated",
    "load_tokens",
    "short_name",
]

Progress = Callable[[str, int, int], None]

MODELS = ("MiniLM-L6-v2", "SmolLM2-135M-Instruct", "ViT-S14-saliency")
"""Models of the registry with linear layers."""

SENTENCES = (
    "A multiplier that waits for a zero does no useful work.",
    "The river had frozen overnight, and the ferry stayed on the far bank.",
    "Weights that are pruned away need neither storage nor time.",
    "She tuned the old radio until the weather report came through the noise.",
    "An event is a single non-zero scalar, broadcast against a vector.",
    "Our train leaves at seven, so we should have breakfast before six.",
    "The committee postponed its decision until the new figures are published.",
    "Engines take their work from queues and slip against each other.",
    "He planted two rows of beans along the southern wall of the garden.",
    "After the drain has fetched a column, the next one may already be closed.",
)
"""Text for models of language."""

_TEXTS = 90


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


def _inputs_of_sets(model: LinearModel) -> tuple[Sequence[Any], ...]:
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


def inputs_of(model: LinearModel) -> Sequence[Any]:
    """Inputs for calibration: photos for a model that has a photo's size, else sentences."""
    side = getattr(model, "side", None)
    if side is None:
        return SENTENCES
    # Only a vision model needs what reads photos.
    from flows.models.photos import load_photos

    return list(load_photos(side).values())


def load_calibrated(
    name: str, progress: Progress, layers: Sequence[int] | None = None
) -> dict[str, LayerData]:
    """Fetch a model; the linear layers of `layers` with what enters them on real inputs.

    By default the first, the middle and the last layer are taken.
    """
    fetch(name, progress=lambda done, total: progress(f"fetch {name}", done, total))
    progress(f"calibrate {name}", 0, 1)
    model: LinearModel = load_model(name)
    kinds = len(model.linear_names) // model.layers
    chosen = layers or sorted({0, model.layers // 2, model.layers - 1})
    names = [n for i in chosen for n in model.linear_names[i * kinds : (i + 1) * kinds]]
    return model.calibrate(inputs_of(model), names)


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
    for number, inputs in enumerate(_inputs_of_sets(model)):
        progress(f"calibrate {name}", number, 4)
        sets.append(model.calibrate(inputs, names))
    return {n: Tokens(sets[0][n].weight, *(part[n].activations for part in sets)) for n in names}


def short_name(model: str) -> str:
    """A model's name up to its first hyphen, for tables."""
    return model.partition("-")[0]
