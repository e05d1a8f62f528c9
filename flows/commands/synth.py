"""``sparsefuse synth``: area with Yosys, timing with nextpnr."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from flows.build import cache_folder
from flows.files import write_json
from flows.generate import generate
from flows.synth import read_manifest, synthesise
from flows.terminal import print_table
from golden.errors import BadInput
from rtl_gen.config import Config, derive, load

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def synth(
        config: Annotated[str, typer.Argument(help="Configuration file or preset name.")],
        target: Annotated[str, typer.Option(help="Family: xcup, xc7, ecp5, ice40, nexus, ...")],
        pnr: Annotated[bool, typer.Option("--pnr", help="Place and route as well.")] = False,
        seeds: Annotated[
            int,
            typer.Option(min=1, help="Placements to try until one reaches the clock, with --pnr."),
        ] = 1,
        top: Annotated[
            bool, typer.Option("--top", help="Measure the whole top, AXI included.")
        ] = False,
        report: Annotated[Path | None, typer.Option(help="JSON report to write.")] = None,
    ) -> None:
        """Synthesise the array or the detector units of a configuration and report their area."""
        derived = derive(load(config, Config))
        if seeds > 1 and not pnr:
            raise BadInput(f"seeds: must be 1 without --pnr, got {seeds}")
        folder = cache_folder("synth")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            design = generate(derived, Path(scratch, "rtl"))
            manifest = read_manifest(design)
            module = manifest.top if top else manifest.array
            out = Path(scratch, "synth")
            figures = synthesise(
                design, target, module, pnr, out=out, clock_mhz=derived.clock_mhz, seeds=seeds
            )
        figures["config"] = derived.config.model_dump(mode="json")
        if report is not None:
            write_json(report, figures)
        names = ("lut", "ff", "dsp", "bram", "lutram", "carry")
        rows: list[tuple[str, object]] = [(name, figures[name]) for name in names]
        share, count = manifest.shares
        label = {"mac": "MAC", "unit": "unit"}[share]
        rows += [
            (f"{name} per {label}", figures[f"{name}_per_{share}"]) for name in ("lut", "ff", "dsp")
        ]
        if pnr:
            rows += [("Fmax (MHz)", figures["pnr"]["fmax_mhz"])]
        if seeds > 1:
            tried = ", ".join(f"{run['fmax_mhz']:.1f}" for run in figures["pnr"]["tried"])
            rows += [("seeds tried (MHz)", tried)]
        title = f"{derived.name} on {target}: {module}, {count} {label}s"
        print_table(title, ("measured", figures["tool"]), rows)
