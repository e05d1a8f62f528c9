"""``sparsefuse matmul``: a product of two matrices on any of the three levels.

Float operands are rounded to int8 first: activations per token, weights per output column.  With
an error budget their channels are equalised; ``--scales`` writes what it takes to use the weights.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from flows.compress.approximate import check_budget
from flows.engines import run_matmul
from flows.export import check_export_folder
from flows.files import check_outputs, load_npy
from flows.operand import run_operand
from flows.product import PartLimits
from flows.results import write_run_time, write_stored
from flows.terminal import progress_line
from golden.errors import BadInput
from golden.formats import KERNELS
from golden.numerics.quantise import finite_matrix
from golden.selector.table import load_table
from rtl_gen.config import derive, load

__all__ = ["register"]


_FLOATS = ("float32", "float64")


class _Engine(StrEnum):
    golden = "golden"
    cycle = "cycle"
    rtl = "rtl"


class _Kernel(StrEnum):
    """``auto`` and every kernel of the registry."""

    _ignore_ = "kernel"
    auto = "auto"
    for kernel in KERNELS:
        vars()[kernel] = kernel


class _OperandKind(StrEnum):
    stored = "stored"
    run_time = "run-time"


class _Balance(StrEnum):
    anneal = "anneal"
    lpt = "lpt"


class _Objective(StrEnum):
    cycles = "cycles"
    product = "product"


def _operand(path: Path, field: str) -> np.ndarray:
    """An int8, float32 or float64 matrix; BadInput for other types and for NaN or infinity."""
    found = _dtype(path)
    if found and found not in (*_FLOATS, "int8"):
        raise BadInput(
            f"{path}: {field}: must have dtype int8, {' or '.join(_FLOATS)}, got {found}"
        )
    operand = load_npy(path, dtype=found if found in _FLOATS else "int8", field=field)
    if found in _FLOATS:
        finite_matrix(f"{path}: {field}", operand)
    return operand


def _dtype(path: Path) -> str:
    """Name of the type in a ``.npy`` file's header, empty where it can't be read."""
    try:
        return str(np.load(path, mmap_mode="r", allow_pickle=False).dtype)
    except Exception:
        # What is wrong with the file is for `load_npy` to say.
        return ""


def _limits(asked: bool, most_bytes: float | None, most_cycles: float | None) -> PartLimits | None:
    """Limits of scales per part; None where these are not asked for."""
    given = {"bytes": most_bytes, "cycles": most_cycles}
    chosen = {name: value for name, value in given.items() if value is not None}
    if asked:
        return PartLimits(**chosen)
    for name, value in chosen.items():
        raise BadInput(f"part_{name}: must come with --scales-per-part, got {value} without it")
    return None


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def matmul(
        config: Annotated[str, typer.Argument(help="Configuration file or preset name.")],
        activations: Annotated[
            Path, typer.Option(help="Operand A: .npy file of int8 or float, shape (M, K).")
        ],
        weights: Annotated[
            Path, typer.Option(help="Operand W: .npy file of int8 or float, shape (K, N).")
        ],
        engine: Annotated[
            _Engine,
            typer.Option(help="Golden model, cycle model, or the generated Verilog on Verilator."),
        ],
        kernel: Annotated[
            _Kernel,
            typer.Option(help="Kernel that stores the weights; auto chooses one for each block."),
        ] = _Kernel.auto,
        operand: Annotated[
            _OperandKind,
            typer.Option(
                help="Stored: the weights are encoded beforehand. Run-time: they go raw to the "
                "array, whose selector (schedule.selector) chooses how each block is run, and "
                "with an error budget which small values it drops."
            ),
        ] = _OperandKind.stored,
        balance: Annotated[
            _Balance,
            typer.Option(
                help="How columns are dealt to engines: longest processing time first (lpt), "
                "or improved from there by simulated annealing."
            ),
        ] = _Balance.anneal,
        seed: Annotated[
            int, typer.Option(min=0, help="Seed of the simulated annealing, a whole number.")
        ] = 0,
        drop_zero_activations: Annotated[
            bool,
            typer.Option(
                "--drop-zero-activations",
                help="Leave out each k that is zero for all tokens; the plan is then good for "
                "these activations alone.",
            ),
        ] = False,
        objective: Annotated[
            _Objective,
            typer.Option(
                help="What kernel auto minimises: cycles x bytes of the plans within 1 % of the "
                "least cycles, or cycles x bytes of all plans."
            ),
        ] = _Objective.cycles,
        table: Annotated[
            Path | None,
            typer.Option(
                help="Performance table of this configuration, as `bench kernels` measures one; "
                "without it the cycle model computes one."
            ),
        ] = None,
        error_budget: Annotated[
            float | None,
            typer.Option(
                help="Approximate mode: drop weights, the others making up for them, while the "
                "output's relative error against the product of the operands as given stays "
                "within this share, 0 to 1; exact by default."
            ),
        ] = None,
        calibration: Annotated[
            Path | None,
            typer.Option(
                help=".npy file of int8 or float, shape (M', K), on which the budget is held, the "
                "last fifth unseen; by default the activations, on which weights then are "
                "fitted too. Scales per part are chosen on it as well."
            ),
        ] = None,
        equalise: Annotated[
            bool,
            typer.Option(
                "--equalise/--no-equalise",
                help="With an error budget and float operands: divide the channels of the "
                "activations, and multiply the weights, where that lowers the rounding error.",
            ),
        ] = True,
        scales_per_part: Annotated[
            bool,
            typer.Option(
                "--scales-per-part",
                help="With float weights, on an array with schedule.fusion: a weight scale for "
                "each k tile, where that lowers the output error within the next two limits.",
            ),
        ] = False,
        part_bytes: Annotated[
            float | None,
            typer.Option(
                help="Most stored bytes with scales per part, relative to one scale; 1.01 by "
                "default."
            ),
        ] = None,
        part_cycles: Annotated[
            float | None,
            typer.Option(
                help="Most cycles with scales per part, relative to one scale; 1.01 by default."
            ),
        ] = None,
        scales: Annotated[
            Path | None,
            typer.Option(
                help=".npz file to write: weights (int8, as multiplied), weight_scale (N,), "
                "divisors (K,) of the activations' channels, and activation_scale (M,); with "
                "scales per part also part_of_row (K,) and part_weights (parts, N); none by "
                "default."
            ),
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(
                help=".npy file to write, (M, N): int32, or float32 in real units where "
                "an operand is float; none by default."
            ),
        ] = None,
        report: Annotated[
            Path | None, typer.Option(help="JSON report to write; none by default.")
        ] = None,
        export: Annotated[
            Path | None,
            typer.Option(
                help="New or empty folder to write: register writes, activation and weight beats "
                "of every job, and the results to expect, for a testbench of one's own; none by "
                "default."
            ),
        ] = None,
    ) -> None:
        """Compute O = A @ W; int8 (M, K) and (K, N) give int32 (M, N), exactly by default."""
        check_outputs(
            {"--out": out, "--report": report, "--scales": scales, "--export": export},
            {
                "CONFIG": config,
                "--activations": activations,
                "--weights": weights,
                "--calibration": calibration,
                "--table": table,
            },
        )
        if export is not None:
            check_export_folder(export)
        derived = derive(load(config))
        if calibration is not None and error_budget is None and not scales_per_part:
            raise BadInput("calibration: must come with an error budget or scales per part")
        limits = _limits(scales_per_part, part_bytes, part_cycles)
        if table is not None and kernel is not _Kernel.auto and error_budget is None:
            raise BadInput(f"table: must come with kernel auto, got kernel {kernel.value}")
        if error_budget is not None:
            check_budget(error_budget)
        a = _operand(activations, "activations")
        w = _operand(weights, "weights")
        if a.shape[1] != w.shape[0]:
            raise BadInput(
                f"{activations} and {weights}: shape: K must agree, got {a.shape} and {w.shape}"
            )
        x = None if calibration is None else _operand(calibration, "calibration")
        if x is not None and x.shape[1] != w.shape[0]:
            raise BadInput(
                f"{calibration} and {weights}: shape: K must agree, got {x.shape} and {w.shape}"
            )
        if x is not None and x.dtype.kind != a.dtype.kind:
            raise BadInput(
                f"{calibration}: calibration: must be int8 or float as the activations are "
                f"({a.dtype}), got {x.dtype}"
            )
        measured = None if table is None else load_table(table, derived.config_hash)
        if operand is _OperandKind.run_time:
            given = (
                ("kernel", None if kernel is _Kernel.auto else kernel.value),
                ("calibration", calibration),
                ("scales", scales),
                ("drop_zero_activations", drop_zero_activations or None),
                ("scales_per_part", scales_per_part or None),
            )
            for name, value in given:
                if value is not None:
                    raise BadInput(f"{name}: must come with operand stored, got {value}")
            with progress_line() as progress:
                found = run_operand(
                    derived, a, w, engine.value, progress, error_budget=error_budget, table=measured
                )
            write_run_time(found, found.report(derived), out=out, report=report)
            return
        with progress_line() as progress:
            product = run_matmul(
                derived,
                a,
                w,
                engine.value,
                kernel.value,
                progress,
                balance=balance.value,
                seed=seed,
                drop_activation_rows=drop_zero_activations,
                objective=objective.value,
                table=measured,
                error_budget=error_budget,
                calibration=x,
                equalise=equalise,
                part_limits=limits,
            )
        write_stored(
            product,
            product.report(derived, w),
            out=out,
            report=report,
            scales=scales,
            export=export,
            engine=engine.value,
        )
