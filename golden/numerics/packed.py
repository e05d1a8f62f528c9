"""Two INT8 products in one multiplication, with a wrap counter that keeps both sums exact.

``P += (x1 * 2**shift + x0) * w`` accumulates ``x1 * w`` in the upper and ``x0 * w`` in the lower
field of one integer.  The lower field overflows into the upper one once its sum leaves
``shift`` signed bits.  How often it did can be seen from its top two bits alone: a product moves
the field by a quarter of its range at most, so 01 -> 10 is a wrap upwards and 10 -> 01 a wrap
downwards (DESIGN section 2).

The scalar functions on Python integers are the specification; `accumulate_batch` is the same on
many sequences at once.
"""

from collections.abc import Iterable

import numpy as np

__all__ = [
    "LEAST_SHIFT",
    "PRODUCT_BITS",
    "accumulate",
    "accumulate_batch",
    "counter_bits",
    "pack",
    "packed_bits",
]

PRODUCT_BITS = 16
"""Signed bits of an INT8 product, and of a sum of one."""

_PRODUCT = 1 << 14  # the largest magnitude of an INT8 product, (-128) * (-128)

LEAST_SHIFT = 16
"""Least shift at which a product is at most a quarter of the lower field's range."""


def pack(x1: int, x0: int, shift: int) -> int:
    """``x1`` in the upper field, ``x0`` in the lower."""
    return (x1 << shift) + x0


def _signed(value: int, bits: int) -> int:
    """The lowest ``bits`` bits of ``value`` as a two's complement number."""
    half = 1 << (bits - 1)
    return ((value + half) & (2 * half - 1)) - half


def accumulate(products: Iterable[tuple[int, int, int]], shift: int) -> tuple[int, int]:
    """Sum both fields of a sequence of packed products.

    Args:
        products: ``(x1, x0, w)``, INT8 each.
        shift: distance of the fields; exact from `LEAST_SHIFT` upwards.

    Returns:
        ``(lo, hi)``: the sums of ``x0 * w`` and of ``x1 * w``.
    """
    total = wrap = 0
    before = 0b00
    for x1, x0, w in products:
        total += pack(x1, x0, shift) * w
        now = (total >> (shift - 2)) & 0b11
        if (before, now) == (0b01, 0b10):
            wrap += 1
        elif (before, now) == (0b10, 0b01):
            wrap -= 1
        before = now
    low = wrap * (1 << shift) + _signed(total, shift)
    return low, (total - low) >> shift


def accumulate_batch(
    x1: np.ndarray, x0: np.ndarray, w: np.ndarray, shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """`accumulate` along the last axis.

    Args:
        x1, x0, w: int8, shapes (..., depth) that broadcast; depth at most ``2**14``, so that the
            packed sum fits 64 bits at a shift of up to 34.
        shift: distance of the fields.

    Returns:
        ``(lo, hi)``, int64, shape (...).
    """
    packed = (x1.astype(np.int64) << shift) + x0
    total = np.cumsum(packed * w, axis=-1)
    # 00, 01, 10, 11 -> the field starts at zero, so the first transition is from 00.
    now = (total >> (shift - 2)) & 0b11
    before = np.concatenate([np.zeros_like(now[..., :1]), now[..., :-1]], axis=-1)
    up = (before == 0b01) & (now == 0b10)
    down = (before == 0b10) & (now == 0b01)
    wrap = up.sum(axis=-1, dtype=np.int64) - down.sum(axis=-1, dtype=np.int64)
    last = total[..., -1]
    half = 1 << (shift - 1)
    low = (wrap << shift) + ((last + half) & (2 * half - 1)) - half
    return low, (last - low) >> shift


def counter_bits(depth: int, shift: int) -> int:
    """Least width of the wrap counter for sums of ``depth`` products; 0: none is needed.

    Counter and lower field together are a signed number of ``shift + bits`` bits that holds any
    lower sum, ``depth * 2**14`` in magnitude.
    """
    return max(0, (depth * _PRODUCT).bit_length() + 1 - shift)


def packed_bits(depth: int, shift: int) -> int:
    """Least width of the packed sum for sums of ``depth`` products.

    The packed sum may wrap around as a whole: the upper sum is what must fit above ``shift``.
    """
    return shift + (depth * _PRODUCT).bit_length() + 1
