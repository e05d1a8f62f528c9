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

Source: Saad, "Iterative Methods for Sparse Linear Systems", 2nd ed., section 12.3.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.errors import BadInput
from golden.numerics.quantise import (
    finite_matrix,
    quantise_weights,
    requantise,
    requantise_naive,
    requantise_parameters,
)
from golden.operators.matmul import matmul, matmul_naive

__all__ = [
    "PolynomialPlan",
    "PolynomialStep",
    "Product",
    "evaluate",
    "evaluate_naive",
    "matrix_polynomial",
    "plan_polynomial",
]

Product = Callable[[NDArray[np.int8], NDArray[np.int8]], NDArray[np.int32]]
"""The exact product int8 (B, K) by int8 (K, N): `golden.operators.matmul.matmul`, or the array."""

_QMAX = 127
_LEAST_SCALE = 1 / _QMAX


@dataclass(frozen=True, eq=False)
class PolynomialStep:
    """One step: what is added, and how its sum becomes the next state (None: it is the result)."""

    constant: NDArray[np.int64]
    requantiser: tuple[NDArray[np.int64], NDArray[np.int64]] | None


@dataclass(frozen=True, eq=False)
class PolynomialPlan:
    """Integer program of a polynomial.

    Attributes:
        weights: int8 (n, n), the transposed matrix.
        steps: one per degree, the highest coefficient first.
        scale: float64 (n,), real value of one unit of the result per unit of x.
    """

    weights: NDArray[np.int8]
    steps: tuple[PolynomialStep, ...]
    scale: NDArray[np.float64]


def matrix_polynomial(
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
) -> PolynomialPlan:
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
    states = matrix_polynomial(a, values, x * (_QMAX / peak))
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
        steps.append(PolynomialStep(constant.astype(np.int64), requantiser))
    return PolynomialPlan(weights, tuple(steps), result)


def evaluate(
    plan: PolynomialPlan, vectors: NDArray[np.int8], product: Product = matmul
) -> NDArray[np.int32]:
    """p(A) x in integers: int8 (B, n) to int32 (B, n), in units of ``plan.scale``."""
    state = vectors
    acc = vectors.astype(np.int64)
    for step in plan.steps:
        acc = product(state, plan.weights) + step.constant * vectors
        if step.requantiser is not None:
            state = requantise(acc, *step.requantiser)
    return acc.astype(np.int32)


def evaluate_naive(plan: PolynomialPlan, vectors: NDArray[np.int8]) -> NDArray[np.int32]:
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
