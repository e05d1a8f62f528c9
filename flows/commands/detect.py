"""``sparsefuse detect``: the events of a matrix on any of the three levels."""

from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from flows.detection import DETECTION_ENGINES, run_detection
from flows.files import load_npy, write_bytes, write_json
from flows.terminal import print_table, progress_line
from golden.errors import BadInput
from rtl_gen.config import DetectConfig, derive, load

__all__ = ["register"]

_Engine = StrEnum("_Engine", list(DETECTION_ENGINES))


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def detect(
        config: Annotated[str, typer.Argument(help="Configuration file or preset name.")],
        operand: Annotated[
            Path,
            typer.Option(
                "--input", help="Values to search: .npy file of int8, shape (C,) or (R, C)."
            ),
        ],
        engine: Annotated[_Engine, typer.Option(help="Golden model, cycle model or RTL.")],
        threshold: Annotated[
            int,
            typer.Option(help="An element is an event if its magnitude is larger; 0 to 128."),
        ] = 0,
        out: Annotated[
            Path | None,
            typer.Option(
                help=".npz file to write: row and column (int64) and value (int8) of every event, "
                "by row, then by column, and shape (R, C); none by default."
            ),
        ] = None,
        report: Annotated[
            Path | None, typer.Option(help="JSON report to write; none by default.")
        ] = None,
    ) -> None:
        """Find the elements of an int8 matrix whose magnitude exceeds a threshold."""
        derived = derive(load(config, DetectConfig))
        _check_files(operand, out, report)
        elements = load_npy(operand, ndim=(1, 2), field="input")
        with progress_line() as progress:
            detection = run_detection(derived, elements, engine.value, threshold, progress)
        figures = detection.report(derived)
        if out is not None:
            found = detection.found
            buffer = BytesIO()
            np.savez(
                buffer,
                row=found.row,
                column=found.column,
                value=found.value,
                shape=np.array(detection.job.operand.shape),
            )
            write_bytes(out, buffer.getvalue())
        if report is not None:
            write_json(report, figures)
        names = ("cycles", "events", "tokens", "words", "empty_words", "vectors")
        rows: list[tuple[str, object]] = [(name.replace("_", " "), figures[name]) for name in names]
        for name in ("density", "utilisation", "utilisation_slots", "utilisation_words"):
            if figures[name] is not None:
                rows.append((name.replace("_", " "), f"{figures[name]:.1%}"))
        size = f"({figures['rows']}, {figures['columns']})"
        title = f"{size} above {threshold} on {derived.shape.units} units, {engine.value}"
        print_table(title, ("", figures["cycles_source"]), rows)


def _check_files(operand: Path, out: Path | None, report: Path | None) -> None:
    """Refuse files that would overwrite each other, before anything runs."""
    if out is not None and out.suffix != ".npz":
        raise BadInput(f"{out}: --out: must end in .npz, got {out.name}")
    named = {"--input": operand, "--out": out, "--report": report}
    seen: dict[Path, str] = {}
    for option, path in named.items():
        if path is None:
            continue
        if path.resolve() in seen:
            other = seen[path.resolve()]
            raise BadInput(f"{path}: {option}: must be another file than {other}, got the same")
        seen[path.resolve()] = option
