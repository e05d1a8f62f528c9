"""What every float model has in common: named linear layers, and what enters them.

A linear layer computes ``activations @ weight + bias``; weights are float32 (K, N), inputs by
outputs, as `flows.compress.prune` and `golden.numerics.quantise` take them. The other functions are
the pieces that several networks share, in float32 with float64 inside where it is cheap.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.errors import BadInput

__all__ = ["F32", "LayerData", "LinearModel", "Taps", "checked_texts", "erf", "gelu", "softmax"]

F32 = NDArray[np.float32]

Taps = dict[str, list[F32]]
"""Names of linear layers to what has entered them, one array (tokens, K) per input."""

_ERF_STEP = 1.0 / 256.0
_ERF_LIMIT = 6.0  # 1 - erf(6) < 2.2e-17, less than float64 resolves next to 1
_ERF_KNOTS = np.arange(0.0, _ERF_LIMIT + 1.5 * _ERF_STEP, _ERF_STEP)
_ERF_VALUES = np.array([math.erf(x) for x in _ERF_KNOTS])
_ERF_SLOPES = (2.0 / math.sqrt(math.pi)) * np.exp(-(_ERF_KNOTS**2)) * _ERF_STEP


class LayerData(NamedTuple):
    """One linear layer with what enters it: ``activations @ weight + bias`` is its output."""

    activations: F32
    """(tokens, K), the tokens of all inputs one after the other."""
    weight: F32
    """(K, N)"""
    bias: F32
    """(N,), zeros where the layer has none."""


@dataclass(frozen=True, kw_only=True)
class LinearModel(ABC):
    """A float model seen as its linear layers; variants share all tensors but the changed ones.

    Attributes:
        tensors: name to float32 array; layer `name` holds ``name.weight`` (K, N) and, unless it
            has no bias, ``name.bias`` (N,).
        layers: number of layers, all with the same kinds of linear layers.
    """

    tensors: dict[str, F32]
    layers: int

    @property
    @abstractmethod
    def linear_names(self) -> tuple[str, ...]:
        """The linear layers in the order of execution, those of one layer together."""

    @abstractmethod
    def run(self, item: Any, taps: Taps | None = None) -> F32:
        """Outputs (tokens, d) of one input; appends what enters the layers named in `taps`."""

    def check_inputs(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """The inputs; raises BadInput if the model can't take them."""
        return inputs

    def linear(self, name: str) -> tuple[F32, F32]:
        """Weight (K, N) and bias (N,) of a linear layer."""
        if name not in self.linear_names:
            raise BadInput(
                f"layer '{name}' is not a linear layer of the model; "
                f"they run from {self.linear_names[0]} to {self.linear_names[-1]}."
            )
        weight = self.tensors[f"{name}.weight"]
        bias = self.tensors.get(f"{name}.bias")
        return weight, np.zeros(weight.shape[1], np.float32) if bias is None else bias

    def with_weight(self, name: str, weight: ArrayLike) -> Self:
        """The same model with another weight (K, N) in one linear layer; the rest is shared."""
        old, _ = self.linear(name)
        new = np.asarray(weight, dtype=np.float32)
        if new.shape != old.shape:
            raise BadInput(
                f"layer '{name}': weight must have shape {old.shape}, but has {new.shape}."
            )
        return replace(self, tensors={**self.tensors, f"{name}.weight": new})

    def calibrate(self, inputs: Sequence[Any], names: Iterable[str]) -> dict[str, LayerData]:
        """What enters each of the linear layers `names`, from one pass over the inputs."""
        layers = {name: self.linear(name) for name in names}
        taps: Taps = {name: [] for name in layers}
        for item in self.check_inputs(inputs):
            self.run(item, taps)
        return {
            name: LayerData(
                np.concatenate([np.empty((0, weight.shape[0]), np.float32), *taps[name]]),
                weight,
                bias,
            )
            for name, (weight, bias) in layers.items()
        }

    def layer_data(self, inputs: Sequence[Any], name: str) -> LayerData:
        """What enters linear layer `name` for all inputs, with its weight and bias."""
        return self.calibrate(inputs, (name,))[name]

    def apply(self, name: str, x: F32, taps: Taps | None) -> F32:
        """Output of linear layer `name` for `x` (tokens, K), which is recorded in `taps`."""
        if taps is not None and name in taps:
            taps[name].append(x)
        out = x @ self.tensors[f"{name}.weight"]
        bias = self.tensors.get(f"{name}.bias")
        return out if bias is None else out + bias


def erf(x: ArrayLike) -> NDArray[np.float64]:
    """Error function of any shape, float64, absolute error below 3e-12.

    Cubic Hermite interpolation of `math.erf` with its exact derivative, step h = 1/256: the
    error is at most ``h**4 / 384 * max|erf''''|`` = 2.7e-12 (the maximum is 4.4, at x = 0.52).
    """
    values = np.asarray(x, dtype=np.float64)
    position = np.minimum(np.abs(values), _ERF_LIMIT) / _ERF_STEP
    index = position.astype(np.intp)
    t = position - index
    low, high = _ERF_VALUES[index], _ERF_VALUES[index + 1]
    rise = high - low
    enter, leave = _ERF_SLOPES[index] - rise, rise - _ERF_SLOPES[index + 1]
    s = 1.0 - t
    return np.copysign(s * low + t * high + t * s * (s * enter + t * leave), values)


def gelu(x: F32) -> F32:
    """``x * (1 + erf(x / sqrt(2))) / 2``, the exact form."""
    return (x * (0.5 + 0.5 * erf(x / math.sqrt(2.0)))).astype(np.float32)


def softmax(scores: F32) -> F32:
    """Softmax over the last axis; a score of -inf has weight 0."""
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def checked_texts(texts: Sequence[str]) -> Sequence[str]:
    """`texts`; raises BadInput unless it is a list of strings."""
    if isinstance(texts, str) or not all(isinstance(item, str) for item in texts):
        raise BadInput("sentences: must be a list of strings.")
    return texts
