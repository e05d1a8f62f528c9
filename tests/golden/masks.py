"""Masks of every kind of structure and blocks of values on them."""

import numpy as np

__all__ = ["banded", "cases", "fill", "masks"]

SHAPES = ((1, 1), (2, 3), (7, 5), (16, 1), (17, 4), (61, 3), (64, 2), (65, 5), (131, 7), (256, 9))
Mask = np.ndarray


def banded(depth: int, columns: int, width: int) -> Mask:
    row, column = np.mgrid[:depth, :columns]
    return np.abs(row * columns - column * depth) <= width * max(depth, columns)


def masks(rng: np.random.Generator, depth: int, columns: int) -> dict[str, Mask]:
    """Bool masks of every kind of structure, shape (depth, columns)."""
    size = (depth, columns)
    runs = rng.random((-(-depth // 8), columns)) < 0.3
    places = rng.random((-(-depth // 4), 4, columns)).argsort(axis=1) < 2
    one = np.zeros(size, bool)
    one[rng.integers(depth), rng.integers(columns)] = True
    edges = np.zeros(size, bool)
    edges[[0, -1]] = True
    holes = rng.random(size) < 0.5
    holes[:, rng.random(columns) < 0.5] = False
    holes[rng.random(depth) < 0.3] = False
    return {
        "zero": np.zeros(size, bool),
        "full": np.ones(size, bool),
        "one": one,
        "edges": edges,
        "half": rng.random(size) < 0.5,
        "sparse": rng.random(size) < 0.1,
        "rare": rng.random(size) < 0.015,
        "clustered": np.repeat(rng.random((-(-depth // 24), columns)) < 0.2, 24, axis=0)[:depth],
        "banded": banded(depth, columns, 4),
        "blocky": np.repeat(runs, 8, axis=0)[:depth],
        "nm": places.reshape(-1, columns)[:depth],
        "holes": holes,
    }


def fill(rng: np.random.Generator, mask: Mask) -> np.ndarray:
    """Non-zero INT8 values of all magnitudes where the mask is set."""
    values = np.where(
        rng.random(mask.shape) < 0.5,
        rng.choice(np.array([-128, -127, -1, 1, 127, 64, -64, 2, -2]), mask.shape),
        rng.integers(1, 128, mask.shape) >> rng.integers(0, 7, mask.shape),
    )
    return np.where(mask, np.where(values == 0, -3, values), 0).astype(np.int8)


def cases(rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    return [
        (f"{name} {depth}x{columns}", fill(rng, mask))
        for depth, columns in SHAPES
        for name, mask in masks(rng, depth, columns).items()
    ]
