"""Vision transformer in float32 numpy, its weights found by the structure of an ONNX graph.

A pre-norm ViT (Dosovitskiy et al., ICLR 2021) with LayerScale (Touvron et al., ICCV 2021), as in
DINOv2 (Oquab et al., 2023). ViT-S/14 has 12 layers, d = 384, FFN 1536 and 6 heads; a 224 x 224
photo is 257 tokens. The exporter leaves weights anonymous, so `vit_graph` finds them by what the
graph does with them: every Softmax is an attention, and its neighbours are told apart by their
place. What follows the last norm (here a saliency decoder) is not part of the backbone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from flows.models.base import F32, LinearModel, Taps, gelu, softmax
from flows.models.fetch import read_member
from flows.models.registry import REGISTRY
from flows.models.vit_graph import LINEARS, read_backbone
from golden.errors import BadInput

__all__ = ["ViT", "resize_cubic"]

_FILE = REGISTRY["ViT-S14-saliency"].files["weights"]


def resize_cubic(grid: F32, sizes: tuple[int, int]) -> F32:
    """Resize (rows, columns, d) to `sizes` by cubic convolution, as ONNX Resize does it.

    Pixel centres are half-way, edges repeat, a = -0.75, no filter against aliasing. Source:
    Keys, "Cubic Convolution Interpolation", IEEE TASSP 1981; ONNX operator Resize, version 13.
    """
    for axis, size in enumerate(sizes):
        weights = _cubic_weights(grid.shape[axis], size)
        grid = np.moveaxis(np.tensordot(weights, grid, (1, axis)), 0, axis)
    return grid.astype(np.float32)


def _cubic_weights(old: int, new: int) -> np.ndarray:
    """Float64 (new, old): how much each old sample counts for each new one."""
    a = -0.75
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(centre).astype(int)
    out = np.zeros((new, old))
    for tap in range(-1, 3):
        x = np.abs(centre - (first + tap))
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = a * (((x - 5) * x + 8) * x - 4)
        np.add.at(
            out,
            (np.arange(new), np.clip(first + tap, 0, old - 1)),
            np.where(x <= 1, near, far),
        )
    return out


@dataclass(frozen=True, kw_only=True)
class ViT(LinearModel):
    """The backbone; linear layers are named ``layer.<i>.<part>``.

    An input is a normalised photo, float32 (3, side, side), see `flows.models.photos`.

    Attributes:
        heads: number of attention heads.
        scale: factor of the attention scores.
        epsilon: of the layer norms.
        patch: rows and columns of pixels that make a token.
        side: rows and columns of a photo.
    """

    heads: int
    scale: float
    epsilon: float
    patch: int
    side: int

    @classmethod
    def load(cls, wheel: Path) -> "ViT":
        """Read the backbone from its wheel; raises BadInput naming the file and what is wrong."""
        where = f"{wheel}: {_FILE}"
        try:
            graph = onnx.load_from_string(read_member(wheel, _FILE)).graph
        except DecodeError as error:
            raise BadInput(f"{where} must be an ONNX file: {error}.") from error
        return cls(**read_backbone(graph, where)._asdict())

    @property
    def linear_names(self) -> tuple[str, ...]:
        return tuple(f"layer.{i}.{part}" for i in range(self.layers) for part in LINEARS)

    def check_inputs(self, inputs: Sequence[F32]) -> Sequence[F32]:
        for photo in inputs:
            if np.shape(photo) != (3, self.side, self.side):
                raise BadInput(
                    f"photo: must have shape {(3, self.side, self.side)}, "
                    f"but has {np.shape(photo)}."
                )
        return inputs

    def run(self, item: F32, taps: Taps | None = None) -> F32:
        """Outputs (1 + patches, d) of one photo behind the last norm, the class token first."""
        return self.encode(self.embed(item), taps)

    def encode(self, tokens: F32, taps: Taps | None = None) -> F32:
        """Outputs (tokens, d) behind the last norm, of any number of embedded tokens."""
        x = tokens
        for prefix in (f"layer.{i}." for i in range(self.layers)):
            normal = self._norm(prefix + "norm1", x)
            query, key, value = (
                # (tokens, d) -> (heads, tokens, d / heads)
                self.apply(prefix + part, normal, taps)
                .reshape(len(x), self.heads, -1)
                .transpose(1, 0, 2)
                for part in LINEARS[:3]
            )
            scores = query @ key.transpose(0, 2, 1) * np.float32(self.scale)
            context = (softmax(scores) @ value).transpose(1, 0, 2).reshape(len(x), -1)
            branch = self.apply(prefix + LINEARS[3], context, taps)
            x = x + branch * self.tensors[prefix + "scale1"]
            normal = self._norm(prefix + "norm2", x)
            hidden = gelu(self.apply(prefix + LINEARS[4], normal, taps))
            x = x + self.apply(prefix + LINEARS[5], hidden, taps) * self.tensors[prefix + "scale2"]
        return self._norm("norm", x)

    def embed(self, photo: F32) -> F32:
        """Class token and patches with their positions, (1 + patches, d)."""
        count = self.side // self.patch
        used = photo[:, : count * self.patch, : count * self.patch]
        patches = used.reshape(3, count, self.patch, count, self.patch).transpose(1, 3, 0, 2, 4)
        kernel = self.tensors["patch.weight"]
        tokens = patches.reshape(count * count, -1) @ kernel + self.tensors["patch.bias"]
        positions = self.tensors["positions"]
        grid = round(len(positions) ** 0.5)
        d = positions.shape[1]
        resized = resize_cubic(positions.reshape(grid, grid, d), (count, count))
        first = self.tensors["class_token"] + self.tensors["class_position"]
        return np.concatenate([first, tokens + resized.reshape(-1, d)])

    def _norm(self, name: str, x: F32) -> F32:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = np.square(centred).mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt(variance + np.float32(self.epsilon))
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]
