"""Polynomials of a sparse matrix applied to vectors, p(A) x, in INT8 by Horner's rule.

    y_d = c_d x,   y_j = A y_{j+1} + c_j x   (j = d-1 .. 0),   p(A) x = y_0

Each step is a sparse product, which the array computes exactly, and a multiply-add.  Vectors are
rows: x is (B, n), and the product is ``y @ W`` with ``W = A^T``, INT8 with one scale per output
channel (`quantise_weights`).  In integers, with ``s`` the real value of one unit and x in units
of its own scale:

    acc   = y @ W + constant_j * x          int32, exact; its unit is s_W[n] * s_y
    y'    = requantise(acc, multiplier_j[n], shift_j[n])       int8, half to even; unit s_y'

with ``constant_j[n] = round(c_j / (s_W[n] s_y))`` and
``multiplier_j / 2**shift_j ~ s_W[n] s_y / s_y'``.  The first state is x itself, whose unit is
c_d.  The last step is not requantised: the result is its int32 accumulator.  The units of the
states in between come from calibration vectors (largest magnitude to 127, times a margin;
beyond, they saturate).

*Smoothing* of A x = b (`Smoother`): with M the diagonal blocks of A and ``B = I - w M^-1 A``, one
round adds the truncated Neumann series of the residual r,

    x <- x + sum_{j=0..d} B^j (w M^-1 r)

which is damped block-Jacobi for d = 0.  The residual is taken in float64 and quantised afresh in
every round, so that the fixed-point error is relative to a residual that shrinks.

Source: Saad, "Iterative Methods for Sparse Linear Systems", 2nd ed., sections 4.1 and 12.3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInput
from ..matmul import matmul, matmul_naive
from ..quantise import (
    finite_matrix,
    quantise_activations,
    quantise_weights,
    requantise,
    requantise_naive,
    requantise_parameters,
)

__all__ = [
    "HornerPlan",
    "HornerStep",
    "Product",
    "Smoother",
    "Smoothing",
    "evaluate",
    "evaluate_naive",
    "horner",
    "plan_polynomial",
    "plan_smoother",
    "smooth",
]

Product = Callable[[NDArray[np.int8], NDArray[np.int8]], NDArray[np.int32]]
"""The exact product int8 (B, K) by int8 (K, N): `golden.matmul.matmul`, or the array."""

_QMAX = 127
_LEAST_SCALE = 1 / _QMAX


@dataclass(frozen=True, eq=False)
class HornerStep:
    """One step: what is added, and how its sum becomes the next state (None: it is the result)."""

    constant: NDArray[np.int64]
    requantiser: tuple[NDArray[np.int64], NDArray[np.int64]] | None


@dataclass(frozen=True, eq=False)
class HornerPlan:
    """Integer program of a polynomial.

    Attributes:
        weights: int8 (n, n), the transposed matrix.
        steps: one per degree, the highest coefficient first.
        scale: float64 (n,), real value of one unit of the result per unit of x.
    """

    weights: NDArray[np.int8]
    steps: tuple[HornerStep, ...]
    scale: NDArray[np.float64]


def horner(
    matrix: ArrayLike, coefficients: Sequence[float], vectors: ArrayLike
) -> list[NDArray[np.float64]]:
    """The float reference: all states ``y_d .. y_0`` for rows ``vectors`` (B, n)."""
    transposed = np.asarray(matrix, np.float64).T
    x = np.asarray(vectors, np.float64)
    states = [coefficients[-1] * x]
    for coefficient in reversed(coefficients[:-1]):
        states.append(states[-1] @ transposed + coefficient * x)
    return states


def plan_polynomial(
    matrix: ArrayLike,
    coefficients: Sequence[float],
    calibration: ArrayLike,
    *,
    margin: float = 1.0,
) -> HornerPlan:
    """Fix the units of every step.

    Args:
        matrix: A, finite, (n, n).
        coefficients: c_0 .. c_d, finite, the highest not zero.
        calibration: vectors like those to come, finite, (B, n), not all zero.
        margin: factor on the calibrated magnitudes, >= 1 leaves room.

    Raises:
        BadInput: what breaks these rules, or sums that may leave int32.
    """
    a = finite_matrix("matrix", matrix)
    x = finite_matrix("calibration", calibration)
    if a.shape[0] != a.shape[1] or x.shape[1] != len(a):
        raise BadInput(
            "polynomial: matrix: must be square and as wide as the vectors, "
            f"got {a.shape} and vectors of {x.shape[1]}"
        )
    values = [float(c) for c in coefficients]
    if not values or not np.isfinite(values).all() or values[-1] == 0:
        raise BadInput(
            "polynomial: coefficients: must be finite and the highest not 0, "
            f"got {list(coefficients)}"
        )
    peak = np.abs(x).max()
    if peak == 0:
        raise BadInput("polynomial: calibration: must not be all zero, got zeros")
    weights, found = quantise_weights(a.T)
    # A channel without weights takes the unit of the others, so that constants keep their bits.
    occupied = (weights != 0).any(axis=0)
    usual = found[occupied].max() if occupied.any() else _LEAST_SCALE
    scale = np.where(occupied, found, usual).astype(np.float64)
    states = horner(a, values, x * (_QMAX / peak))
    unit = values[-1]
    steps = []
    sums = np.abs(weights.astype(np.int64)).sum(axis=0) * 128
    result = np.full(len(a), unit)
    for state, coefficient in zip(states[1:], reversed(values[:-1]), strict=True):
        accumulated = scale * unit
        constant = np.rint(coefficient / accumulated)
        if (sums + np.abs(constant) * 128 >= 2**31).any():
            raise BadInput(
                "polynomial: coefficients: must keep every sum within int32, "
                f"got {coefficient} against a state's unit of {abs(unit):g}"
            )
        result = accumulated
        requantiser = None
        if len(steps) < len(values) - 2:
            reached = np.abs(state).max() * margin / _QMAX
            # A state that calibration never moved keeps its sum's unit.  The unit keeps its
            # sign, too: a multiplier is positive.
            following = np.copysign(reached or np.abs(accumulated).max(), unit)
            requantiser = requantise_parameters(accumulated / following)
            unit = following
        steps.append(HornerStep(constant.astype(np.int64), requantiser))
    return HornerPlan(weights, tuple(steps), result)


def evaluate(
    plan: HornerPlan, vectors: NDArray[np.int8], product: Product = matmul
) -> NDArray[np.int32]:
    """p(A) x in integers: int8 (B, n) to int32 (B, n), in units of ``plan.scale``."""
    state = vectors
    acc = vectors.astype(np.int64)
    for step in plan.steps:
        acc = product(state, plan.weights) + step.constant * vectors
        if step.requantiser is not None:
            state = requantise(acc, *step.requantiser)
    return acc.astype(np.int32)


def evaluate_naive(plan: HornerPlan, vectors: NDArray[np.int8]) -> NDArray[np.int32]:
    """The specification of `evaluate`, one scalar at a time."""
    state = vectors.copy()
    acc = vectors.astype(np.int32)
    for step in plan.steps:
        acc = matmul_naive(state, plan.weights)
        for row in range(acc.shape[0]):
            for n in range(acc.shape[1]):
                acc[row, n] += int(step.constant[n]) * int(vectors[row, n])
        if step.requantiser is not None:
            multiplier, shift = step.requantiser
            for n in range(acc.shape[1]):
                state[:, n] = requantise_naive(acc[:, n], int(multiplier[n]), int(shift[n]))
    return acc


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
    series: HornerPlan | None

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
        y = y + horner(remainder, [1.0] * (degree + 1), z)[-1]
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
