"""Linear layers of real models with what enters them, in sets of tokens from different inputs.

*Fit* and *hold* are for calibration, *judge* is for what calibration must not see.  Texts are
paragraphs of Python's language reference (`pydoc_data`, so figures depend on the Python version),
dealt in turn.  Photos are one to each set, with crops and a mirror image.  *Other* text is the
sentences of `bench demo`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pydoc_data.topics import topics
from typing import Any, NamedTuple

import numpy as np

from flows.bench.demo import SENTENCES
from flows.models.base import F32, LayerData, LinearModel
from flows.models.fetch import fetch, load_model

__all__ = ["Tokens", "load_tokens"]

Progress = Callable[[str, int, int], None]

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
