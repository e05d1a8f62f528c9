"""Random operands and stall patterns, each from a private generator, and functional coverage."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from golden.formats import KERNELS
from golden.shape import ArrayShape

__all__ = ["PATTERNS", "SPARSITIES", "Coverage", "fitted", "operands", "pause_pattern", "private"]

PATTERNS = ("none", "random", "bursts")
"""When a driver pauses: never, a quarter of the cycles, or for long runs."""

SPARSITIES = (0, 50, 95, 100)
"""Percent of zeros in the weights."""

_CORNERS = (-128, 127, 0, -1, 1)


def private(seed: int, name: str) -> random.Random:
    """Generator of one component alone, so that one does not shift the others' numbers."""
    return random.Random(f"{seed}:{name}")


def pause_pattern(name: str, rng: random.Random) -> Iterator[bool] | None:
    """Endless sequence of pauses for a cocotbext-axi driver, ``None`` for no pauses."""
    if name == "none":
        return None
    return _random_pauses(rng) if name == "random" else _burst_pauses(rng)


def _random_pauses(rng: random.Random) -> Iterator[bool]:
    while True:
        yield rng.random() < 0.25


def _burst_pauses(rng: random.Random) -> Iterator[bool]:
    while True:
        for _ in range(rng.randint(1, 24)):
            yield False
        for _ in range(rng.randint(1, 24)):
            yield True


def _vector(rng: np.random.Generator, size: int) -> np.ndarray:
    """One int8 row or column: mostly uniform over the full range, else a corner."""
    kind = rng.integers(8)
    if kind < 5:
        return rng.integers(-128, 128, size, dtype=np.int8)
    if kind == 5:
        return np.full(size, rng.choice(_CORNERS), np.int8)
    if kind == 6:
        return np.resize(np.array([-128, 127], np.int8), size)
    return rng.choice(np.array(_CORNERS, np.int8), size)


def operands(
    rng: random.Random, rows: int, depth: int, outputs: int, sparsity: int
) -> tuple[np.ndarray, np.ndarray]:
    """Random product: int8 (rows, depth) and int8 (depth, outputs).

    At a sparsity of 50 % the first two columns are all zero and all -128, and the first row of
    the activations is all -128: the largest sums that there are.
    """
    draw = np.random.default_rng(rng.getrandbits(64))
    activations = np.stack([_vector(draw, depth) for _ in range(rows)])
    weights = np.stack([_vector(draw, depth) for _ in range(outputs)], axis=1)
    if sparsity == 0:
        weights[weights == 0] = 3
    weights[draw.random(weights.shape) * 100 < sparsity] = 0
    if sparsity == 50:
        activations[0] = -128
        weights[:, 0] = 0
        weights[:, -1] = -128
    return activations, weights


def fitted(shape: ArrayShape, kernel: str, weights: np.ndarray) -> np.ndarray:
    """``weights``, int8 (depth, outputs), without the values that the kernel can't hold."""
    return KERNELS[kernel].configured(shape).trimmed(weights)


class Coverage:
    """Counts functional bins; `check` fails where one stayed empty."""

    def __init__(self, bins: Iterable[str]) -> None:
        self.counts = Counter(dict.fromkeys(bins, 0))

    def hit(self, name: str, condition: object = True) -> None:
        """Count ``name`` if ``condition`` holds."""
        if name not in self.counts:
            raise KeyError(f"coverage: {name!r} is not a declared bin")
        self.counts[name] += bool(condition)

    def check(self) -> None:
        """Raise `AssertionError` naming the bins that were never hit."""
        empty = [name for name, count in self.counts.items() if not count]
        assert not empty, f"empty coverage bins: {', '.join(empty)}"
