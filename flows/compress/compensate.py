"""Compensation: weights that remain make up for those that are dropped and rounded.

A layer's output is ``T = A W`` in float.  The array multiplies ``X``, the activations that it is
given in real units (quantised or not), by ``s * q``: int8 ``q`` and one scale per output column.
Columns are independent, and for each the squared output error is, up to a constant,

    f(q) = |X (s q) - t|^2 = (s q)' H (s q) - 2 (s q)' g,    H = X'X,  g = X't

`sequential` is optimal brain surgery row by row: row k is rounded, or dropped where keeping it
lowers the error by less than the square of its limit; its error, divided by ``R[k, k]``, is taken
out of the rows that follow along ``R[k, k+1:]``, with R the upper Cholesky factor of ``H^-1``.
``w^2 / R[k, k]^2`` is exactly what dropping costs once the rows behind have made up for it.
Rows are taken in order of falling ``H[k, k]``, so that the loud ones are compensated by many.

`descend` is cyclic coordinate descent on the same error with the same limits: each weight in turn
takes its best int8 value, all others fixed, or zero.  It corrects what the sequence could not see.

Damping, ``damping * mean(diag H)``, is added to H, with ``W`` as the solution it pulls to: it
regularises where there are fewer tokens than rows.  Zeros of the quantised weights stay zero.
Sums of floats depend on the order of adding; the int8 values are what the hardware multiplies,
exactly.

Sources: Frantar and Alistarh, "SparseGPT", ICML 2023, algorithm 1; Frantar et al., "GPTQ", ICLR
2023, equations 2 to 4; Behdin et al., "QuantEase", 2023, equation 10 (coordinate descent).

Shapes: X (M, K), W, q and limits (K, N), scale (N,).  Limits are in units of the output.
"""

from dataclasses import dataclass, field

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DAMPING",
    "Problem",
    "descend",
    "descend_naive",
    "problem_of",
    "sequential",
    "sequential_naive",
]

DAMPING = 1e-2
"""Default damping relative to the mean of H's diagonal."""

_QMAX = 127

F64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Problem:
    """The squared output error of one layer as a quadratic form.

    Attributes:
        gram: damped H, float64 (K, K).
        target: X'T with the damping's pull, float64 (K, N).
        scale: float64 (N,), greater than 0.
        start: plain rounding, int8 (K, N).
        factor: R, upper triangular, ``H^-1 = R'R`` in the order of `order`.
        order: rows by falling ``H[k, k]``, the first of equals.
    """

    gram: F64 = field(repr=False)
    target: F64 = field(repr=False)
    scale: F64 = field(repr=False)
    start: NDArray[np.int8] = field(repr=False)
    factor: F64 = field(repr=False)
    order: NDArray[np.int64] = field(repr=False)

    @property
    def saliency(self) -> F64:
        """Square root of what dropping each weight costs when all others make up for it.

        ``|w| / sqrt([H^-1]_kk)``, in units of the output, (K, N).
        """
        inverse = np.empty(len(self.gram))
        inverse[self.order] = np.square(self.factor).sum(axis=0)
        return np.abs(self.start * self.scale) / np.sqrt(inverse)[:, None]


def problem_of(
    inputs: F64,
    target: F64,
    weights: F64,
    start: NDArray[np.int8],
    scale: F64,
    damping: float = DAMPING,
) -> Problem:
    """The quadratic form of a layer.

    Args:
        inputs: X (M, K), real units.
        target: T (M, N), the float layer's output.
        weights: W (K, N), the float weights.
        start: int8 (K, N), plain rounding of W.
        scale: (N,).
        damping: relative to the mean of H's diagonal.
    """
    gram = inputs.T @ inputs
    diagonal = np.diag(gram)
    # Silent inputs leave H zero; any positive damping then keeps every weight as it is.
    pull = damping * float(diagonal.mean()) or 1.0
    order = np.argsort(-diagonal, kind="stable")
    gram = gram + pull * np.eye(len(gram))
    inverse = np.linalg.inv(gram[np.ix_(order, order)])
    factor = np.linalg.cholesky((inverse + inverse.T) / 2).T
    return Problem(gram, inputs.T @ target + pull * weights, scale, start, factor, order)


@numba.njit(cache=True)
def _rounded(value: float, scale: float, price: float, limit: float) -> float:
    """Nearest int8 value, or zero where keeping is worth less than the limit's square.

    ``price`` is the error of one unit of a weight, squared.
    """
    nearest = min(max(np.rint(value / scale), -_QMAX), _QMAX)
    worth = price * (value * value - (value - nearest * scale) ** 2)
    return nearest if worth >= limit * limit else 0.0


def sequential(problem: Problem, limits: F64) -> NDArray[np.int8]:
    """Drop and round row by row, each row's error taken up by those behind it; see the module.

    Args:
        problem: the layer.
        limits: (K, N), in units of the output; 0 drops nothing.

    Returns:
        int8 (K, N).
    """
    order = problem.order
    solved = np.linalg.solve(problem.gram, problem.target)[order]
    allowed, bounds = (problem.start != 0)[order], limits[order]
    out = np.empty(solved.shape, np.int8)
    out[order] = _surgery(problem.factor, problem.scale, solved, allowed, bounds)
    return out


@numba.njit(cache=True)
def _surgery(
    factor: F64, scale: F64, solved: F64, allowed: NDArray[np.bool_], bounds: F64
) -> NDArray[np.int8]:
    depth, outputs = solved.shape
    taken = np.zeros((depth, outputs), np.int8)
    for column in range(outputs):
        rest = solved[:, column].copy()
        step = scale[column]
        for k in range(depth):
            row = factor[k]
            if allowed[k, column]:
                price = 1.0 / (row[k] * row[k])
                taken[k, column] = int(_rounded(rest[k], step, price, bounds[k, column]))
            error = (rest[k] - taken[k, column] * step) / row[k]
            for behind in range(k + 1, depth):
                rest[behind] -= row[behind] * error
    return taken


def sequential_naive(problem: Problem, limits: F64, column: int) -> list[int]:
    """The specification of `sequential` for one column, one scalar at a time."""
    order, factor = problem.order.tolist(), problem.factor
    scale = float(problem.scale[column])
    solved = np.linalg.solve(problem.gram, problem.target[:, column])
    rest = [float(solved[row]) for row in order]
    out = [0] * len(order)
    for place, row in enumerate(order):
        value, pivot = rest[place], float(factor[place, place])
        nearest = min(max(round(value / scale), -_QMAX), _QMAX)
        worth = (value**2 - (value - nearest * scale) ** 2) / pivot**2
        if problem.start[row, column] and worth >= float(limits[row, column]) ** 2:
            out[row] = nearest
        error = (value - out[row] * scale) / pivot
        for behind in range(place + 1, len(order)):
            rest[behind] -= float(factor[place, behind]) * error
    return out


def descend(
    problem: Problem, weights: NDArray[np.int8], limits: F64, sweeps: int = 1
) -> NDArray[np.int8]:
    """Coordinate descent from ``weights``; each sweep visits every row in its natural order.

    Args:
        problem: the layer.
        weights: int8 (K, N) to start from.
        limits: as for `sequential`.
        sweeps: passes over all rows.

    Returns:
        int8 (K, N); error plus the squared limits of what is kept never rises.
    """
    slope = problem.target - problem.gram @ (weights * problem.scale)
    allowed = problem.start != 0
    return _descent(problem.gram, problem.scale, slope, weights, allowed, limits, sweeps)


@numba.njit(cache=True)
def _descent(
    gram: F64,
    scale: F64,
    slope: F64,
    weights: NDArray[np.int8],
    allowed: NDArray[np.bool_],
    limits: F64,
    sweeps: int,
) -> NDArray[np.int8]:
    depth, outputs = weights.shape
    held = weights.copy()
    for column in range(outputs):
        # Minus half the error's gradient; a weight that stays needs no update of it.
        fall = slope[:, column].copy()
        step = scale[column]
        for _ in range(sweeps):
            for k in range(depth):
                if not allowed[k, column]:
                    continue
                row = gram[k]
                best = held[k, column] * step + fall[k] / row[k]
                new = int(_rounded(best, step, row[k], limits[k, column]))
                if new != held[k, column]:
                    moved = (new - held[k, column]) * step
                    held[k, column] = new
                    for j in range(depth):
                        fall[j] -= row[j] * moved
    return held


def descend_naive(
    problem: Problem, weights: NDArray[np.int8], limits: F64, column: int, sweeps: int = 1
) -> list[int]:
    """The specification of `descend` for one column, one scalar at a time."""
    gram, scale = problem.gram, float(problem.scale[column])
    held = [int(weight) for weight in weights[:, column]]
    for _ in range(sweeps):
        for k in range(len(held)):
            others = sum(float(gram[k, j]) * held[j] * scale for j in range(len(held)) if j != k)
            best = (float(problem.target[k, column]) - others) / float(gram[k, k])
            nearest = min(max(round(best / scale), -_QMAX), _QMAX)
            worth = float(gram[k, k]) * (best**2 - (best - nearest * scale) ** 2)
            kept = problem.start[k, column] and worth >= float(limits[k, column]) ** 2
            held[k] = nearest if kept else 0
    return held
