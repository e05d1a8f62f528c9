"""Random vectors with the corners of INT8 and of the detector's words."""

import random

import numpy as np

from golden.operators.detection import DetectorShape, RawWords

__all__ = ["THRESHOLDS", "deal", "keeps", "threshold_of", "vector"]

THRESHOLDS = (0, 1, 126, 127, 128)
"""Those at which something changes; -128 alone exceeds 127, nothing exceeds 128."""

_KINDS = ("uniform", "sparse", "full", "zero", "corners", "tail", "head")


def vector(draw: np.random.Generator, shape: DetectorShape, *, most: int = 0) -> np.ndarray:
    """One int8 vector of 0 to ``most`` rows, by default three words and a few."""
    most = min(most or 3 * shape.width + 5, shape.rows)
    sizes = (0, 1, shape.width - 1, shape.width, shape.width + 1, most, draw.integers(most + 1))
    size = min(int(draw.choice(sizes)), most)
    values = draw.integers(-128, 128, size, dtype=np.int8)
    kind = draw.choice(_KINDS)
    if kind == "sparse":
        values[draw.random(size) < 0.8] = 0
    elif kind == "full":
        values[values == 0] = -128
    elif kind == "zero":
        values[:] = 0
    elif kind == "corners":
        values = draw.choice(np.array([-128, -127, 127, 126, 0, 1, -1], np.int8), size)
    elif kind == "tail":
        values[:-1] = 0
    elif kind == "head":
        values[1:] = 0
    return values


def threshold_of(rng: random.Random) -> int:
    """A threshold, mostly one of `THRESHOLDS`."""
    return rng.choice(THRESHOLDS) if rng.random() < 0.6 else rng.randint(0, 128)


def deal(
    rng: random.Random, shape: DetectorShape, count: int, *, most: int = 0
) -> list[list[np.ndarray]]:
    """``count`` vectors, each to a random unit."""
    draw = np.random.default_rng(rng.getrandbits(64))
    dealt: list[list[np.ndarray]] = [[] for _ in range(shape.units)]
    for _ in range(count):
        dealt[rng.randrange(shape.units)].append(vector(draw, shape, most=most))
    return dealt


def keeps(rng: random.Random, shape: DetectorShape, count: int) -> RawWords:
    """``count`` words of any bytes, of which some are kept, cut into vectors at random."""
    draw = np.random.default_rng(rng.getrandbits(64))
    data = draw.integers(-128, 128, (count, shape.width), dtype=np.int8)
    last = draw.random(count) < 0.4
    # No vector may grow longer than rows can be counted.
    last[shape.rows // shape.width - 1 :: max(1, shape.rows // shape.width)] = True
    last[-1:] = True
    keep = draw.random(data.shape) < draw.choice([0.1, 0.5, 0.9])
    keep[0, 0] = False
    return RawWords(data, keep, last)
