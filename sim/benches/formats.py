"""Bench: structured weights for each block format, among them all that make a format wait or fill.

Every kernel gets the same patterns: columns, blocks and matrices without a non-zero, one corner
element, runs of rows, diagonals, and sizes that leave the last run, word, tile and pass partial.
"""

from collections.abc import Callable
from typing import Any

import cocotb
import numpy as np

from golden.formats import KERNELS
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.program.plan import Plan

from .host import SETTINGS, Host
from .stimulus import Coverage, fitted

_SHAPE = SETTINGS.shape
_V, _P, _K = _SHAPE.lanes, _SHAPE.engines, _SHAPE.k_tile
_DEPTHS = (1, 2, 15, 16, 17, 63, 64, 65, _K - 1, _K, _K + 1, 2 * _K + _SHAPE.nm_m + 1)
"""Zeros that a pad of the run-length kernel stands for."""
_OUTPUTS = (1, _P, _P + 1, 3 * _P + 2)

_Pattern = Callable[[np.random.Generator, np.ndarray], np.ndarray]


def _columns(draw: np.random.Generator, full: np.ndarray) -> np.ndarray:
    """Two of three columns are empty, so empty ones stand in a row on each engine."""
    full[:, np.arange(full.shape[1]) // max(1, _P) % 3 > 0] = 0
    return full


def _alternate_tiles(draw: np.random.Generator, full: np.ndarray) -> np.ndarray:
    """Every other k tile is empty."""
    full[np.arange(len(full)) // _K % 2 == 1] = 0
    full[:1] = 7
    return full


def _corner(draw: np.random.Generator, full: np.ndarray) -> np.ndarray:
    """Only the last element of the last column, as far from the first as can be."""
    value = full[-1, -1]
    full[:] = 0
    full[-1, -1] = value
    return full


def _runs(draw: np.random.Generator, full: np.ndarray) -> np.ndarray:
    """Runs of rows with something in them, few."""
    rows = np.arange(len(full)) // max(2, _SHAPE.block_rows)
    full[draw.random(rows.max() + 1)[rows] < 0.7] = 0
    return full


def _diagonal(draw: np.random.Generator, full: np.ndarray) -> np.ndarray:
    """One non-zero to a column, further down from column to column."""
    row, column = np.indices(full.shape)
    full[row != column * 7 % len(full)] = 0
    return full


def _sparse(draw: np.random.Generator, full: np.ndarray) -> np.ndarray:
    """Few non-zeros, with gaps of all lengths."""
    full[draw.random(full.shape) < 0.96] = 0
    return full


_PATTERNS: dict[str, _Pattern] = {
    "full": lambda draw, full: full,
    "zero": lambda draw, full: np.zeros_like(full),
    "columns": _columns,
    "alternate tiles": _alternate_tiles,
    "corner": _corner,
    "runs": _runs,
    "diagonal": _diagonal,
    "sparse": _sparse,
}

_COMMON = (
    # A block of one column has no next one, and one engine is never left over.
    *(("empty columns in a row",) if _SHAPE.columns > 1 else ()),
    "empty block",
    "empty matrix",
    "last column partial",
    *(("last pass partial",) if _P > 1 else ()),
)
_COVERAGE = Coverage(
    f"{kernel}: {name}"
    for kernel in _SHAPE.kernels
    for name in (*_COMMON, *KERNELS[kernel].configured(_SHAPE).possible(_K))
)


def _cover(plan: Plan, weights: np.ndarray) -> None:
    """Count what the plan's blocks made a decoder do."""
    kernel = plan.kernel
    format_ = KERNELS[kernel].configured(_SHAPE)

    def hit(name: str, seen: object) -> None:
        if f"{kernel}: {name}" in _COVERAGE.counts:
            _COVERAGE.hit(f"{kernel}: {name}", seen)

    hit("empty matrix", not weights.any())
    hit("last pass partial", weights.shape[1] % _P)
    for block in (block for stream in plan.streams for block in stream.blocks):
        empty = ~block.any(axis=0)
        hit("empty columns in a row", (empty[1:] & empty[:-1]).any())
        hit("empty block", empty.all() and weights.any())
        hit("last column partial", len(block) % _K)
        for name in format_.seen(block, format_.steps(block)):
            hit(name, True)


async def _check(host: Host, kernel: str, pattern: str, size: tuple[int, int, int]) -> int:
    """Run one product; return its number of jobs."""
    rows, depth, outputs = size
    draw = np.random.default_rng(host.rng.getrandbits(64))
    activations = draw.integers(-128, 128, (rows, depth), dtype=np.int8)
    full = draw.integers(-128, 128, (depth, outputs), dtype=np.int8)
    full[full == 0] = -128
    weights = fitted(_SHAPE, kernel, _PATTERNS[pattern](draw, full))
    # Rows without a weight stay: what is tested is how a format stores them.
    plan = plan_matmul(_SHAPE, activations, weights, kernel, drop_weight_rows=False)
    out = await host.product(plan, activations)
    wanted = matmul(activations, weights)
    assert np.array_equal(out, wanted), f"{kernel}, {pattern}, {size}: {(out != wanted).sum()} sums"
    _cover(plan, weights)
    return len(plan.jobs)


@cocotb.test(timeout_time=200, timeout_unit="ms")
@cocotb.parametrize(kernel=_SHAPE.kernels)
async def structures(dut: Any, kernel: str) -> None:
    """Every pattern with every other depth, widths and stalls in turn."""
    host = Host(dut, f"structures.{kernel}")
    await host.begin()
    jobs = number = 0
    for turn, pattern in enumerate(_PATTERNS):
        for depth in _DEPTHS[turn % 2 :: 2]:
            pace = ("none", "none", "random")[number % 3]
            host.pace(pace, pace)
            size = (1 + number % (_V + 2), depth, _OUTPUTS[number % len(_OUTPUTS)])
            jobs += await _check(host, kernel, pattern, size)
            number += 1
    await host.finish(jobs)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def coverage(dut: Any) -> None:
    """Every bin of every kernel was hit; runs last."""
    _COVERAGE.check()
