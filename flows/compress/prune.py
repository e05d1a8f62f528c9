"""One-shot pruning of linear layers, and synthetic masks for benchmarks.

Every mask is boolean with True = keep, and holds an exact number of zeros. A sparsity is taken
as the decimal number that was written: 0.29 of 100 weights drops 29, although the nearest
binary number lies below.
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flows.models.base import LayerData
from golden.errors import BadInput
from golden.numerics.quantise import finite_matrix, quantise_activations, quantise_weights

__all__ = ["clustered_mask", "magnitude", "pruned_operands", "random_mask", "wanda"]

_BLOCK = 16
_LINE_SIGMA = 0.4


def wanda(w: ArrayLike, x: ArrayLike, sparsity: float) -> NDArray[np.bool_]:
    """Keep mask (K, N) by weight times activation norm, ``|w[k, n]| * ||x[:, k]||₂``.

    Per output column n exactly ``floor(sparsity * K)`` weights with the lowest score drop, ties
    from the lowest k. `w` is (K, N), `x` the calibration activations (M, K) that enter the layer.
    Raises BadInput for shapes that don't fit, values that aren't finite, sparsity outside 0..1.

    Source: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models",
    ICLR 2024, equation 1.
    """
    weights = finite_matrix("weights", w)
    inputs = finite_matrix("activations", x)
    if inputs.shape[1] != weights.shape[0]:
        raise BadInput(
            f"activations: must have as many columns as the weights have rows "
            f"({weights.shape[0]}), but have {inputs.shape[1]}."
        )
    # Only ratios matter; dividing by the peak keeps the squares inside float64.
    peak = np.abs(inputs).max()
    norm = np.linalg.norm(inputs / peak, axis=0) if peak > 0 else np.zeros(inputs.shape[1])
    return _keep_highest(np.abs(weights) * norm[:, None], sparsity)


def magnitude(w: ArrayLike, sparsity: float) -> NDArray[np.bool_]:
    """Keep mask (K, N) by ``|w[k, n]|``, otherwise as `wanda`."""
    return _keep_highest(np.abs(finite_matrix("weights", w)), sparsity)


def pruned_operands(
    layer: LayerData, sparsity: float, tokens: int = 64
) -> tuple[np.ndarray, np.ndarray]:
    """INT8 activations (tokens, K) and Wanda-pruned INT8 weights (K, N) of one layer."""
    keep = wanda(layer.weight, layer.activations, sparsity)
    activations, _ = quantise_activations(layer.activations[:tokens], per="token")
    weights, _ = quantise_weights(np.where(keep, layer.weight, 0))
    return activations, weights


def random_mask(shape: tuple[int, int], sparsity: float, seed: int) -> NDArray[np.bool_]:
    """Uniformly random keep mask with exactly ``floor(sparsity * size)`` zeros."""
    rows, columns = _checked_shape(shape)
    scores = np.random.default_rng(seed).random(rows * columns)
    return _keep_top(scores, _dropped(sparsity, rows * columns)).reshape(rows, columns)


def clustered_mask(shape: tuple[int, int], sparsity: float, seed: int) -> NDArray[np.bool_]:
    """Clustered keep mask with exactly ``floor(sparsity * size)`` zeros.

    Elements are kept by weighted sampling without replacement. The weight of an element is the
    product of a log-normal factor of its row and one of its column (sigma 0.4 each) and a gamma
    factor of its 16x16 block (coefficient of variation 1), as in trained and pruned layers,
    where whole channels and regions matter more than others.
    """
    rows, columns = _checked_shape(shape)
    rng = np.random.default_rng(seed)
    row = rng.normal(0.0, _LINE_SIGMA, (rows, 1))
    column = rng.normal(0.0, _LINE_SIGMA, (1, columns))
    block = rng.gamma(1.0, 1.0, (-(-rows // _BLOCK), -(-columns // _BLOCK)))
    log_block = np.log(np.maximum(block, np.finfo(np.float64).tiny))
    spread = log_block.repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)[:rows, :columns]
    # Keeping the highest log(weight) + Gumbel noise is weighted sampling without replacement.
    scores = row + column + spread + rng.gumbel(size=(rows, columns))
    return _keep_top(scores.ravel(), _dropped(sparsity, rows * columns)).reshape(rows, columns)


def _keep_highest(scores: NDArray[np.float64], sparsity: float) -> NDArray[np.bool_]:
    """Drop the lowest floor(sparsity * K) of each column, ties from the lowest row."""
    drop = _dropped(sparsity, scores.shape[0])
    keep = np.ones(scores.shape, dtype=np.bool_)
    np.put_along_axis(keep, np.argsort(scores, axis=0, kind="stable")[:drop], False, axis=0)
    return keep


def _keep_top(scores: NDArray[np.float64], drop: int) -> NDArray[np.bool_]:
    keep = np.ones(scores.size, dtype=np.bool_)
    keep[np.argsort(scores, kind="stable")[:drop]] = False
    return keep


def _dropped(sparsity: float, count: int) -> int:
    """floor(sparsity * count), with sparsity read as its shortest decimal form."""
    if isinstance(sparsity, bool) or not 0.0 <= sparsity <= 1.0:
        raise BadInput(f"sparsity: must be a number from 0 to 1, but is {sparsity}.")
    return math.floor(Fraction(repr(float(sparsity))) * count)


def _checked_shape(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise BadInput(f"shape: must be two sizes of at least 1, but is {tuple(shape)}.")
    return int(shape[0]), int(shape[1])
