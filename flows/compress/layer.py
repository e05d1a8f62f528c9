"""A float layer in INT8, and the error of its output against the float product.

A layer or a sample that is given in int8 is taken as it is, with scale 1.  Float weights are
rounded with one scale per output column, float activations with one per token
(`golden.numerics.quantise`).  Where both are float, channels may have divisors
(`flows.compress.equalise`): weights are multiplied by them before rounding, activations divided.
Error is ``|X (s q) - T| / |T|`` (Frobenius norms), in float64: X and s q are what the array
multiplies, in real units, T = A W is the float layer's output.
"""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from golden.errors import BadInput
from golden.numerics.quantise import finite_matrix, quantise_activations, quantise_weights

__all__ = ["Layer", "Sample", "layer_of", "relative_change", "sample_of"]


@dataclass(frozen=True, eq=False)
class Layer:
    """A float layer's weights and their plain INT8 rounding.

    Attributes:
        real: float64 (K, N), the float weights times the divisors.
        weights: int8 (K, N).
        scale: float64 (N,), real value of one unit in each column.
        divisors: float64 (K,), of the activations' channels; None: as they are.
    """

    real: NDArray[np.float64] = field(repr=False)
    weights: NDArray[np.int8] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)
    divisors: NDArray[np.float64] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Sample:
    """Activations as the array multiplies them, and what the float layer makes of the float ones.

    Attributes:
        activations: int8 (M, K).
        scale: float64 (M,), real value of one unit in each token.
        target: float64 (M, N), A W in float.
    """

    activations: NDArray[np.int8] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)
    target: NDArray[np.float64] = field(repr=False)

    @property
    def inputs(self) -> NDArray[np.float64]:
        """X, float64 (M, K)."""
        return self.activations * self.scale[:, None]

    def error(self, layer: Layer, weights: NDArray[np.int8]) -> float:
        """Relative output error of int8 weights; infinite where only T is zero."""
        return self.distance(self.inputs @ (weights * layer.scale))

    def distance(self, output: NDArray[np.float64]) -> float:
        """Error of an output in real units, (M, N), relative to the float layer's."""
        return relative_change(output, self.target)

    def rows(self, low: int, high: int) -> "Sample":
        """Tokens low .. high - 1."""
        part = slice(low, high)
        return Sample(self.activations[part], self.scale[part], self.target[part])


def relative_change(found: np.ndarray, wanted: np.ndarray) -> float:
    """``|found - wanted| / |wanted|`` (Frobenius); infinite where only ``wanted`` is zero."""
    change = float(np.linalg.norm(found - wanted))
    norm = float(np.linalg.norm(wanted))
    if norm:
        return change / norm
    return math.inf if change else 0.0


def layer_of(weights: np.ndarray, divisors: np.ndarray | None = None) -> Layer:
    """The layer of int8 weights, taken as they are, or of float ones, rounded per column.

    Args:
        weights: (K, N).
        divisors: (K,), greater than 0, that the activations' channels are divided by before
            rounding; for float weights alone.
    """
    if divisors is None:
        if weights.dtype == np.int8:
            return Layer(weights.astype(np.float64), weights, np.ones(weights.shape[1]))
        rounded, scale = quantise_weights(weights)
        return Layer(weights.astype(np.float64), rounded, scale.astype(np.float64))
    if weights.dtype == np.int8:
        raise BadInput("divisors: must come with float weights, got int8")
    given, factors = finite_matrix("weights", weights), divisors.astype(np.float64)
    if factors.shape != (len(given),) or not np.all(np.isfinite(factors) & (factors > 0)):
        raise BadInput(
            f"divisors: must be {len(given)} finite numbers greater than 0, got shape "
            f"{factors.shape} and least {factors.min(initial=np.inf):g}"
        )
    real = given * factors[:, None]
    rounded, scale = quantise_weights(real)
    return Layer(real, rounded, scale.astype(np.float64), factors)


def sample_of(activations: np.ndarray, layer: Layer) -> Sample:
    """The sample of int8 activations, taken as they are, or of float ones, rounded per token.

    Float ones are divided by the layer's divisors first.
    """
    given = finite_matrix("activations", activations)
    if given.shape[1] != len(layer.real):
        raise BadInput(
            f"activations and weights: shape: K must agree, got {given.shape} "
            f"and {layer.real.shape}"
        )
    if activations.dtype == np.int8:
        if layer.divisors is not None:
            raise BadInput("activations: must be float for a layer with divisors, got int8")
        return Sample(activations, np.ones(len(activations)), given @ layer.real)
    if layer.divisors is not None:
        given = given / layer.divisors
    rounded, scale = quantise_activations(given, per="token")
    return Sample(rounded, scale.astype(np.float64), given @ layer.real)
