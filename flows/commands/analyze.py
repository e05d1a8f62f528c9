"""``sparsefuse analyze``: patterns, buckets and kernels of a model's or a file's weights."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.analysis import analyse_layer, file_weights, model_weights
from flows.analysis_pictures import draw, figure_class
from flows.engines import table_of
from flows.files import atomic_folder, check_outputs, write_json
from flows.models.registry import lookup
from flows.terminal import print_table, progress_line
from golden.errors import BadInput
from rtl_gen.config import derive, load

__all__ = ["register"]


class _Method(StrEnum):
    wanda = "wanda"
    magnitude = "magnitude"


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def analyze(
        source: Annotated[
            str,
            typer.Argument(
                metavar="MODEL|W.npy",
                help="Name of a model, or .npy file of int8 or float, shape (K, N).",
            ),
        ],
        config: Annotated[str, typer.Option(help="Configuration file or preset name.")] = "edge",
        sparsity: Annotated[
            float, typer.Option(help="Share of each output column's weights to prune, 0 to 1.")
        ] = 0.0,
        method: Annotated[
            _Method | None,
            typer.Option(
                help="How weights are pruned; by default wanda for models, magnitude for files."
            ),
        ] = None,
        layers: Annotated[
            str | None,
            typer.Option(
                help="The first N linear layers, or a pattern of their names; all by default."
            ),
        ] = None,
        report: Annotated[
            Path | None, typer.Option(help="JSON report to write; none by default.")
        ] = None,
        pictures: Annotated[
            Path | None, typer.Option(help="Folder to write PNG pictures to; none by default.")
        ] = None,
    ) -> None:
        """Show patterns, buckets, kernels, cycles and bytes of every layer's blocks."""
        check_outputs(
            {"--report": report, "--pictures": pictures}, {"CONFIG": config, "MODEL|W.npy": source}
        )
        derived = derive(load(config))
        if not 0 <= sparsity <= 1:
            raise BadInput(f"sparsity: must be a number from 0 to 1, got {sparsity}")
        if pictures is not None:
            figure_class()
        path = Path(source)
        with progress_line() as progress:
            if path.suffix == ".npy" or path.exists():
                if layers is not None:
                    raise BadInput(f"layers: must be left out for the file {path}, got {layers!r}")
                found = {path.stem: file_weights(path, sparsity, method.value if method else None)}
            else:
                name = lookup(source).name
                how = (method or _Method.wanda).value
                found = model_weights(name, layers, sparsity, how, progress)
            figures = []
            for number, (name, weights) in enumerate(found.items()):
                progress("analyse", number, len(found))
                figures.append(analyse_layer(name, weights, derived))
        summary = [figure.report() for figure in figures]
        if report is not None:
            write_json(
                report,
                {
                    "source": source,
                    "config": derived.config.model_dump(mode="json"),
                    "config_hash": derived.config_hash,
                    "table": table_of(derived).source,
                    "sparsity": sparsity,
                    "method": method.value if method else None,
                    "layers": summary,
                },
            )
        if pictures is not None:
            with atomic_folder(pictures) as folder:
                for figure in figures:
                    draw(figure, folder)
        header = ("layer", "shape", "zeros", "blocks", "buckets", "kernels (parts)")
        costs = ("cycles / V tokens", "bytes", "speed-up over dense")
        print_table(f"{source} on {derived.name} (computed)", (*header, *costs), _rows(summary))


def _rows(summary: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            layer["name"],
            f"{layer['depth']} x {layer['outputs']}",
            f"{layer['sparsity']:.1%}",
            str(len(layer["blocks"])),
            str(len(layer["buckets"])),
            ", ".join(f"{kernel} {count}" for kernel, count in layer["kernels"].items()),
            f"{layer['cycles']:,}",
            f"{layer['bytes']:,}",
            f"{layer['speed_up']:.2f}",
        )
        for layer in summary
    ]
