"""Packed sums without a counter, and the deepest sum that given registers hold."""

from collections.abc import Iterable

__all__ = ["max_depth", "plain_sums"]

_PRODUCT = 1 << 14  # (-128) * (-128)


def plain_sums(products: Iterable[tuple[int, int, int]], shift: int) -> tuple[int, int]:
    """Both sums of ``(x1, x0, w)`` by the method without a wrap counter.

    Right only while the lower sum fits ``shift`` signed bits.
    """
    total = sum(((x1 << shift) + x0) * w for x1, x0, w in products)
    half = 1 << (shift - 1)
    low = ((total + half) & (2 * half - 1)) - half
    return low, (total - low) >> shift


def max_depth(shift: int, packed: int, counter: int) -> int:
    """Most products, whatever their values, of which both sums stay exact.

    Args:
        shift: distance of the fields.
        packed: bits of the packed sum.
        counter: bits of the wrap counter.
    """
    upper = (1 << (packed - shift - 1)) - 1
    lower = (1 << (shift + counter - 1)) - 1
    return min(upper, lower) // _PRODUCT
