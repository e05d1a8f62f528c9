"""Synthesise generated Verilog with Yosys and report its area per multiplier lane or unit."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from constraints.devices import Device, devices
from constraints.family import CELL_CLASSES, Family, Synthesis
from flows import nextpnr, yosys
from flows.synth_targets import TARGETS, command_for, family_of, nearest, router_of, totals
from golden.errors import BadInput, CheckFailed

__all__ = [
    "REPORT_FILE",
    "Manifest",
    "area_figures",
    "check_target",
    "read_manifest",
    "synthesise",
]

REPORT_FILE = "synth.json"
_NETLIST = "netlist.json"
_PNR_FOLDER = "pnr"


class _Shape(BaseModel):
    """What synthesis needs to know of an array's dimensions."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    mac: str | None = None


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
        device: part that it was generated for; None where the manifest names none.
        shape: dimensions of the array, with its MAC; None where there is no array.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    top: str = Field(min_length=1)
    array: str = Field(min_length=1)
    files: list[str] = Field(min_length=1)
    simulation_models: list[str] = []
    macs: int | None = Field(default=None, ge=1)
    units: int = Field(default=1, ge=1)
    config_hash: str = Field(min_length=1)
    device: str | None = None
    shape: _Shape | None = None

    @property
    def mac(self) -> str | None:
        """MAC that the array is built with, a name of `golden.numerics.mac_kinds.MAC_KINDS`."""
        return None if self.shape is None else self.shape.mac

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


def check_target(target: str, pnr: bool = False) -> Family:
    """Return the family that ``target`` names; refuse what can't be done before it takes time.

    Raises:
        BadInput: there is no such target, or with ``pnr`` no place and route for it, or its
            nextpnr is not installed.
    """
    family = family_of(target)
    if pnr:
        nextpnr.require(target)
    return family


def _check_mac(folder: Path, manifest: Manifest, family: Family) -> None:
    """Refuse a design whose multipliers the family lacks: Yosys would stop, or count them."""
    if manifest.mac is not None and manifest.mac not in family.macs:
        raise BadInput(
            f"{folder / 'manifest.json'}: shape.mac: must be one of {', '.join(family.macs)} "
            f"for target {family.name}, got {manifest.mac!r}; generate it for a part of that family"
        )


def _part(manifest: Manifest, family: Family) -> Device:
    """The part that the manifest names, or the family's own where that is of another family."""
    known = devices()
    named = known.get(manifest.device or "")
    return named if named is not None and named.family == family.name else known[family.part]


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
            f"the nearest is {nearest(top, sorted(declared))!r}"
        )


def _number(value: float) -> int | float:
    """Show whole totals as integers: half block RAMs are the exception."""
    return int(value) if value == int(value) else round(value, 3)


def _write(path: Path, report: dict) -> None:
    """Write the report so that a reader sees all of it or none."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=2) + "\n")
    os.replace(partial, path)


def _shares(counts: dict[str, float], lut_sites: float, bram_bits: int, part: Device) -> dict:
    """Share of the part that a design takes, for every figure that the database has of it."""
    needs = (
        ("lut_sites", lut_sites, part.luts),
        ("ff", counts["ff"], part.ffs),
        ("dsp", counts["dsp"], part.dsps),
        ("bram", counts["bram"] * bram_bits / 1024, part.bram_kbit),
    )
    return {name: round(need / there, 4) for name, need, there in needs if there is not None}


def area_figures(
    synthesis: Synthesis, cells: Mapping[str, int], part: Device, manifest: Manifest
) -> dict:
    """The figures of a report that follow from the cells: totals, shares of the part, per lane."""
    counts = totals(synthesis, cells)
    lut_sites = counts["lut"] + counts["lutram"] + synthesis.carry_luts * counts["carry"]
    share, count = manifest.shares
    return {
        **{name: _number(counts[name]) for name in CELL_CLASSES},
        "lut_sites": _number(lut_sites),
        "cells": dict(cells),
        "share": _shares(counts, lut_sites, synthesis.bram_bits, part),
        **{f"{name}_per_{share}": round(counts[name] / count, 4) for name in CELL_CLASSES[:4]},
    }


def synthesise(
    folder: Path,
    target: str,
    top: str | None = None,
    pnr: bool = False,
    *,
    out: Path,
    clock_mhz: float = 100.0,
    seeds: int = 1,
    boxes: Sequence[str] = (),
) -> dict:
    """Map the Verilog of a generated folder to an FPGA family and measure its area.

    The part is the one that the manifest names, or the family's own part where the manifest names
    none or another family's.

    Args:
        folder: holds ``manifest.json`` and the Verilog files that it names.
        target: a name of :data:`flows.synth_targets.TARGETS`.
        top: module to measure; the manifest's ``top`` without it. Pass the manifest's ``array``
            for the engines without the bus.
        pnr: also place and route, on that part, and report the highest clock.
        out: folder for logs, netlist and ``synth.json``; made if missing.
        clock_mhz: clock that place and route aims for.
        seeds: placements to try, with seeds from 1 on, until one reaches the clock; the best is
            reported, with the clock of each in ``tried``.
        boxes: modules to leave empty, so that only what surrounds them is measured; ``boxes`` of
            the report says how many instances there are of each.

    Returns:
        What ``synth.json`` holds. ``mac`` is the multiplier that was measured, None without an
        array. ``lut``, ``ff``, ``carry`` and ``mux`` count cells; ``lutram`` counts LUTs that hold
        memory data; ``dsp`` and ``bram`` count ``dsp_unit`` and ``bram_unit``; ``lut_sites`` adds
        LUTs, LUT memory and the LUTs under carry cells, which makes families comparable;
        ``port_bits`` counts the pins of the module; ``cells`` lists every cell type; ``share`` is
        what it takes of ``part``. ``seconds`` is the wall time of synthesis alone.

    Raises:
        BadInput: unknown target or top, a manifest that breaks its rules, or a MAC that the
            family lacks.
        CheckFailed: a tool failed, or a figure is missing from what it wrote.
    """
    family = check_target(target, pnr)
    synthesis = TARGETS[target]
    manifest = read_manifest(folder)
    _check_mac(folder, manifest, family)
    part = _part(manifest, family)
    module = top if top is not None else manifest.top
    models = set(manifest.simulation_models)
    sources = [(folder / name).resolve() for name in manifest.files if name not in models]
    _check_top(folder, sources, module)

    out.mkdir(parents=True, exist_ok=True)
    # A report of an earlier run must not outlive a failure of this one.
    for stale in (REPORT_FILE, yosys.STAT_FILE, _NETLIST):
        (out / stale).unlink(missing_ok=True)
    command = command_for(synthesis, sources)
    read = [f"read_verilog {yosys.quote(source)}" for source in sources]
    started = time.monotonic()
    yosys.run(
        [
            *read,
            *(f"blackbox {box}" for box in boxes),
            f"{command} -top {module}",
            yosys.STAT_COMMAND,
            f"write_json {_NETLIST}",
        ],
        out,
    )
    seconds = time.monotonic() - started
    cells = yosys.stat(out / yosys.STAT_FILE, module)
    instances = {box: cells.pop(box, 0) for box in boxes}
    if not all(instances.values()):
        raise CheckFailed(f"{out / yosys.STAT_FILE}: {module!r} must hold each of {instances}")
    report: dict = {
        "target": target,
        "family": family.title,
        "part": part.name,
        "mac": manifest.mac,
        "top": module,
        "tool": yosys.version(out / yosys.STAT_FILE),
        "command": command,
        "measured": True,
        "config_hash": manifest.config_hash,
        **area_figures(synthesis, cells, part, manifest),
        "dsp_unit": synthesis.dsp_unit,
        "bram_unit": synthesis.bram_unit,
        "port_bits": yosys.port_bits(out / yosys.STAT_FILE, module),
        "macs": manifest.macs,
        "units": manifest.units,
        **({"boxes": instances} if boxes else {}),
        "seconds": round(seconds, 3),
    }
    if pnr:
        work = out / _PNR_FOLDER
        work.mkdir(exist_ok=True)
        netlist = out / _NETLIST
        if router_of(target).shell:
            netlist = nextpnr.shell_netlist(netlist, module, read, command, work)
        runs: list[dict] = []
        while len(runs) < seeds and not (runs and runs[-1]["met"]):
            seed = len(runs) + 1
            place = work if seed == 1 else work / f"seed_{seed}"
            runs.append(
                nextpnr.place_and_route(netlist, part, freq_mhz=clock_mhz, out=place, seed=seed)
            )
        best = max(runs, key=lambda run: run["fmax_mhz"])
        tried = [{"seed": run["seed"], "fmax_mhz": run["fmax_mhz"]} for run in runs]
        report["pnr"] = {**best, "tried": tried}
    _write(out / REPORT_FILE, report)
    return report
