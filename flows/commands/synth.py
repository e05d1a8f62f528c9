"""``sparsefuse synth``: area with Yosys, timing with nextpnr."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from flows.cache import cache_folder
from flows.files import check_outputs, write_json
from flows.generate import generate
from flows.synth import check_target, read_manifest, synthesise
from flows.synth_targets import TARGETS
from flows.terminal import print_table
from golden.errors import BadInput
from rtl_gen.config import Config, Design, derive, load, retarget

__all__ = ["register"]

_FAMILIES = f"Family to map to: {', '.join(TARGETS)}. Another than the device's rebuilds for it."


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def synth(
        config: Annotated[str, typer.Argument(help="Configuration file or preset name.")],
        target: Annotated[str, typer.Option(help=_FAMILIES)],
        pnr: Annotated[bool, typer.Option("--pnr", help="Place and route as well.")] = False,
        seeds: Annotated[
            int,
            typer.Option(min=1, help="Placements to try, with --pnr, until one reaches the clock."),
        ] = 1,
        top: Annotated[
            bool,
            typer.Option(
                "--top", help="Measure the whole top with its AXI ports, not the array alone."
            ),
        ] = False,
        report: Annotated[
            Path | None, typer.Option(help="JSON report to write; none by default.")
        ] = None,
    ) -> None:
        """Synthesise the array or the detector units of a configuration and report their area."""
        check_outputs({"--report": report}, {"CONFIG": config})
        wanted = derive(load(config, Config))
        if seeds > 1 and not pnr:
            raise BadInput(f"seeds: must be 1 without --pnr, got {seeds}")
        check_target(target, pnr)
        built = retarget(wanted, target)
        if built is not wanted:
            typer.echo(_rebuilt(wanted, built))
        folder = cache_folder("synth")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            design = generate(built, Path(scratch, "rtl"))
            manifest = read_manifest(design)
            module = manifest.top if top else manifest.array
            out = Path(scratch, "synth")
            figures = synthesise(
                design, target, module, pnr, out=out, clock_mhz=built.clock_mhz, seeds=seeds
            )
        figures["config"] = built.config.model_dump(mode="json")
        figures["rebuilt_from"] = None if built is wanted else _origin(wanted)
        if report is not None:
            write_json(report, figures)
        share, count = manifest.shares
        label = {"mac": "MAC", "unit": "unit"}[share]
        title = f"{built.name} on {target}: {module}, {count} {label}s"
        print_table(title, ("measured", figures["tool"]), _rows(figures, share, label))


def _mac(design: Design) -> str | None:
    """MAC of an array; a design without multipliers has none."""
    return getattr(design.shape, "mac", None)


def _origin(wanted: Design) -> dict[str, str | None]:
    """What the configuration asked for, where it was rebuilt for another family."""
    return {
        "device": wanted.device.name,
        "mac": _mac(wanted),
        "config_hash": wanted.config_hash,
    }


def _rebuilt(wanted: Design, built: Design) -> str:
    """One sentence about a design that is measured on another family than its device's."""
    parts = [
        f"{design.device.name} with MAC {_mac(design)}" if _mac(design) else design.device.name
        for design in (wanted, built)
    ]
    return f"{wanted.name} is for {parts[0]}; rebuilt for {parts[1]}"


def _rows(figures: dict, share: str, label: str) -> list[tuple[str, object]]:
    """The table: what was measured, its cells, their share of the part, per MAC, the clock."""
    rows: list[tuple[str, object]] = [("part", figures["part"])]
    rows += [("MAC", figures["mac"])] if figures["mac"] else []
    names = ("lut", "ff", "dsp", "bram", "lutram", "carry")
    rows += [(name, figures[name]) for name in names]
    rows += [(f"{name} % of the part", f"{100 * v:.1f}") for name, v in figures["share"].items()]
    rows += [
        (f"{name} per {label}", figures[f"{name}_per_{share}"]) for name in ("lut", "ff", "dsp")
    ]
    if "pnr" in figures:
        placed = figures["pnr"]
        rows += [("Fmax (MHz)", placed["fmax_mhz"]), ("nextpnr", placed["device"])]
        if len(placed["tried"]) > 1:
            tried = ", ".join(f"{run['fmax_mhz']:.1f}" for run in placed["tried"])
            rows += [("seeds tried (MHz)", tried)]
    return rows
