"""Fusion arithmetic: partial sums of the parts of a column, weighted in Q15.

A column whose weights are split into parts with scales ``s_i`` is

    OUT = S * sum_i w_i * P_i,   S = sum_j s_j,   w_i = s_i / S

where ``P_i`` (int32) is the integer product of part ``i``.  The weights are Q15 integers,
0..32768, that sum to 32768 exactly.  The accumulator ``acc = sum_i w_i * P_i`` is exact in 48
bits, two's complement; over several k tiles it simply runs on.  At the end of the column it is
rounded once to ``acc / 32768``, a tie to even or away from zero (`Rounding`), and saturated to
int32.  ``S`` folds into the requantisation that follows.

With weights that sum to 32768 the result is a convex combination of int32 values, so neither the
accumulator overflows (``|acc| <= 2**46``) nor the result saturates; saturation defines what
happens otherwise.

*Exact mode*: all parts have one scale, and every part has the weight 32768.  Rounding is then the
identity, and the result is the plain sum of the partial sums bit for bit, as long as that sum
fits int32.

Source: DESIGN section 5; the combination rule is K ~ sum w_i k_i with sum w_i = 1.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.errors import BadInput
from golden.numerics.quantise import ROUNDINGS, Rounding

__all__ = [
    "ACCUMULATOR_BITS",
    "UNIT",
    "WEIGHT_FRACTION",
    "accumulate",
    "combine",
    "combine_naive",
    "round_accumulator",
    "weights_valid",
]

WEIGHT_FRACTION = 15
"""Fraction bits of a weight."""

UNIT = 1 << WEIGHT_FRACTION
"""The weight 1.0; the weights of a fused column sum to it."""

ACCUMULATOR_BITS = 48
"""Width of the running sum, two's complement."""

_INT32 = np.iinfo(np.int32)


def accumulate(
    running: ArrayLike, partial: ArrayLike, weight: ArrayLike, *, first: bool = False
) -> NDArray[np.int64]:
    """One step of the fusion: ``running + weight * partial`` in 48-bit two's complement.

    Args:
        running: int64 within 48 bits, shape (...); ignored with ``first``.
        partial: int32, shape (...).
        weight: 0..UNIT, a scalar or a shape that broadcasts, such as (N,) per output column.
        first: the sum starts here.
    """
    factor = _checked_weights(weight)
    before = np.int64(0) if first else _integers("running", running, ACCUMULATOR_BITS)
    total = before + _integers("partial", partial, 32) * factor
    half = np.int64(1) << (ACCUMULATOR_BITS - 1)
    return ((total + half) & (2 * half - 1)) - half


def round_accumulator(acc: ArrayLike, rounding: Rounding = "half_even") -> NDArray[np.int32]:
    """``acc / UNIT``, rounded and saturated to int32."""
    if rounding not in ROUNDINGS:
        known = ", ".join(ROUNDINGS)
        raise BadInput(f"fusion: rounding: must be one of {known}, got {rounding!r}")
    exact = _integers("accumulator", acc, ACCUMULATOR_BITS)
    quotient = exact >> WEIGHT_FRACTION
    remainder = exact & (UNIT - 1)
    tie_up = (quotient & 1) == 1 if rounding == "half_even" else exact >= 0
    up = (remainder > UNIT // 2) | ((remainder == UNIT // 2) & tie_up)
    return np.clip(quotient + up, _INT32.min, _INT32.max).astype(np.int32)


def combine(
    partials: ArrayLike,
    weights: ArrayLike,
    *,
    exact: bool = False,
    rounding: Rounding = "half_even",
) -> NDArray[np.int32]:
    """Fuse the parts of columns.

    Args:
        partials: int32, shape (parts, ..., N).
        weights: Q15 integers, shape (parts,), or (parts, N) with a set per output column.
        exact: one scale; every weight must be UNIT.
        rounding: where a tie goes.

    Returns:
        int32, shape (..., N), in units of S (of the one scale in exact mode).

    Raises:
        BadInput: weights that do not fit the mode (`weights_valid`), or shapes that differ.
    """
    values = np.asarray(partials)
    factors = np.asarray(weights)
    if values.ndim < 1 or factors.ndim not in (1, 2) or len(values) != len(factors):
        raise BadInput(
            "fusion: weights: must have one row per part, "
            f"got shapes {factors.shape} for partial sums {values.shape}"
        )
    if not weights_valid(factors, exact=exact):
        rule = f"all be {UNIT}" if exact else f"lie in 0..{UNIT} and sum to {UNIT}"
        raise BadInput(f"fusion: weights: must {rule}, got {factors.tolist()}")
    acc: NDArray[np.int64] = np.zeros(values.shape[1:], np.int64)
    for number, (partial, weight) in enumerate(zip(values, factors, strict=True)):
        acc = accumulate(acc, partial, weight, first=number == 0)
    return round_accumulator(acc, rounding)


def combine_naive(
    partials: ArrayLike, weights: ArrayLike, *, rounding: Rounding = "half_even"
) -> NDArray[np.int32]:
    """The specification of `combine`: one rational number per element, no fixed width."""
    values = np.asarray(partials)
    factors = np.asarray(weights)
    out = np.empty(values.shape[1:], np.int32)
    for place in np.ndindex(out.shape):
        total = 0
        for part in range(len(values)):
            weight = factors[part] if factors.ndim == 1 else factors[part, place[-1]]
            total += int(weight) * int(values[(part, *place)])
        exact = Fraction(total, UNIT)
        if rounding == "half_even":
            rounded = round(exact)
        else:
            magnitude = int(abs(exact) + Fraction(1, 2))
            rounded = magnitude if exact >= 0 else -magnitude
        out[place] = min(max(rounded, _INT32.min), _INT32.max)
    return out


def weights_valid(weights: ArrayLike, *, exact: bool = False) -> bool:
    """Whether the weights of one column, or of each column (parts, N), are allowed.

    They lie in 0..UNIT and sum to UNIT; in exact mode each is UNIT.
    """
    values = np.asarray(weights)
    if values.dtype.kind not in "iu" or not values.size:
        return False
    if exact:
        return bool((values == UNIT).all())
    inside = ((values >= 0) & (values <= UNIT)).all()
    return bool(inside and (values.sum(axis=0, dtype=np.int64) == UNIT).all())


def _integers(name: str, values: ArrayLike, bits: int) -> NDArray[np.int64]:
    array = np.asarray(values)
    limit = 1 << (bits - 1)
    if array.dtype.kind not in "iu":
        raise BadInput(f"fusion: {name}: must hold integers, got dtype {array.dtype}")
    if array.size and (array.min() < -limit or array.max() >= limit):
        raise BadInput(
            f"fusion: {name}: must fit {bits} signed bits, got {array.min()}..{array.max()}"
        )
    return array.astype(np.int64)


def _checked_weights(weights: ArrayLike) -> NDArray[np.int64]:
    array = _integers("weight", weights, 32)
    if array.size and (array.min() < 0 or array.max() > UNIT):
        raise BadInput(f"fusion: weight: must be 0..{UNIT}, got {array.min()}..{array.max()}")
    return array
