"""Each vendor's MAC through that vendor's synthesis: blocks as instantiated, look-up tables."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from constraints.families import FAMILIES
from flows.synth import synthesise
from rtl_gen.emit import verilog
from rtl_gen.mac import MACS, PRIMITIVES

# Most look-up tables of a pair of 24-bit sums with its control, which pairs of an engine share.
MOST = {"dsp48e2": 5, "dsp48e1": 13, "ecp5": 50, "ice40": 64, "nexus": 50, "gowin": 20}
CASES = [(mac, name) for mac in PRIMITIVES for name, f in FAMILIES.items() if mac in f.macs]


@pytest.mark.parametrize(("mac", "target"), CASES)
def test_a_pair_takes_its_blocks_and_few_look_up_tables(tmp_path: Path, mac: str, target: str):
    design = MACS[mac](24)
    (tmp_path / "pair.v").write_text(verilog(design))
    # The twin has no multiplier of the vendor's: synthesis must not read it.
    twin = files("rtl_gen.mac").joinpath("primitives", PRIMITIVES[mac])
    (tmp_path / PRIMITIVES[mac]).write_text(twin.read_text("utf-8"))
    manifest = {
        "top": design.module_name,
        "array": design.module_name,
        "files": ["pair.v", PRIMITIVES[mac]],
        "simulation_models": [PRIMITIVES[mac]],
        "macs": 2,
        "config_hash": "0",
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    report = synthesise(tmp_path, target, out=tmp_path / "out")
    assert report["dsp"] == 2 / FAMILIES[target].macs[mac]
    assert report["lut_sites"] <= MOST[mac]
    if mac == "ice40":
        # Inference would have rebuilt the block without clock enable and addends.
        netlist = json.loads((tmp_path / "out" / "netlist.json").read_text())
        cells = netlist["modules"][design.module_name]["cells"].values()
        (block,) = (cell for cell in cells if cell["type"] == "SB_MAC16")
        ports = netlist["modules"][design.module_name]["ports"]
        assert block["connections"]["CE"] == ports["enable"]["bits"]
        assert all(isinstance(bit, int) for name in "CD" for bit in block["connections"][name])
