"""Cost of a block: kernel x density x block shape, measured on the RTL (`flows.measure`)."""

import time
from collections.abc import Callable
from typing import Any

from flows.arrays import kernels_config
from flows.bench.bars import Bar
from flows.measure import measure_table
from golden.selector.table import BINS, DENSITIES, PerformanceTable, Point

__all__ = ["HEADER", "run"]

HEADER = (
    *("kernel", "depth x columns", "density"),
    *("cycles", "bytes", "energy proxy", "cycles per count"),
)

Progress = Callable[[str, int, int], None]


def _spread(table: PerformanceTable, shape: tuple[int, int]) -> list[float]:
    """Cycles per event of the kernels that skip zeros, at a quarter of non-zeros and more."""
    shares = []
    for kernel in ("bitmap", "runlength"):
        for step in range(5, BINS):
            point = table.point(kernel, step, shape)
            shares.append(point.cycles * table.engines / point.events)
    return shares


def _figure(table: PerformanceTable, point: Point) -> dict[str, Any]:
    shape = (point.depth, point.columns)
    line = table.cost(point.kernel, point.step, shape)
    return {
        "kernel": point.kernel,
        "depth": point.depth,
        "columns": point.columns,
        "density": float(DENSITIES[point.step]),
        "cycles_per_block": point.cycles / point.blocks,
        "bytes_per_block": table.block_bytes(point.kernel, point.step, shape),
        "energy_proxy_per_block": table.energy_proxy(point.kernel, point.step, shape),
        "line_base_256ths": line.base,
        "line_slope_256ths": line.slope,
    }


def _row(table: PerformanceTable, point: Point) -> tuple[str, ...]:
    shape = (point.depth, point.columns)
    place = (point.kernel, f"{shape[0]} x {shape[1]}", str(DENSITIES[point.step]))
    if not point.feasible:
        return (*place, "-", "-", "-", "-")
    line = table.cost(point.kernel, point.step, shape)
    return (
        *place,
        f"{point.cycles / point.blocks:.1f}",
        f"{table.block_bytes(point.kernel, point.step, shape):.0f}",
        f"{table.energy_proxy(point.kernel, point.step, shape):,.0f}",
        f"{line.slope / 256:.2f}" if line.feasible else "-",
    )


def run(progress: Progress) -> dict:
    """All kernels, densities and shapes on the RTL, each equal to the cycle model."""
    derived = kernels_config()
    started = time.monotonic()
    table = measure_table(derived, progress)
    seconds = time.monotonic() - started
    figures = [_figure(table, point) for point in table.points if point.feasible]
    bars = [
        Bar(
            "cycles per event of bitmap and run-length, 64 x 16, density 1/4 and up",
            max(_spread(table, (64, 16))),
            1.05,
            at_most=True,
        )
    ]
    return {
        "title": f"Cost of a block ({table.source}; equal to the cycle model; energy is a proxy)",
        "header": HEADER,
        "rows": [_row(table, point) for point in table.points],
        "seed": table.seed,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "tools": table.tools,
        "seconds": round(seconds, 1),
        "figures": figures,
        "table": table.model_dump(mode="json"),
        "bars": [bar.report() for bar in bars],
    }
