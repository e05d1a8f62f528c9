"""Area and clock of the fuse selector and of fusion, beside an array of 16 engines of 16 lanes."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from constraints.devices import devices
from flows import nextpnr, yosys
from flows.generate import generate
from flows.synth import read_manifest, synthesise
from flows.synth_targets import TARGETS, totals
from golden.selector.candidates import Candidate
from golden.selector.unit import UnitParameters
from rtl_gen.config import Derived, derive, parse
from rtl_gen.emit import verilog
from rtl_gen.fuse.unit import FuseUnit

__all__ = ["measure_clock", "measure_shares"]

_TARGET = "xcup"
# Width of the array's streams, engines of a group.
_ARRAYS = ((64, 16), (128, 8))
# Rows that the selector reads per cycle: what a generated array has, and a beat of 128 bits.
_WORD_ROWS = (8, 16)


def _array(data_bits: int, group: int, fusion: bool) -> Derived:
    """16 engines of 16 lanes with the smallest set of kernels that skips zeros."""
    intent = {
        "name": "selector",
        "target": {"device": "xczu7ev"},
        "schedule": {
            "unroll": {"m": 16, "n": 16, "k": 1},
            "tile": {"m": 16, "n": 256, "k": 256},
            "kernels": ["bitmap"],
            "group": group,
            "fusion": fusion,
        },
        "interface": {"top": "array", "data_bits": data_bits},
    }
    return derive(parse(intent, "bench selector"))


def _synthesise(text: str, module: str, target: str, folder: Path) -> dict[str, int]:
    """Cells by class of one module; its netlist stays in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("unit.v").write_text(text)
    command = f"{TARGETS[target].command} -top {module}"
    script = ["read_verilog unit.v", command, yosys.STAT_COMMAND, "write_json netlist.json"]
    yosys.run(script, folder)
    cells = yosys.stat(folder / yosys.STAT_FILE, module)
    return {name: int(count) for name, count in totals(TARGETS[target], cells).items()}


def measure_shares(
    progress: Callable[[str, int, int], None],
    folder: Path,
    candidates: Mapping[str, tuple[Candidate, ...]],
) -> list[dict]:
    """LUTs that selector and fusion add to an array, as shares of the array without them.

    Fusion is what the whole array grows by; one selector serves all groups.

    Args:
        progress: called with (what, done, total).
        folder: to work in.
        candidates: of the selectors, by name.
    """
    figures = []
    for number, (data_bits, group) in enumerate(_ARRAYS):
        progress("synthesise", number, len(_ARRAYS))
        areas = []
        for fusion in (False, True):
            place = folder / f"array{number}{fusion}"
            design = generate(_array(data_bits, group, fusion), place / "rtl")
            module = read_manifest(design).array
            areas.append(synthesise(design, _TARGET, module, out=place / "synth"))
        plain, fused = areas
        added = {name: fused[name] - plain[name] for name in ("lut", "dsp", "lutram")}
        shape = _array(data_bits, group, True).shape
        for name, listed in candidates.items():
            for rows in _WORD_ROWS:
                lossy = any(candidate.threshold for candidate in listed)
                p = UnitParameters.of_operand(shape, lossy)
                unit = FuseUnit(replace(p, candidates=listed, word_rows=rows))
                place = folder / f"unit{number}{name}{rows}"
                area = _synthesise(verilog(unit), unit.module_name, _TARGET, place)
                lut = area["lut"] + added["lut"]
                figures.append(
                    {
                        "data_bits": data_bits,
                        "groups": shape.groups,
                        "candidates": name,
                        "word_bits": 8 * rows,
                        "target": _TARGET,
                        "array_lut": plain["lut"],
                        "array_lutram": plain["lutram"],
                        "array_dsp": plain["dsp"],
                        "selector": area,
                        "fusion_lut": added["lut"],
                        "lut": lut,
                        "dsp": area["dsp"] + added["dsp"],
                        "lutram": area["lutram"] + added["lutram"],
                        "share": lut / plain["lut"],
                        "share_of_all": lut / (lut + plain["lut"]),
                        "tool": plain["tool"],
                        "measured": True,
                    }
                )
    return figures


def measure_clock(name: str, unit: FuseUnit, folder: Path) -> dict:
    """Clock that a fuse unit reaches on an ECP5.

    Args:
        name: of its candidates.
        unit: what is placed and routed.
        folder: to work in.
    """
    place = folder / f"ecp5-{name}"
    area = _synthesise(verilog(unit), unit.module_name, "ecp5", place)
    routed = nextpnr.place_and_route(
        place / "netlist.json",
        devices()["lfe5u-85f"],
        freq_mhz=120,
        out=place / "pnr",
    )
    return {"candidates": name, "lut": area["lut"], **routed}
