"""Approximate mode: small weights dropped, the others compensate, the output error in a budget.

Error is ``|X (s q) - T| / |T|`` (Frobenius norms) against the *float layer's* output ``T = A W``:
X are the activations that the array multiplies, in real units, ``s q`` the int8 weights times
the scale of their column.  Rounding of both operands thus counts.  A layer that is given in int8
is its own float layer, with s = 1 and X = A.

Per block of ``k_tile`` rows and an engine's columns the selector chooses a kernel and one of
`LEVELS` limits, in fractions of one global limit: E is the share of the output's energy that
dropping below the limit costs, by the saliency ``w^2 / [H^-1]_kk`` (`flows.compress.compensate`), R
the table's cycles for what remains, and the controller holds the running E to the square of the
budget (`golden.selector.selector`).  The limits then govern the compensation, and the global limit
is searched, by bisection on its logarithm, for the fewest weights whose *measured* error stays
within the budget.  Two ways are tried: row by row and then descent, and descent under limits that
rise slowly, each with `DAMPINGS`: more damping fits less, which the tokens held out reward or not.
An equal limit is an equal marginal error, so blocks share the budget as they should.

Plain rounding with all weights is always among the candidates.  Where it exceeds the budget and
compensated rounding too, there is no answer, and CheckFailed says so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from golden.errors import BadInput, CheckFailed
from golden.formats import preferred
from golden.operators.matmul import check_operands
from golden.selector.table import PerformanceTable
from golden.shape import ArrayShape

from .compensate import Problem, descend, problem_of, sequential
from .layer import Layer, Sample
from .limits import Grid, block_limits

__all__ = ["DAMPINGS", "Approximation", "approximate", "check_budget"]

DAMPINGS = (0.01, 0.1)
"""Damping of the compensation, in turn; see `flows.compress.compensate`."""

_OCTAVES = (4.0, 1.0)  # on each side of the limit foretold: by the saliencies, by a search before
_FINEST = 1 / 64  # octaves, where bisection ends: the limit to 1 part in 90
_SWEEPS = 16  # of descent; 40 drop below 0.5 % of the weights more
_RAMP = 6  # sweeps over which limits rise


@dataclass(frozen=True, eq=False)
class Approximation:
    """Weights of which some are dropped and the others adjusted.

    Attributes:
        weights: int8 (K, N).
        error: measured on all calibration tokens, at most the budget.
        error_quantisation: the same with all weights, plainly rounded.
        budget: what the error had to stay within.
        threshold: global limit, in units of the output; 0 where nothing may be dropped.
        levels: int64 (k tiles, column groups), the chosen place in `LEVELS` of each block.
        dropped: weights that are zero now and were not.
        changed: weights with another value than plain rounding, not zero.
        held_out: tokens that the budget was held on and that the weights were not fitted to.
    """

    weights: np.ndarray = field(repr=False)
    error: float
    error_quantisation: float
    budget: float
    threshold: float
    levels: np.ndarray = field(repr=False)
    dropped: int
    changed: int
    held_out: int


def check_budget(budget: float) -> float:
    """The budget; raises BadInput unless it is a number from 0 to 1."""
    if isinstance(budget, bool) or not 0.0 <= budget <= 1.0:
        raise BadInput(f"error_budget: must be a number from 0 to 1, got {budget}")
    return float(budget)


def _by_rows(problem: Problem, limits: np.ndarray) -> NDArray[np.int8]:
    """Row by row, then descent."""
    return descend(problem, sequential(problem, limits), limits, _SWEEPS)


def _by_rise(problem: Problem, limits: np.ndarray) -> NDArray[np.int8]:
    """Descent under limits that rise."""
    held = problem.start
    for sweep in range(_SWEEPS):
        held = descend(problem, held, limits * min(1.0, (sweep + 1) / _RAMP))
    return held


_WAYS: tuple[Callable[[Problem, np.ndarray], NDArray[np.int8]], ...] = (_by_rows, _by_rise)


def _guess(saliency: np.ndarray, energy: float, budget: float) -> float:
    """The limit below which the saliencies sum to the budget."""
    ordered = np.sort(saliency[saliency > 0])
    place = np.searchsorted(np.cumsum(np.square(ordered)), budget**2 * energy)
    return float(ordered[min(place, len(ordered) - 1)])


def approximate(
    layer: Layer,
    calibration: Sample,
    budget: float,
    shape: ArrayShape,
    table: PerformanceTable,
    *,
    held_out: float = 0.0,
) -> Approximation:
    """Drop weights block by block within an error budget, the others making up for them.

    Args:
        layer: the layer.
        calibration: what the error is measured on.
        budget: most relative output error, 0 to 1.
        shape: the array.
        table: performance table of the array.
        held_out: share of the tokens, the last ones, that the weights are not fitted to; the
            budget then holds on them and on all tokens. Of fewer than two tokens none is.

    Raises:
        BadInput: operands of wrong type or shape, or a budget out of range.
        CheckFailed: plain and compensated rounding both exceed the budget.
    """
    check_operands(calibration.activations, layer.weights)
    check_budget(budget)
    names = preferred(tuple(name for name in shape.kernels if name in table.kernels))
    count = len(calibration.activations)
    last = min(count - 1, math.ceil(held_out * count))
    judges: Sequence[Sample] = [calibration]
    if last:
        judges = [calibration, calibration.rows(count - last, count)]
    plain = calibration.error(layer, layer.weights)
    grid = Grid(layer.weights, shape)
    base = int(np.count_nonzero(layer.weights))
    best: Approximation | None = None
    least = max(sample.error(layer, layer.weights) for sample in judges)

    def judged(weights: np.ndarray, threshold: float, levels: np.ndarray) -> bool:
        """Whether weights stay within the budget; the best are kept."""
        nonlocal best, least
        errors = [sample.error(layer, weights) for sample in judges]
        least = min(least, max(errors))
        if max(errors) > budget:
            return False
        dropped = base - int(np.count_nonzero(weights))
        if best is None or dropped > best.dropped:
            changed = int(np.count_nonzero((weights != layer.weights) & (weights != 0)))
            best = Approximation(
                *(weights, errors[0], plain, budget, threshold, levels, dropped, changed, last)
            )
        return True

    none = np.zeros((len(grid.rows), len(grid.columns)), np.int64)
    judged(layer.weights, 0.0, none)
    fit = calibration.rows(0, count - last)
    energy = float(np.square(fit.target).sum())
    problems = []
    if base and energy and budget:
        operands = fit.inputs, fit.target, layer.real, layer.weights, layer.scale
        problems = [problem_of(*operands, damping) for damping in DAMPINGS]
    if best is None:
        for problem, way in product(problems, _WAYS):
            judged(way(problem, np.zeros(layer.weights.shape)), 0.0, none)
    middle = None
    for problem, way in product(problems if best is not None else (), _WAYS):
        saliency = problem.saliency
        octaves = _OCTAVES[middle is not None]
        if middle is None:
            middle = math.log2(_guess(saliency, energy, budget))
        low, high = middle - octaves, middle + octaves
        while high - low > _FINEST:
            threshold = 2.0 ** ((low + high) / 2)
            limits, levels = block_limits(
                *(grid, table, names, layer, saliency, energy, threshold, budget)
            )
            if judged(way(problem, limits), threshold, levels):
                low = (low + high) / 2
            else:
                high = (low + high) / 2
        middle = low
    if best is None:
        raise CheckFailed(
            f"error_budget: output error must be at most {budget:.4%} against the float layer, got "
            f"{plain:.4%} with all weights in plain INT8, and {least:.4%} compensated"
        )
    return best
