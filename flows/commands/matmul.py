"""``sparsefuse matmul``: a product of two int8 matrices on any of the three levels."""

from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from flows.engines import run_matmul
from flows.files import load_npy, write_bytes, write_json
from flows.terminal import print_table, progress_line
from golden.errors import BadInput
from golden.fuse.approximate import check_budget
from golden.fuse.table import load_table
from rtl_gen.config import derive, load

__all__ = ["register"]


class _Engine(StrEnum):
    golden = "golden"
    cycle = "cycle"
    rtl = "rtl"


class _Kernel(StrEnum):
    auto = "auto"
    dense = "dense"
    bitmap = "bitmap"
    runlength = "runlength"
    nm = "nm"
    block = "block"
    raw = "raw"


class _Balance(StrEnum):
    anneal = "anneal"
    lpt = "lpt"


class _Objective(StrEnum):
    cycles = "cycles"
    product = "product"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def matmul(
        config: Annotated[str, typer.Argument(help="Configuration file or preset name.")],
        activations: Annotated[Path, typer.Option(help="int8 .npy file, shape (M, K).")],
        weights: Annotated[Path, typer.Option(help="int8 .npy file, shape (K, N).")],
        engine: Annotated[_Engine, typer.Option(help="Golden model, cycle model or RTL.")],
        kernel: Annotated[
            _Kernel, typer.Option(help="Event source; auto chooses for each block.")
        ] = _Kernel.auto,
        balance: Annotated[
            _Balance, typer.Option(help="How columns are dealt to engines.")
        ] = _Balance.anneal,
        seed: Annotated[int, typer.Option(min=0, help="Seed of the annealing.")] = 0,
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
                help="What kernel auto minimises: cycles x bytes of the plans that no single "
                "kernel beats in cycles, or cycles x bytes of all plans."
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
                help="Approximate mode: drop small weights while the output's relative error "
                "stays within this, 0 to 1."
            ),
        ] = None,
        calibration: Annotated[
            Path | None,
            typer.Option(
                help="int8 .npy file, shape (M', K), on which the budget is held; by default "
                "the activations."
            ),
        ] = None,
        out: Annotated[Path | None, typer.Option(help="int32 .npy file to write, (M, N).")] = None,
        report: Annotated[Path | None, typer.Option(help="JSON report to write.")] = None,
    ) -> None:
        """Compute O = A @ W; A int8 (M, K), W int8 (K, N), O int32 (M, N); exact by default."""
        derived = derive(load(config))
        if calibration is not None and error_budget is None:
            raise BadInput("calibration: must come with an error budget, got none")
        if table is not None and kernel is not _Kernel.auto and error_budget is None:
            raise BadInput(f"table: must come with kernel auto, got kernel {kernel.value}")
        if error_budget is not None:
            check_budget(error_budget)
        a = load_npy(activations, field="activations")
        w = load_npy(weights, field="weights")
        if a.shape[1] != w.shape[0]:
            raise BadInput(
                f"{activations} and {weights}: shape: K must agree, got {a.shape} and {w.shape}"
            )
        x = None if calibration is None else load_npy(calibration, field="calibration")
        if x is not None and x.shape[1] != w.shape[0]:
            raise BadInput(
                f"{calibration} and {weights}: shape: K must agree, got {x.shape} and {w.shape}"
            )
        measured = None if table is None else load_table(table, derived.config_hash)
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
            )
        figures = product.report(derived, w)
        if out is not None:
            buffer = BytesIO()
            np.save(buffer, product.output)
            write_bytes(out, buffer.getvalue())
        if report is not None:
            write_json(report, figures)
        names = ("kernel", "cycles", "events", "macs_dense", "macs_effective", "weight_bytes")
        rows: list[tuple[str, object]] = [(name, figures[name]) for name in names]
        if figures["kernel"] == "mixed":
            blocks = ", ".join(f"{k} {n}" for k, n in figures["kernel_blocks"].items())
            rows.insert(1, ("blocks", blocks))
        selection = figures["selection"]
        if selection is not None:
            rows += [
                ("plan", selection["chosen"]),
                ("parts", f"{selection['parts']} in {selection['blocks']} blocks"),
                ("table", selection["table"]),
            ]
        if error_budget is not None:
            rows.append(("error", f"{figures['error']:.4%} (budget {error_budget:.4%})"))
            rows.append(("weights dropped", figures["weights_dropped"]))
        for name in ("utilisation", "utilisation_slots"):
            if figures[name] is not None:
                rows.append((name, f"{figures[name]:.1%}"))
        title = f"({a.shape[0]}, {a.shape[1]}) @ ({w.shape[0]}, {w.shape[1]}), {engine.value}"
        print_table(title, ("", figures["cycles_source"]), rows)
