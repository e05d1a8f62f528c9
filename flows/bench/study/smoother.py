"""Smoothing of A x = b with products of a sparse INT8 matrix, by truncated Neumann series.

With M the diagonal blocks of A and ``B = I - w M^-1 A``, one round adds the truncated Neumann
series of the residual r,

    x <- x + sum_{j=0..d} B^j (w M^-1 r)

which is damped block-Jacobi for d = 0.  The residual is taken in float64 and quantised afresh in
every round, so that the fixed-point error is relative to a residual that shrinks.

Source: Saad, "Iterative Methods for Sparse Linear Systems", 2nd ed., sections 4.1 and 12.3.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.errors import BadInput
from golden.numerics.quantise import (
    finite_matrix,
    quantise_activations,
    quantise_weights,
    requantise,
    requantise_parameters,
)
from golden.operators.matmul import matmul

from .polynomial import PolynomialPlan, Product, evaluate, matrix_polynomial, plan_polynomial

__all__ = ["Smoother", "Smoothing", "plan_smoother", "smooth"]

_QMAX = 127


@dataclass(frozen=True, eq=False)
class Smoother:
    """Integer program of one smoothing round.

    Attributes:
        inverse: int8 (n, n), the transposed ``w M^-1``.
        requantiser: multiplier and shift of its product to the int8 vector z; None for d = 0.
        scale: float64, real value of one unit of z, or of the product for d = 0, per unit of r.
        series: the Neumann series on z; None for d = 0.
    """

    inverse: NDArray[np.int8]
    requantiser: tuple[NDArray[np.int64], NDArray[np.int64]] | None
    scale: NDArray[np.float64]
    series: PolynomialPlan | None

    def correction(self, residual: ArrayLike, product: Product = matmul) -> NDArray[np.float64]:
        """What a round adds to x for real residuals (B, n); all products are exact."""
        quantised, unit = quantise_activations(residual)
        acc = product(quantised, self.inverse)
        if self.requantiser is None or self.series is None:
            return acc * (self.scale * float(unit[0]))
        z = requantise(acc, *self.requantiser)
        return evaluate(self.series, z, product) * (self.series.scale * self.scale * float(unit[0]))


def plan_smoother(
    matrix: ArrayLike, *, degree: int = 1, block: int = 1, damping: float = 0.8, seed: int = 0
) -> Smoother:
    """Plan block-Jacobi (degree 0) or Neumann smoothing, calibrated on random residuals.

    Args:
        matrix: A, finite, (n, n), diagonal blocks regular.
        degree: d, >= 0.
        block: rows of a diagonal block; the last one may be smaller.
        damping: w, in 0..1, not 0.
        seed: of the calibration residuals.
    """
    a = finite_matrix("matrix", matrix)
    if degree < 0 or block < 1 or not 0 < damping <= 1:
        raise BadInput(
            "smoother: degree, block and damping: must be >= 0, >= 1 and in 0..1 without 0, "
            f"got {degree}, {block} and {damping}"
        )
    inverse, remainder = _splitting(a, block, damping)
    weights, found = quantise_weights(inverse.T)
    scale = found.astype(np.float64)
    if degree == 0:
        return Smoother(weights, None, scale, None)
    residuals = np.random.default_rng(seed).uniform(-1, 1, (8, len(a)))
    z = residuals @ inverse.T
    # Residuals use the full INT8 range, so one unit of r is 1/127 of their peak.
    unit = np.abs(z).max() / _QMAX * (_QMAX / np.abs(residuals).max())
    requantiser = requantise_parameters(scale / unit)
    series = plan_polynomial(remainder, [1.0] * (degree + 1), z)
    return Smoother(weights, requantiser, np.array([unit]), series)


@dataclass(frozen=True, eq=False)
class Smoothing:
    """Outcome of `smooth`: relative residuals |b - A x| / |b| after every round, x, float's x."""

    fixed: NDArray[np.float64]
    reference: NDArray[np.float64]
    solution: NDArray[np.float64]


def smooth(
    matrix: ArrayLike,
    right: ArrayLike,
    rounds: int,
    *,
    degree: int = 1,
    block: int = 1,
    damping: float = 0.8,
    product: Product = matmul,
) -> Smoothing:
    """Smooth A x = b from x = 0, in fixed point and beside it in float.

    Every equation is first divided by its largest coefficient, so that one scale suits all
    residuals; the residuals returned are those of the system so scaled.

    Args:
        matrix: A (n, n).
        right: b (n,), not zero.
        rounds: how often a correction is added.
        product: who computes the integer products.
    """
    a = finite_matrix("matrix", matrix)
    b = finite_matrix("right side", np.asarray(right, np.float64).reshape(1, -1))
    if a.shape[0] != a.shape[1] or b.shape[1] != len(a) or not b.any():
        raise BadInput(
            f"smoother: right side: must have {len(a)} values that are not all 0, and the matrix "
            f"must be square, got {b.shape[1]} and {a.shape}"
        )
    largest = np.abs(a).max(axis=1)
    if not largest.all():
        raise BadInput(
            "smoother: matrix: every row must hold a non-zero, "
            f"got an empty one at row {int(np.argmin(largest))}"
        )
    a, b = a / largest[:, None], b / largest
    norm = np.linalg.norm(b)
    program = plan_smoother(a, degree=degree, block=block, damping=damping)
    inverse, remainder = _splitting(a, block, damping)
    x, y = np.zeros_like(b), np.zeros_like(b)
    fixed, reference = [], []
    for _ in range(rounds):
        x = x + program.correction(b - x @ a.T, product)
        z = (b - y @ a.T) @ inverse.T
        y = y + matrix_polynomial(remainder, [1.0] * (degree + 1), z)[-1]
        fixed.append(np.linalg.norm(b - x @ a.T) / norm)
        reference.append(np.linalg.norm(b - y @ a.T) / norm)
    return Smoothing(np.array(fixed), np.array(reference), x[0])


def _splitting(
    a: NDArray[np.float64], block: int, damping: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``w M^-1`` and ``I - w M^-1 A``."""
    inverse = np.zeros_like(a)
    for start in range(0, len(a), block):
        place = slice(start, min(start + block, len(a)))
        try:
            inverse[place, place] = damping * np.linalg.inv(a[place, place])
        except np.linalg.LinAlgError as error:
            raise BadInput(
                f"smoother: matrix: diagonal blocks of {block} rows must be regular, "
                f"got a singular one at row {start}"
            ) from error
    return inverse, np.eye(len(a)) - inverse @ a
