"""Synthesise generated Verilog with Yosys and report its area per multiplier lane or unit."""

from __future__ import annotations

import difflib
import json
import os
import re
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flows import nextpnr, yosys
from flows.synth_targets import CLASSES, TARGETS, Target
from golden.errors import BadInput

__all__ = ["REPORT_FILE", "Manifest", "read_manifest", "synthesise"]

REPORT_FILE = "synth.json"
_NETLIST = "netlist.json"
_PNR_FOLDER = "pnr"


class Manifest(BaseModel):
    """The fields of ``manifest.json`` that synthesis needs; others are left to their readers.

    Attributes:
        top: name of the outermost module.
        array: name of the module that holds the engines, without the bus around them.
        files: Verilog files relative to the manifest, in reading order.
        simulation_models: those that stand in for vendor primitives and are never synthesised.
        macs: INT8 multiplier lanes, None in a design without any.
        units: what the design consists of beside its bus: engines, or detector units.
        config_hash: hash of the configuration that the Verilog was generated from.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    top: str = Field(min_length=1)
    array: str = Field(min_length=1)
    files: list[str] = Field(min_length=1)
    simulation_models: list[str] = []
    macs: int | None = Field(default=None, ge=1)
    units: int = Field(default=1, ge=1)
    config_hash: str = Field(min_length=1)

    @property
    def shares(self) -> tuple[str, int]:
        """What areas are divided by, and how many of it there are."""
        return ("unit", self.units) if self.macs is None else ("mac", self.macs)


def read_manifest(folder: Path) -> Manifest:
    """Read and check ``folder/manifest.json``.

    Raises:
        BadInput: the file is missing, not JSON, breaks a field's rule, or names a missing file.
    """
    path = folder / "manifest.json"
    try:
        manifest = Manifest.model_validate(json.loads(path.read_text()))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; generate the Verilog first") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}: not JSON: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise BadInput(f"{path}: {field}: {first['msg']}, not {first['input']!r}") from None
    for name in manifest.files:
        if not (folder / name).is_file():
            raise BadInput(f"{path}: files must exist next to the manifest, {name!r} does not")
    return manifest


def _nearest(name: str, known: list[str]) -> str:
    """Return the known name closest to ``name``; the first one when none is close."""
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def _target(name: str) -> Target:
    if name not in TARGETS:
        known = sorted(TARGETS)
        raise BadInput(
            f"synth: target must be one of {', '.join(known)}, not {name!r}; "
            f"the nearest is {_nearest(name, known)!r}"
        )
    return TARGETS[name]


def _check_top(folder: Path, sources: list[Path], top: str) -> None:
    """Refuse a top that no source declares, before a long run finds out."""
    declared: set[str] = set()
    for source in sources:
        declared.update(re.findall(r"^\s*module\s+\\?([^\s(#;]+)", source.read_text(), re.M))
    if not declared:
        raise BadInput(f"{folder}: the files of the manifest declare no Verilog module")
    if top not in declared:
        raise BadInput(
            f"{folder}: top must be a module of the manifest's files, not {top!r}; "
            f"the nearest is {_nearest(top, sorted(declared))!r}"
        )


def _number(value: float) -> int | float:
    """Show whole totals as integers: half block RAMs are the exception."""
    return int(value) if value == int(value) else round(value, 3)


def _write(path: Path, report: dict) -> None:
    """Write the report so that a reader sees all of it or none."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=2) + "\n")
    os.replace(partial, path)


def synthesise(
    folder: Path,
    target: str,
    top: str | None = None,
    pnr: bool = False,
    *,
    out: Path,
    clock_mhz: float = 100.0,
    seeds: int = 1,
) -> dict:
    """Map the Verilog of a generated folder to an FPGA family and measure its area.

    Args:
        folder: holds ``manifest.json`` and the Verilog files that it names.
        target: a name of :data:`flows.synth_targets.TARGETS`.
        top: module to measure; the manifest's ``top`` without it. Pass the manifest's ``array``
            for the engines without the bus.
        pnr: also place and route (ECP5, iCE40) and report the highest clock.
        out: folder for logs, netlist and ``synth.json``; made if missing.
        clock_mhz: clock that place and route aims for.
        seeds: placements to try, with seeds from 1 on, until one reaches the clock; the best is
            reported, with the clock of each in ``tried``.

    Returns:
        What ``synth.json`` holds. ``lut``, ``ff``, ``carry`` and ``mux`` count cells; ``lutram``
        counts LUTs that hold memory data; ``dsp`` and ``bram`` count ``dsp_unit`` and
        ``bram_unit``; ``lut_sites`` adds LUTs, LUT memory and the LUTs under carry cells, which
        makes families comparable; ``cells`` lists every cell type. ``seconds`` is the wall time
        of synthesis alone.

    Raises:
        BadInput: unknown target or top, or a manifest that breaks its rules.
        CheckFailed: a tool failed, or a figure is missing from what it wrote.
    """
    family = _target(target)
    if pnr and family.device is None:
        able = ", ".join(name for name, entry in TARGETS.items() if entry.device is not None)
        raise BadInput(f"synth: place and route needs target {able}, not {target!r}")
    if pnr:
        nextpnr.require(target)
    manifest = read_manifest(folder)
    module = top if top is not None else manifest.top
    models = set(manifest.simulation_models)
    sources = [(folder / name).resolve() for name in manifest.files if name not in models]
    _check_top(folder, sources, module)

    out.mkdir(parents=True, exist_ok=True)
    # A report of an earlier run must not outlive a failure of this one.
    for stale in (REPORT_FILE, yosys.STAT_FILE, _NETLIST):
        (out / stale).unlink(missing_ok=True)
    command = family.command_for(sources)
    read = [f"read_verilog {yosys.quote(source)}" for source in sources]
    started = time.monotonic()
    yosys.run(
        [
            *read,
            f"{command} -top {module}",
            yosys.STAT_COMMAND,
            f"write_json {_NETLIST}",
        ],
        out,
    )
    seconds = time.monotonic() - started
    share, count = manifest.shares
    cells = yosys.stat(out / yosys.STAT_FILE, module)
    totals = family.totals(cells)
    report: dict = {
        "target": target,
        "family": family.title,
        "top": module,
        "tool": yosys.version(out / yosys.STAT_FILE),
        "command": command,
        "measured": True,
        "config_hash": manifest.config_hash,
        **{name: _number(totals[name]) for name in CLASSES},
        "lut_sites": _number(
            totals["lut"] + totals["lutram"] + family.carry_luts * totals["carry"]
        ),
        "dsp_unit": family.dsp_unit,
        "bram_unit": family.bram_unit,
        "cells": cells,
        "macs": manifest.macs,
        "units": manifest.units,
        **{f"{name}_per_{share}": round(totals[name] / count, 4) for name in CLASSES[:3]},
        "seconds": round(seconds, 3),
    }
    if pnr:
        work = out / _PNR_FOLDER
        work.mkdir(exist_ok=True)
        netlist = out / _NETLIST
        if target == "ice40":
            netlist = nextpnr.shell_netlist(netlist, module, read, command, work)
        runs: list[dict] = []
        while len(runs) < seeds and not (runs and runs[-1]["met"]):
            seed = len(runs) + 1
            place = work if seed == 1 else work / f"seed_{seed}"
            runs.append(
                nextpnr.place_and_route(
                    netlist, target, device=family.device, freq_mhz=clock_mhz, out=place, seed=seed
                )
            )
        best = max(runs, key=lambda run: run["fmax_mhz"])
        tried = [{"seed": run["seed"], "fmax_mhz": run["fmax_mhz"]} for run in runs]
        report["pnr"] = {**best, "tried": tried}
    _write(out / REPORT_FILE, report)
    return report
