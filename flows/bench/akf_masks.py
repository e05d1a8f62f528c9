"""Bytes that no exact format of a synthetic mask (`flows.compress.masks`) can go below.

A mixed mask is a patchwork of 8 x 8 patches, each of one of five structures.  `least_bytes`
counts, beside a byte for each non-zero, the bits that tell a mask from all others of its
structure, as if which patch has which structure, and its number of non-zeros, cost nothing:

| structure | bits                                                                         |
|-----------|------------------------------------------------------------------------------|
| random    | log2 of the ways to choose its non-zeros                                     |
| block 8x8 | the same of its tiles                                                        |
| 2:4       | the same of the runs with none, one and two, and of the places within them   |
| clustered | -log2 of its probability, rates fitted to rows, columns and 16x16 blocks     |
| banded    | none                                                                         |

The fit of clustered masks is to the mask itself, so the figure errs to the low side.
"""

from math import lgamma, log, log2

import numpy as np

from flows.compress.masks import MASKS
from golden.errors import BadInput
from golden.planner.column_prices import column_prices, variants_of
from golden.planner.tile import Tile
from golden.shape import ArrayShape

__all__ = ["least_bytes", "least_stored"]

_CLUSTER = 16  # side of the blocks of clustered masks
_ROUNDS = 40  # of proportional fitting


def _choices(size: int, chosen: int) -> float:
    """Log2 of the ways to choose ``chosen`` of ``size``."""
    return (lgamma(size + 1) - lgamma(chosen + 1) - lgamma(size - chosen + 1)) / log(2)


def _fitted_bits(mask: np.ndarray) -> float:
    """-log2 of a mask's probability, rates fitted to its rows, columns and blocks."""
    starts = np.arange(0, len(mask), _CLUSTER)
    ends = np.append(starts[1:], len(mask))
    sides = ends - starts

    def sums(array: np.ndarray) -> np.ndarray:
        by_rows = np.add.reduceat(array, starts, axis=0, dtype=np.float64)
        return np.add.reduceat(by_rows, starts, axis=1)

    rate = np.full(mask.shape, mask.mean())
    for _ in range(_ROUNDS):
        for axis in (0, 1):
            totals = np.maximum(rate.sum(axis=axis, keepdims=True), 1e-9)
            rate = rate * (mask.sum(axis=axis, keepdims=True) / totals)
        factor = sums(mask) / np.maximum(sums(rate), 1e-9)
        rate = rate * factor.repeat(sides, axis=0).repeat(sides, axis=1)
        rate = np.clip(rate, 1e-9, 1 - 1e-9)
    return float(-np.where(mask, np.log2(rate), np.log2(1 - rate)).sum())


def least_bytes(kind: str, mask: np.ndarray) -> float:
    """Bytes below which no exact format of a structure goes on average; see the module."""
    occupied = int(mask.sum())
    bits = 0.0
    if kind == "random":
        bits = _choices(mask.size, occupied)
    elif kind == "block 8x8":
        bits = _choices(mask.size // 64, occupied // 64)
    elif kind == "2:4":
        held = mask.reshape(len(mask) // 4, 4, -1).sum(axis=1)
        none, one, two = (int((held == count).sum()) for count in range(3))
        bits = _choices(none + one + two, none) + _choices(one + two, one)
        bits += 2 * one + log2(6) * two
    elif kind == "clustered":
        bits = _fitted_bits(mask)
    elif kind != "banded":
        raise BadInput(f"mask: must be one of {', '.join(MASKS[:-1])}, got {kind!r}")
    return occupied + bits / 8


def least_stored(shape: ArrayShape, weights: np.ndarray, rows: int, price: float) -> float:
    """Cycles x bytes if every column of every ``rows`` rows had its own best variant.

    One tile of tokens, cycles summed over the engines; headers and balance cost nothing.

    Args:
        shape: the array.
        weights: int8 (K, N).
        rows: of a k tile.
        price: cycles of a byte, by which the variants compete.
    """
    cycles = stored = 0.0
    for low in range(0, len(weights), rows):
        spent, held = column_prices(shape, variants_of(shape), Tile(weights[low : low + rows]))
        best = np.argmin(spent + price * held, axis=0)
        column = np.arange(weights.shape[1])
        cycles += float(spent[best, column].sum())
        stored += float(held[best, column].sum())
    return cycles * stored
