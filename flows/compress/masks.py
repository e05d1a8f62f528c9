"""Synthetic keep masks of weights, structure by structure; real ones: `flows.compress.prune`."""

import numpy as np

from golden.errors import BadInput

from .prune import clustered_mask, random_mask

__all__ = ["MASKS", "mask_of", "masked_weights", "patchwork"]

MASKS = ("random", "clustered", "block 8x8", "2:4", "banded", "mixed")
_PATCHES = 8  # patches along each side of a mixed mask


def patchwork(
    size: int, sparsity: float, rng: np.random.Generator
) -> list[tuple[slice, slice, str, np.ndarray]]:
    """Rows, columns, structure and mask of each patch of a mixed mask."""
    side = size // _PATCHES
    structures = [name for name in MASKS if name != "mixed"]
    found = []
    for row in range(0, _PATCHES * side, side):
        for column in range(0, _PATCHES * side, side):
            kind = structures[rng.integers(5)]
            patch = mask_of(kind, side, sparsity, rng)
            found.append((slice(row, row + side), slice(column, column + side), kind, patch))
    return found


def mask_of(kind: str, size: int, sparsity: float, rng: np.random.Generator) -> np.ndarray:
    """Keep mask (size, size) of one structure; its density is that asked for, on average."""
    if kind == "mixed":
        mask = np.zeros((size, size), bool)
        for rows, columns, _, patch in patchwork(size, sparsity, rng):
            mask[rows, columns] = patch
        return mask
    density = 1 - sparsity
    seed = int(rng.integers(1 << 31))
    if kind == "random":
        return random_mask((size, size), sparsity, seed)
    if kind == "clustered":
        return clustered_mask((size, size), sparsity, seed)
    if kind == "block 8x8":
        tiles = random_mask((size // 8, size // 8), sparsity, seed)
        return tiles.repeat(8, axis=0).repeat(8, axis=1)
    if kind == "2:4":
        order = rng.random((size // 4, 4, size)).argsort(axis=1).argsort(axis=1)
        # Two of four places, thinned out where fewer are wanted.
        return (order < 2).reshape(size, size) & (rng.random((size, size)) < 2 * density)
    if kind == "banded":
        row, column = np.indices((size, size))
        return (row - column) % size < round(density * size)
    raise BadInput(f"mask: must be one of {', '.join(MASKS)}, got {kind!r}")


def masked_weights(mask: str, sparsity: float, size: int, seed: int = 20) -> np.ndarray:
    """Int8 (size, size) without zeros but those of the mask, ``random`` or ``clustered``."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 128, (size, size)) * rng.choice((-1, 1), (size, size))
    keep = {"random": random_mask, "clustered": clustered_mask}[mask]((size, size), sparsity, seed)
    return np.where(keep, values, 0).astype(np.int8)
