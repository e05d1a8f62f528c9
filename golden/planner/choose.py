"""Which kernel holds which block: fewest decoder cycles, then fewest bytes.

The decoder cycles of a block are the greater of two counts, each of them exact for its part of
the pipeline: *event slots* (`Kernel.column_cycles`, what the lanes take) and *decoder steps*
(`Kernel.steps`, what the index words take).  Between kernels of equal cycles the one with fewer
stored bytes is taken, and between equal bytes the first of `ORDER`.
"""

from collections.abc import Callable, Sequence
from typing import NoReturn

import numpy as np

from ..errors import BadInput
from ..formats import KERNELS, Kernel
from ..numerics.combine import UNIT
from ..program.parts import Part
from ..shape import ArrayShape

__all__ = [
    "ORDER",
    "Split",
    "built_kernels",
    "checked_parts",
    "choose_kernel",
    "column_costs",
    "kept_rows",
]

ORDER = ("dense", "block", "nm", "bitmap", "runlength")
"""Order in which kernels of equal cycles and equal bytes are preferred."""

Split = Callable[[np.ndarray], Sequence[Part]]
"""Strategy that divides an int8 block into parts of disjoint support, which sum to the block."""

_NEVER = 1 << 40  # above any real column, and sums of it stay far from 64 bits


def built_kernels(shape: ArrayShape, name: str) -> list[Kernel]:
    """The kernels that ``name`` allows: itself, or for ``auto`` all of the array, in `ORDER`.

    Raises:
        BadInput: the array does not have the kernel.
    """
    if name == "auto":
        return [KERNELS[k].configured(shape) for k in ORDER if k in shape.kernels]
    if name not in shape.kernels:
        known = ", ".join(shape.kernels)
        raise BadInput(f"kernel: must be one this array has ({known}) or auto, got {name!r}")
    return [KERNELS[name].configured(shape)]


def _column_cycles(kernel: Kernel, tile: np.ndarray) -> np.ndarray:
    """Decoder cycles of each column of an int8 tile, int64 (columns,)."""
    last = kernel.steps(tile).last
    column = np.cumsum(last) - last
    return np.maximum(kernel.column_cycles(tile != 0), np.bincount(column, minlength=tile.shape[1]))


def column_costs(kernels: Sequence[Kernel], weights: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Least decoder cycles of each column in each k tile, over the kernels that accept it.

    Args:
        kernels: candidates; at least one should accept each column.
        weights: int8 (K, columns).
        bounds: int64 (k tiles + 1,), first row of each k tile, then K.

    Returns:
        int64 (k tiles, columns).  A column that no kernel accepts costs more than all that one
        does, and the more, the more non-zeros it has.
    """
    tiles, columns = len(bounds) - 1, weights.shape[1]
    costs = np.zeros((tiles, columns), np.int64)
    for number in range(tiles):
        tile = weights[bounds[number] : bounds[number + 1]]
        best = costs[number]
        best[:] = _NEVER + np.count_nonzero(tile, axis=0)
        # Formats that hold any block first: what they do better need not be tested for others.
        for kernel in sorted(kernels, key=lambda k: k.name == "nm"):
            cycles = _column_cycles(kernel, tile)
            better = cycles < best
            if better.any() and not kernel.accepts(tile[:, better]):
                better[better] = [kernel.accepts(tile[:, [c]]) for c in np.flatnonzero(better)]
            best[better] = cycles[better]
    return costs


def choose_kernel(
    kernels: Sequence[Kernel], block: np.ndarray, index_words: int | None = None
) -> tuple[Kernel, int]:
    """The kernel with the fewest decoder cycles for a block, then the fewest bytes; its cycles.

    Args:
        kernels: candidates, in the order that decides between equals.
        block: int8 (depth, columns).
        index_words: leave out kernels that need more index words, where another needs fewer.

    Raises:
        BadInput: no candidate accepts the block.
    """
    able = [kernel for kernel in kernels if kernel.accepts(block)]
    if not able:
        _refuse(kernels[0])
    if index_words is not None and len(able) > 1:
        able = [k for k in able if len(k.encode(block)[0]) <= index_words] or able
    occupied = block != 0
    slots = [int(kernel.column_cycles(occupied).sum()) for kernel in able]
    least, best = None, []
    # Counting steps takes longer than counting slots, which are the lesser bound.
    for place in np.argsort(slots, kind="stable"):
        if least is None or slots[place] <= least:
            cycles = max(slots[place], len(able[place].steps(block).events))
            if least is None or cycles < least:
                least, best = cycles, []
            best += [place] if cycles == least else []
    assert least is not None
    tied = [able[place] for place in sorted(best)]
    kernel = tied[0] if len(tied) == 1 else min(tied, key=lambda k: _bytes(k, block))
    return kernel, least


def _bytes(kernel: Kernel, block: np.ndarray) -> int:
    words, values = kernel.encode(block)
    return 8 * len(words) + len(values)


def _refuse(kernel: Kernel) -> NoReturn:
    pattern = f", they are not {kernel.n}:{kernel.m} sparse" if hasattr(kernel, "n") else ""
    raise BadInput(f"kernel: {kernel.name} must be able to hold the weights{pattern}")


def checked_parts(kernels: Sequence[Kernel], block: np.ndarray, parts: Sequence[Part]) -> None:
    """Check what a `Split` made of a block.

    Raises:
        ValueError: no part, a part of another shape or with a weight, supports that overlap, or
            a wrong sum.
        BadInput: a kernel the array does not have, or one that cannot hold its part.
    """
    if not parts:
        raise ValueError("split: must return at least one part, got none")
    total = np.zeros(block.shape, np.int64)
    holders = np.zeros(block.shape, np.int64)
    by_name = {kernel.name: kernel for kernel in kernels}
    for part in parts:
        name, held = part.kernel, part.block
        if name is not None and name not in by_name:
            raise BadInput(f"split: kernel: must be one of {', '.join(by_name)}, got {name!r}")
        if held.shape != block.shape or held.dtype != np.int8 or part.weight != UNIT:
            raise ValueError(
                f"split: parts must be int8 of shape {block.shape} with the weight {UNIT}, "
                f"got {held.dtype} {held.shape} with {part.weight}"
            )
        if name is not None and not by_name[name].accepts(held):
            _refuse(by_name[name])
        total += held
        holders += held != 0
    if holders.max() > 1 or not np.array_equal(total, block):
        raise ValueError("split: parts must have disjoint support and sum to the block")


def kept_rows(
    kernels: Sequence[Kernel], weights: np.ndarray, needed: np.ndarray, k_tile: int
) -> np.ndarray:
    """Rows of k that stay when those that are not needed are dropped from both operands.

    Formats with runs of rows (``nm``, ``block``) may lose by it, as the rows behind a dropped
    one move to other runs; so whole aligned runs of rows are tried beside single rows, and the
    one with the fewer decoder cycles is taken.  One row stays where none is needed.

    Args:
        kernels: candidates.
        weights: int8 (K, N).
        needed: bool (K,).
        k_tile: rows of an activation tile.

    Returns:
        int64 row numbers, ascending, at least one.
    """
    everything = np.arange(len(needed))
    if needed.all():
        return everything
    runs = [getattr(k, "m", None) or getattr(k, "rows", None) or 1 for k in kernels]
    best, least = everything, None
    for run in sorted({1, max(runs)}):
        padded = np.zeros(-(-len(needed) // run) * run, bool)
        padded[: len(needed)] = needed
        kept = np.repeat(padded.reshape(-1, run).any(axis=1), run)[: len(needed)]
        rows = np.flatnonzero(kept) if kept.any() else everything[:1]
        bounds = np.append(np.arange(0, len(rows), k_tile), len(rows))
        cost = int(column_costs(kernels, weights[rows], bounds).sum())
        if least is None or cost < least:
            best, least = rows, cost
    return best
