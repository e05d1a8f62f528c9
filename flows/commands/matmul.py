"""``sparsefuse matmul``: an exact product of two int8 matrices on any of the three levels."""

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


class _Balance(StrEnum):
    anneal = "anneal"
    lpt = "lpt"


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
        out: Annotated[Path | None, typer.Option(help="int32 .npy file to write, (M, N).")] = None,
        report: Annotated[Path | None, typer.Option(help="JSON report to write.")] = None,
    ) -> None:
        """Compute O = A @ W exactly; A int8 (M, K), W int8 (K, N), O int32 (M, N)."""
        derived = derive(load(config))
        a = load_npy(activations, field="activations")
        w = load_npy(weights, field="weights")
        if a.shape[1] != w.shape[0]:
            raise BadInput(
                f"{activations} and {weights}: shape: K must agree, got {a.shape} and {w.shape}"
            )
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
        for name in ("utilisation", "utilisation_slots"):
            if figures[name] is not None:
                rows.append((name, f"{figures[name]:.1%}"))
        title = f"({a.shape[0]}, {a.shape[1]}) @ ({w.shape[0]}, {w.shape[1]}), {engine.value}"
        print_table(title, ("", figures["cycles_source"]), rows)
