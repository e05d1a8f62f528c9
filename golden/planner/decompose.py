"""Decomposition of a block into parts with disjoint support, each in the kernel that suits it.

An engine runs the parts of a block one after another against the same activation tile, and the
drain adds their column sums.  The parts of an INT8 block sum to it bit for bit (exact mode).  The
price of a part, with ``cycles_c`` from `Kernel.column_cycles`:

    cycles = 1 + sum over columns max(cycles_c, column_floor)      (the 1 is its block header)
    bytes  = 8 + 8 * index words + value bytes                     (the 8 is its block header)

Every part runs through all columns of the block: one without events in a column still closes it,
which costs at least one cycle.  ``column_floor`` models a shared drain, which takes
``group * drain_cycles`` cycles from one column of an engine to its next.

Candidates are every single kernel, and every sequence of up to ``max_parts - 1`` structure
finders followed by the residual.  A single kernel is always among them, so the outcome is never
worse than the best one by the objective:

| objective | smallest         | ties                     |
|-----------|------------------|--------------------------|
| cycles    | cycles           | cycles * bytes           |
| product   | cycles * bytes   | cycles                   |
| bytes     | bytes            | cycles                   |

On unstructured blocks one event kernel wins: its cycles are the non-zeros, the lower bound, and a
second part only adds headers and closes.  Parts pay where a structure needs no index.

Finders return bool masks of non-zeros.  Shapes are (depth, columns).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..formats import KERNELS, STORED, Kernel
from ..formats.block_runs import BlockRuns
from ..formats.nm import StructuredNM
from ..shape import ArrayShape

__all__ = [
    "Cost",
    "Objective",
    "Part",
    "best_single",
    "decompose",
    "dense_core",
    "diagonal_band",
    "formats",
    "largest_of_runs",
    "occupied_columns",
    "occupied_rows",
    "part_cost",
    "total_cost",
]

Objective = Literal["cycles", "product", "bytes"]
Mask = NDArray[np.bool_]

_CORE_FILLS = (1.0, 0.75)
_BAND_SHARE = 0.5


@dataclass(frozen=True)
class Cost:
    """Price of a part or of a decomposition."""

    cycles: int
    bytes: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.cycles + other.cycles, self.bytes + other.bytes)

    def key(self, objective: Objective) -> tuple[int, int]:
        """What is minimised, then what decides between equals."""
        area = self.cycles * self.bytes
        keys = {
            "cycles": (self.cycles, area),
            "product": (area, self.cycles),
            "bytes": (self.bytes, self.cycles),
        }
        if objective not in keys:
            raise BadInput(
                f"decompose: objective: must be one of {', '.join(keys)}, got {objective!r}"
            )
        return keys[objective]


@dataclass(frozen=True, eq=False)
class Part:
    """One kernel's share of a block.

    Attributes:
        kernel: name of the format (`golden.formats`).
        block: int8 (depth, columns), zero outside ``mask``.
        mask: bool (depth, columns), the positions that the part owns.
        scale: real value of one unit of ``block``; float, or float64 (columns,).
    """

    kernel: str
    block: NDArray[np.int8]
    mask: Mask
    scale: float | NDArray[np.float64] = 1.0


def formats(shape: ArrayShape | None = None) -> tuple[Kernel, ...]:
    """The kernels of an array with its parameters; without one, all with their usual ones.

    Those for run-time operands are left out: a part of stored weights never gains by them.
    """
    if shape is None:
        return tuple(KERNELS[name]() for name in STORED)
    return tuple(KERNELS[name].configured(shape) for name in shape.kernels if name in STORED)


def part_cost(kernel: Kernel, block: NDArray[np.int8], column_floor: int = 1) -> Cost:
    """Price of holding ``block`` in one kernel; see the module."""
    index, values = kernel.encode(block)
    columns = np.maximum(kernel.column_cycles(block != 0), column_floor)
    return Cost(1 + int(columns.sum()), 8 + 8 * len(index) + len(values))


def total_cost(parts: Iterable[Part], shape: ArrayShape | None = None, floor: int = 1) -> Cost:
    """Price of all parts of a block."""
    known = {kernel.name: kernel for kernel in formats(shape)}
    return sum((part_cost(known[p.kernel], p.block, floor) for p in parts), Cost(0, 0))


def best_single(
    block: NDArray[np.int8],
    shape: ArrayShape | None = None,
    *,
    objective: Objective = "cycles",
    column_floor: int = 1,
) -> tuple[Part, Cost]:
    """The best kernel for the whole block; ties go to the first of the array's list."""
    offers = _offers(_checked(block), formats(shape), column_floor)
    name, cost = min(offers, key=lambda offer: offer[1].key(objective))
    return Part(name, block, block != 0), cost


def decompose(
    block: NDArray[np.int8],
    shape: ArrayShape | None = None,
    *,
    max_parts: int = 3,
    objective: Objective = "cycles",
    column_floor: int = 1,
) -> list[Part]:
    """Split an int8 block into the cheapest parts; they sum to it bit for bit.

    Args:
        block: int8, both sides >= 1.
        shape: the array, for its kernels and their parameters; None: all kernels as usual.
        max_parts: most parts, 1 to 4.
        objective: what "cheapest" means; see the module.
        column_floor: least cycles from one closed column to the next.

    Returns:
        Parts with disjoint masks, in the order in which they were found.

    Raises:
        BadInput: a wrong block or parameter, or an array whose only kernel can't hold the block.
    """
    _checked(block)
    if not 1 <= max_parts <= 4:
        raise BadInput(f"decompose: max_parts: must be 1 to 4, got {max_parts}")
    kernels = formats(shape)
    known: dict[bytes, list[tuple[str, Cost]]] = {}

    def offers(mask: Mask) -> list[tuple[str, Cost]]:
        name = np.packbits(mask).tobytes()
        if name not in known:
            known[name] = _offers(np.where(mask, block, 0).astype(np.int8), kernels, column_floor)
        return known[name]

    best: tuple[tuple[int, int], Sequence[Mask], Sequence[str]] | None = None
    for masks in _splits(block, kernels, max_parts):
        for choice in product(*(offers(mask) for mask in masks)):
            key = sum((cost for _, cost in choice), Cost(0, 0)).key(objective)
            # The first candidates are the single kernels, so parts must be truly cheaper.
            if best is None or key < best[0]:
                best = key, masks, [name for name, _ in choice]
    if best is None:
        raise BadInput(
            "decompose: kernels: at least one must hold the block, "
            f"got {', '.join(kernel.name for kernel in kernels)}"
        )
    return [
        Part(name, np.where(mask, block, 0).astype(np.int8), mask)
        for name, mask in zip(best[2], best[1], strict=True)
    ]


def occupied_rows(block: np.ndarray) -> Mask:
    """Bool (depth,): rows with a non-zero; the others can leave both operands."""
    return (block != 0).any(axis=1)


def occupied_columns(block: np.ndarray) -> Mask:
    """Bool (columns,): columns with a non-zero; the others give zeros without any event."""
    return (block != 0).any(axis=0)


def dense_core(block: np.ndarray, rows: int, fill: float) -> Mask:
    """Non-zeros in runs of ``rows`` rows of a column that are nearly full.

    A run counts when at least ``fill`` of its rows are non-zero; the last run of a column may be
    shorter than ``rows``.
    """
    occupied = block != 0
    starts = np.arange(0, len(block), rows)
    counts = np.add.reduceat(occupied, starts, axis=0, dtype=np.int64)
    sizes = np.minimum(rows, len(block) - starts)
    return occupied & np.repeat(counts >= fill * sizes[:, None], sizes, axis=0)


def largest_of_runs(block: np.ndarray, n: int, m: int) -> Mask:
    """The ``n`` largest non-zeros by magnitude of every ``m`` rows; ties to the lower row."""
    depth, columns = block.shape
    runs = -(-depth // m)
    magnitude = np.zeros((runs * m, columns))
    magnitude[:depth] = np.abs(block.astype(np.float64))
    order = np.argsort(-magnitude.reshape(runs, m, columns), axis=1, kind="stable")
    kept = np.zeros((runs, m, columns), bool)
    np.put_along_axis(kept, order[:, :n], True, axis=1)
    return kept.reshape(runs * m, columns)[:depth] & (block != 0)


def diagonal_band(block: np.ndarray, share: float = _BAND_SHARE) -> Mask:
    """Non-zeros of the band around the fullest diagonal.

    Diagonal ``d`` holds the elements with ``row - column = d``.  From the fullest one (the first
    of equals) the band grows on both sides while the next diagonal is at least ``share`` full.
    """
    depth, columns = block.shape
    offset = np.arange(depth)[:, None] - np.arange(columns) + columns - 1
    occupied = block != 0
    filled = np.bincount(offset[occupied], minlength=depth + columns - 1)
    length = np.bincount(offset.reshape(-1), minlength=depth + columns - 1)
    # Short diagonals in the corners are full by accident.
    eligible = length >= min(depth, columns) / 2
    density = np.where(eligible, filled / length, 0.0)
    low = high = int(np.argmax(density))
    if density[low] < share:
        return np.zeros_like(occupied)
    while low > 0 and filled[low - 1] >= share * length[low - 1]:
        low -= 1
    while high < len(filled) - 1 and filled[high + 1] >= share * length[high + 1]:
        high += 1
    return occupied & (offset >= low) & (offset <= high)


def _finders(kernels: Sequence[Kernel]) -> list[Callable[[np.ndarray], Mask]]:
    """The structures that some kernel of the array holds without an index per non-zero."""
    found: list[Callable[[np.ndarray], Mask]] = []
    for kernel in kernels:
        if isinstance(kernel, BlockRuns):
            found += [
                lambda rest, rows=kernel.rows, fill=fill: dense_core(rest, rows, fill)
                for fill in _CORE_FILLS
            ]
        if isinstance(kernel, StructuredNM):
            found.append(lambda rest, n=kernel.n, m=kernel.m: largest_of_runs(rest, n, m))
    return [*found, diagonal_band]


def _splits(
    block: np.ndarray, kernels: Sequence[Kernel], max_parts: int
) -> Iterable[tuple[Mask, ...]]:
    """Sequences of disjoint masks that cover the non-zeros, each once, the whole block first."""
    whole = block != 0
    seen = {whole.tobytes()}
    yield (whole,)
    for length in range(1, max_parts):
        for chosen in permutations(_finders(kernels), length):
            masks: list[Mask] = []
            rest = whole
            for finder in chosen:
                mask = finder(np.where(rest, block, 0))
                masks.append(mask)
                rest = rest & ~mask
            masks = [mask for mask in (*masks, rest) if mask.any()]
            name = b"".join(mask.tobytes() for mask in masks)
            if masks and name not in seen:
                seen.add(name)
                yield tuple(masks)


def _offers(
    block: NDArray[np.int8], kernels: Sequence[Kernel], column_floor: int
) -> list[tuple[str, Cost]]:
    """Every kernel that can hold the block, with its price."""
    return [
        (kernel.name, part_cost(kernel, block, column_floor))
        for kernel in kernels
        if kernel.accepts(block)
    ]


def _checked(block: np.ndarray) -> np.ndarray:
    if block.dtype != np.int8 or block.ndim != 2 or 0 in block.shape:
        raise BadInput(
            "decompose: block: must be a non-empty int8 matrix, "
            f"got {block.dtype} of shape {block.shape}"
        )
    return block
