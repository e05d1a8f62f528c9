"""Records of device families and parts: complete, consistent, refused where they break a rule."""

import json
import re
from dataclasses import replace
from importlib.resources import files

import pytest
import yaml
from pydantic import ValidationError

from constraints.devices import devices, parse_devices
from constraints.families import FAMILIES
from constraints.family import PlaceAndRoute
from flows import nextpnr, yosys
from flows.synth_targets import TARGETS, totals
from rtl_gen.emit import verilog
from rtl_gen.memory import TwoWidthMemory

ROUTED = [name for name, part in devices().items() if part.technology.place_and_route]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_complete(name: str):
    family = FAMILIES[name]
    assert family.name == name
    assert devices()[family.part].family == name
    template = files("constraints").joinpath("templates", f"{family.constraints}.j2")
    assert template.is_file()
    # Widths of a block are its widest and powers of two below: see `rtl_gen.derive`.
    assert family.block_bits % family.block_width == 0
    if family.synthesis is None:
        assert name == "generic"
        return
    assert family.synthesis.bram_bits % family.block_bits == 0
    classes = {kind for _, kind, _ in family.synthesis.cells}
    # Each has look-up tables, registers and block memory; Yosys knows no multiplier of Efinix'.
    assert {"lut", "ff", "bram"} <= classes
    assert ("dsp" in classes) == (family.synthesis.dsp_unit != "none")


def test_every_family_has_a_part_and_every_part_its_figures():
    assert {part.family for part in devices().values()} == set(FAMILIES)
    for name, part in devices().items():
        figures = (part.luts, part.dsps, part.bram_kbit)
        known = [figure is not None for figure in figures]
        assert all(known) if name != "generic" else not any(known)
        assert part.block_rams is None or part.bram_kbit == part.block_rams * (
            part.technology.block_bits / 1024
        ), name


@pytest.mark.parametrize("name", ROUTED)
def test_nextpnr_knows_the_part_and_its_figures(name: str, tmp_path):
    """Device, package and speed are accepted, and nextpnr counts what the database says."""
    part = devices()[name]
    (tmp_path / "one.v").write_text(
        "module one(input clk, input d, output reg q);\n"
        "  always @(posedge clk) q <= q ^ d;\n"
        "endmodule\n"
    )
    assert part.technology.synthesis is not None
    command = f"{part.technology.synthesis.command} -top one"
    yosys.run(["read_verilog one.v", command, "write_json one.json"], tmp_path)
    placed = nextpnr.place_and_route(tmp_path / "one.json", part, freq_mhz=10, out=tmp_path / "pnr")
    assert placed["part"] == name
    sites = json.loads((tmp_path / "pnr" / "report.json").read_text())["utilization"]
    there = {site: entry["available"] for site, entry in sites.items()}
    luts, ffs, dsp, bram = {
        "ecp5": ("TRELLIS_COMB", "TRELLIS_FF", "MULT18X18D", "DP16KD"),
        "ice40": ("ICESTORM_LC", "ICESTORM_LC", "ICESTORM_DSP", "ICESTORM_RAM"),
    }[part.family]
    found = (there[luts], there[ffs], there[dsp], there[bram])
    assert found == (part.luts, part.ffs, part.dsps, part.block_rams)


GOOD = {"family": "ecp5", "board": "none", "size": "25k", "package": "CABGA256", "speed": "8"}


def test_arguments_of_a_part_are_its_own():
    (part,) = parse_devices(yaml.safe_dump({"mine": GOOD})).values()
    assert part.nextpnr_arguments == ("--25k", "--package", "CABGA256", "--speed", "8")
    assert devices()["xczu7ev"].nextpnr_arguments == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "ecp6"}, "family: must be one of .*, got 'ecp6'"),
        ({"speed": None}, "speed: must be given for a part of ecp5, got None"),
        ({"family": "xc7"}, "size: must not be given for a part of xc7, got '25k'"),
        ({"speed": 8}, "speed"),
        ({"luts": 0}, "luts"),
        ({"board": ""}, "board"),
        ({"pins": 12}, "pins"),
    ],
)
def test_a_broken_part_is_refused_by_name(changes: dict, message: str):
    with pytest.raises(ValueError, match=rf"(?s)^mine: .*{message}"):
        parse_devices(yaml.safe_dump({"mine": {**GOOD, **changes}}))


def test_a_part_is_frozen():
    part = devices()["generic"]
    with pytest.raises(ValidationError, match="frozen"):
        part.luts = 3


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ((("LUT4", "luts", 1),), "one of the classes"),
        ((("LUT4", "lut", 0),), "units above 0"),
    ],
)
def test_a_broken_cell_row_is_refused(cells: tuple, message: str):
    with pytest.raises(ValueError, match=message):
        replace(FAMILIES["xc7"].synthesis, cells=cells)
    with pytest.raises(re.error):
        replace(FAMILIES["xc7"].synthesis, cells=(("LUT(", "lut", 1),))


def test_broken_families_are_refused():
    ecp5 = FAMILIES["ecp5"]
    with pytest.raises(ValueError, match="ecp5: macs: must name multipliers"):
        replace(ecp5, macs={})
    with pytest.raises(ValueError, match="ecp5: macs: must name multipliers"):
        replace(ecp5, macs={"ecp5": 0})
    with pytest.raises(ValueError, match="place_and_route: must come with synthesis"):
        replace(ecp5, synthesis=None)
    with pytest.raises(ValueError, match="instance_command: must be given with instantiated"):
        replace(FAMILIES["ice40"].synthesis, instance_command=None)
    with pytest.raises(ValueError, match=r"must name size, package and speed only, got \['pins'\]"):
        PlaceAndRoute(program="nextpnr-x", part=("--pins", "{pins}"))


@pytest.mark.parametrize("name", TARGETS)
def test_value_bytes_lie_in_block_memory(name: str, tmp_path):
    """A ring of values, as the family's record says that it may be read, takes no registers."""
    family, synthesis = FAMILIES[name], TARGETS[name]
    memory = TwoWidthMemory(
        read_bits=8, write_bits=64, depth=2048, fetch_bits=8 if family.byte_ports else 64
    )
    memory.module_name = "ring"
    (tmp_path / "ring.v").write_text(verilog(memory))
    script = ["read_verilog ring.v", f"{synthesis.command} -top ring", yosys.STAT_COMMAND]
    yosys.run(script, tmp_path, timeout_s=120)
    counts = totals(synthesis, yosys.stat(tmp_path / yosys.STAT_FILE, "ring"))
    assert counts["bram"] * synthesis.bram_bits >= 8 * 2048
    assert counts["ff"] <= 8
