"""Symmetric INT8 quantisation and exact integer requantisation.

Weights have one scale per output channel, activations one per tensor or per token. Quantisers
emit -127..127, so that negation is exact; everything downstream computes -128..127 exactly.
A zero scale never occurs: a channel, row or tensor without magnitude has scale 1.
"""

from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from golden.errors import BadInput

__all__ = [
    "MAX_MULTIPLIER",
    "MAX_SHIFT",
    "ROUNDINGS",
    "Rounding",
    "finite_matrix",
    "quantise_activations",
    "quantise_weights",
    "requantise",
    "requantise_naive",
    "requantise_parameters",
]

Rounding = Literal["half_even", "half_away"]

ROUNDINGS: tuple[Rounding, ...] = get_args(Rounding)
"""Where a tie can go: to the even neighbour, or away from zero."""

MAX_MULTIPLIER = 2**31 - 1
"""Largest requantisation multiplier: int32 times it stays inside int64."""

MAX_SHIFT = 62
"""Largest requantisation shift: at 62 even the largest product rounds within int64."""

_QMAX = 127
_INT32 = np.iinfo(np.int32)


def finite_matrix(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """`values` as float64 (rows, columns), both ≥ 1, all finite.

    Raises BadInput that begins with `name` for anything else.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise BadInput(f"{name}: must hold real numbers, but has dtype {array.dtype}.")
    if array.ndim != 2 or 0 in array.shape:
        raise BadInput(f"{name}: must be a matrix of at least 1x1, but has shape {array.shape}.")
    finite = np.isfinite(array)
    if not finite.all():
        row, column = np.argwhere(~finite)[0].tolist()
        raise BadInput(
            f"{name}: must be finite, but element [{row}, {column}] is {array[row, column]}."
        )
    return array.astype(np.float64)


def quantise_weights(w: ArrayLike) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise weights (K, N) per output channel: int8 (K, N) and scale float32 (N,).

    ``w ≈ q * scale``; rounding is half to even. Raises BadInput for anything but a finite
    numeric matrix with K, N ≥ 1.
    """
    matrix = finite_matrix("weights", w)
    scale = _scale("weights", np.abs(matrix).max(axis=0))
    return _quantise(matrix, scale), scale


def quantise_activations(
    x: ArrayLike, per: Literal["tensor", "token"] = "tensor"
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Quantise activations (M, K): int8 (M, K) and scale float32, (1,) per tensor, (M,) per token.

    ``x ≈ q * scale[:, None]`` in both cases; rounding is half to even. Raises BadInput for
    anything but a finite numeric matrix with M, K ≥ 1, and for an unknown `per`.
    """
    matrix = finite_matrix("activations", x)
    if per == "tensor":
        peak = np.abs(matrix).max(keepdims=True)[0]
    elif per == "token":
        peak = np.abs(matrix).max(axis=1)
    else:
        raise BadInput(f"activations: per must be 'tensor' or 'token', but is {per!r}.")
    scale = _scale("activations", peak)
    return _quantise(matrix, scale[:, None]), scale


def requantise_parameters(
    scale: ArrayLike, multiplier_bits: int = 16
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Multiplier and shift for real factors: ``scale ≈ multiplier / 2**shift``.

    The multiplier has exactly `multiplier_bits` significant bits, so its relative error is at
    most ``2**-multiplier_bits``. Results have the shape of `scale`. Raises BadInput where the
    factor is not positive or needs a shift outside 0..MAX_SHIFT.
    """
    if not 2 <= multiplier_bits <= 31:
        raise BadInput(f"requantise: multiplier_bits must be in 2..31, but is {multiplier_bits}.")
    factor = np.asarray(scale, dtype=np.float64)
    if not np.all(np.isfinite(factor) & (factor > 0)):
        raise BadInput("requantise: scale must be finite and greater than 0.")
    fraction, exponent = np.frexp(factor)
    multiplier = np.rint(np.ldexp(fraction, multiplier_bits)).astype(np.int64)
    carry = multiplier == 1 << multiplier_bits
    multiplier = np.where(carry, multiplier >> 1, multiplier)
    shift = multiplier_bits - exponent.astype(np.int64) - carry
    if np.any((shift < 0) | (shift > MAX_SHIFT)):
        raise BadInput(
            f"requantise: scale must need a shift in 0..{MAX_SHIFT}, "
            f"but spans {factor.min():g}..{factor.max():g} at {multiplier_bits} bits."
        )
    return multiplier, shift


def requantise(
    acc: ArrayLike,
    multiplier: ArrayLike,
    shift: ArrayLike,
    rounding: Rounding = "half_even",
) -> NDArray[np.int8]:
    """``saturate_int8(round(acc * multiplier / 2**shift))`` in exact integer arithmetic.

    `acc` holds int32 values of any shape; `multiplier` (0..MAX_MULTIPLIER) and `shift`
    (0..MAX_SHIFT) are integers, or integer arrays that broadcast against `acc`, such as (N,)
    for one factor per output channel. Raises BadInput for values out of range.
    """
    product, places = _checked(acc, multiplier, shift, rounding)
    quotient = product >> places
    remainder = product - (quotient << places)
    # With shift 0 the remainder is 0, and any non-zero `half` means "no rounding".
    half = np.int64(1) << np.maximum(places - 1, 0)
    tie_up = (quotient & 1) == 1 if rounding == "half_even" else product >= 0
    quotient = quotient + ((remainder > half) | ((remainder == half) & tie_up))
    return np.clip(quotient, -128, 127).astype(np.int8)


def requantise_naive(
    acc: ArrayLike, multiplier: int, shift: int, rounding: Rounding = "half_even"
) -> NDArray[np.int8]:
    """The specification of `requantise`: one rational number per element, no fixed width."""
    values = np.asarray(acc)
    out = np.empty(values.shape, dtype=np.int8)
    for index in np.ndindex(values.shape):
        exact = Fraction(int(values[index]) * multiplier, 2**shift)
        if rounding == "half_even":
            rounded = round(exact)
        else:
            magnitude = int(abs(exact) + Fraction(1, 2))
            rounded = magnitude if exact >= 0 else -magnitude
        out[index] = min(max(rounded, -128), 127)
    return out


def _scale(name: str, peak: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale float32 that maps `peak` to 127; 1 where the magnitude vanishes in float32."""
    limits = np.finfo(np.float32)
    exact = peak / _QMAX
    if np.any(exact > limits.max):
        raise BadInput(f"{name}: magnitude must fit a float32 scale, but reaches {peak.max():g}.")
    # A subnormal scale would carry too few bits to map the peak to 127.
    return np.where(exact < limits.tiny, 1.0, exact).astype(np.float32)


def _quantise(matrix: NDArray[np.float64], scale: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.clip(np.rint(matrix / scale.astype(np.float64)), -_QMAX, _QMAX).astype(np.int8)


def _checked(acc: Any, multiplier: Any, shift: Any, rounding: str) -> tuple[Any, Any]:
    """Exact products and shifts as int64, after every range has been checked."""
    if rounding not in ROUNDINGS:
        raise BadInput(
            f"requantise: rounding must be 'half_even' or 'half_away', but is {rounding!r}."
        )
    bounds = {
        "acc": (acc, _INT32.min, _INT32.max),
        "multiplier": (multiplier, 0, MAX_MULTIPLIER),
        "shift": (shift, 0, MAX_SHIFT),
    }
    arrays = []
    for name, (values, low, high) in bounds.items():
        array = np.asarray(values)
        if array.dtype.kind not in "iu":
            raise BadInput(f"requantise: {name} must hold integers, but has dtype {array.dtype}.")
        if array.size and (array.min() < low or array.max() > high):
            raise BadInput(
                f"requantise: {name} must be in {low}..{high}, "
                f"but spans {array.min()}..{array.max()}."
            )
        arrays.append(array.astype(np.int64))
    try:
        product = arrays[0] * arrays[1]
        return product, np.broadcast_to(arrays[2], np.broadcast(product, arrays[2]).shape)
    except ValueError as error:
        raise BadInput(
            "requantise: acc, multiplier and shift must broadcast, but have shapes "
            f"{', '.join(str(a.shape) for a in arrays)}."
        ) from error
