"""Refinement of the weights of fused parts: projected gradient descent on the simplex.

Offline, in float (`refine_weights`): over calibration activations X (tokens, K) minimise

    f(w) = | X W - S * sum_i w_i Z_i |^2,   Z_i = X q_i,   w >= 0, sum w_i = 1

by ``w <- project(w - grad f / L)`` with L the largest eigenvalue of the Hessian, for which every
step descends.  The result is rounded to Q15, and where that is not better than the start, the
start is returned: refinement is never worse.  A weight per part has one problem for the block, a
weight per output column one for each.

On the chip, in integers (`adapt_step`): one step on Q15 weights with integer gradients,

    delta_i = (n * g_i - sum_j g_j) >> shift          (rounds towards minus infinity)
    v_i     = clamp(w_i - delta_i, 0, 32768)

The gradient's mean is subtracted n-fold, which needs no division; the step size is
``n / 2**shift``.  What is then missing to 32768, or too much, goes to the largest ``v_i``, the
first of equals; what it cannot take (it stays in 0..32768) goes to the parts behind it in turn,
from the last on to the first.  Hence the sum is 32768 after every step.

Sources: DESIGN section 5; projection: Duchi et al., "Efficient Projections onto the l1-Ball for
Learning in High Dimensions", ICML 2008, figure 1.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInput
from ..numerics.combine import UNIT, weights_valid
from ..numerics.quantise import finite_matrix
from .scales import MixedScale, q15_weights

__all__ = [
    "GRADIENT_BITS",
    "MAX_PARTS",
    "MAX_STEP_SHIFT",
    "adapt_step",
    "adapt_step_naive",
    "integer_gradients",
    "project_simplex",
    "refine_weights",
]

MAX_PARTS = 4
"""Parts of the hardware adapter."""

GRADIENT_BITS = 32
"""Width of an integer gradient, two's complement."""

MAX_STEP_SHIFT = 31
"""Largest shift of a step."""


def project_simplex(point: ArrayLike) -> NDArray[np.float64]:
    """The nearest point with non-negative coordinates that sum to 1; (n,) or columns of (n, N)."""
    values = np.asarray(point, np.float64)
    flat = values.reshape(len(values), -1)
    ordered = -np.sort(-flat, axis=0)
    count = np.arange(1, len(flat) + 1)[:, None]
    threshold = (np.cumsum(ordered, axis=0) - 1) / count
    kept = (ordered > threshold).sum(axis=0)
    chosen = threshold[kept - 1, np.arange(flat.shape[1])]
    return np.maximum(flat - chosen, 0).reshape(values.shape)


def refine_weights(
    mixed: MixedScale, weights: ArrayLike, activations: ArrayLike, *, steps: int = 200
) -> NDArray[np.int64]:
    """Q15 weights with no more output error than ``mixed.weights``.

    Args:
        mixed: the parts, their weights (the start) and S, which stays.
        weights: the float matrix that the parts stand for, (K, N).
        activations: calibration activations, (tokens, K), float or int8.
        steps: of gradient descent.

    Returns:
        int64, the shape of ``mixed.weights``.
    """
    inputs = finite_matrix("activations", activations)
    target = inputs @ finite_matrix("weights", weights)
    products = np.stack(
        [inputs @ part.block.astype(np.float64) * mixed.total_scale for part in mixed.parts]
    )
    # Per column: gram (N, n, n), slope (N, n), constant (N,); one problem sums over the columns.
    gram = np.einsum("imc,jmc->cij", products, products, optimize=True)
    slope = np.einsum("imc,mc->ci", products, target, optimize=True)
    start = mixed.weights.astype(np.int64)
    if start.ndim == 1:
        gram, slope = gram.sum(axis=0, keepdims=True), slope.sum(axis=0, keepdims=True)
    first = start.reshape(len(start), -1)

    def objective(point: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.einsum("ic,cij,jc->c", point, gram, point) - 2 * np.einsum(
            "ic,ci->c", point, slope
        )

    largest = np.linalg.eigvalsh(gram)[:, -1]
    rate = 1 / np.where(largest > 0, largest, 1.0)
    point = first / UNIT
    for _ in range(steps):
        gradient = np.einsum("cij,jc->ic", gram, point) - slope.T
        point = project_simplex(point - rate * gradient)
    rounded = q15_weights(point)
    better = objective(rounded / UNIT) < objective(first / UNIT)
    return np.where(better, rounded, first).reshape(start.shape)


def integer_gradients(
    products: ArrayLike, residual: ArrayLike, shift: int = 0
) -> NDArray[np.int64]:
    """Gradients ``-<Z_i, R> >> shift`` for the adapter, saturated to 32 bits.

    Args:
        products: partial sums Z_i, integers, (parts, ...).
        residual: target minus fused result in the same integer units, (...).
        shift: brings the inner products into range.
    """
    parts = np.asarray(products)
    error = np.asarray(residual).reshape(-1).tolist()
    # Inner products pass 64 bits at full range; Python's integers hold them.
    exact = [
        sum(z * r for z, r in zip(part.reshape(-1).tolist(), error, strict=True)) for part in parts
    ]
    limit = 1 << (GRADIENT_BITS - 1)
    return np.array([min(max(-value >> shift, -limit), limit - 1) for value in exact], np.int64)


def adapt_step_naive(weights: Sequence[int], gradients: Sequence[int], shift: int) -> list[int]:
    """The specification of `adapt_step`, one scalar at a time."""
    n = len(weights)
    moved = []
    for weight, gradient in zip(weights, gradients, strict=True):
        delta = (n * gradient - sum(gradients)) >> shift
        moved.append(min(max(weight - delta, 0), UNIT))
    rest = UNIT - sum(moved)
    largest = moved.index(max(moved))
    for i in range(n):
        part = (largest + i) % n
        after = min(max(moved[part] + rest, 0), UNIT)
        rest -= after - moved[part]
        moved[part] = after
    return moved


def adapt_step(weights: ArrayLike, gradients: ArrayLike, shift: int) -> NDArray[np.int64]:
    """One step of the hardware adapter on many sets of weights at once; see the module.

    Args:
        weights: Q15, (parts,) or (parts, sets), 2 to 4 parts, each set sums to 32768.
        gradients: int32, the same shape.
        shift: 0..31.

    Returns:
        int64, the same shape; each set sums to 32768.
    """
    before, slopes = np.asarray(weights), np.asarray(gradients)
    if before.shape != slopes.shape or not 2 <= len(before) <= MAX_PARTS:
        raise BadInput(
            f"adapter: weights and gradients: must have one shape of 2 to {MAX_PARTS} parts, "
            f"got {before.shape} and {slopes.shape}"
        )
    if not weights_valid(before):
        raise BadInput(f"adapter: weights: must sum to {UNIT}, got {before.tolist()}")
    limit = 1 << (GRADIENT_BITS - 1)
    if slopes.dtype.kind not in "iu" or slopes.min() < -limit or slopes.max() >= limit:
        raise BadInput(f"adapter: gradients: must be int32, got {slopes.tolist()}")
    if not 0 <= shift <= MAX_STEP_SHIFT:
        raise BadInput(f"adapter: shift: must be 0 to {MAX_STEP_SHIFT}, got {shift}")
    flat = before.astype(np.int64).reshape(len(before), -1)
    step = slopes.astype(np.int64).reshape(flat.shape)
    moved = np.clip(flat - ((len(flat) * step - step.sum(axis=0)) >> shift), 0, UNIT)
    rest = UNIT - moved.sum(axis=0)
    largest = np.argmax(moved, axis=0)
    sets = np.arange(flat.shape[1])
    for i in range(len(flat)):
        part = (largest + i) % len(flat)
        after = np.clip(moved[part, sets] + rest, 0, UNIT)
        rest = rest - (after - moved[part, sets])
        moved[part, sets] = after
    return moved.reshape(before.shape)
