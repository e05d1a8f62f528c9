"""``synth`` as a user calls it: any configuration on any family, with the family's multipliers."""

import json
from pathlib import Path

import pytest
import yaml

from constraints.families import FAMILIES
from constraints.presets import preset_names
from flows import yosys
from flows.cli import main
from flows.synth_targets import TARGETS
from rtl_gen.config import Config, derive, load, parse, retarget

SMALLEST = {
    "schedule": {
        "unroll": {"m": 2, "n": 1, "k": 1},
        "tile": {"m": 2, "n": 2, "k": 16},
        "kernels": ["dense"],
        "buffers": {"event_queue": 2},
    },
    "interface": {"data_bits": 64},
}
# Each target from another family than its own.
PAIRS = list(zip(TARGETS, ["generic", *TARGETS], strict=False))


def smallest(folder: Path, **target: object) -> str:
    path = folder / "smallest.yaml"
    path.write_text(yaml.safe_dump({"name": "smallest", "target": target, **SMALLEST}))
    return str(path)


@pytest.fixture
def refuse_yosys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any run of Yosys fails the test: what is refused must be refused before it."""

    def unexpected(*_: object, **__: object) -> None:
        raise AssertionError("Yosys ran")

    monkeypatch.setattr(yosys, "run", unexpected)


@pytest.mark.parametrize("target", FAMILIES)
@pytest.mark.parametrize("preset", preset_names())
def test_every_preset_is_rebuilt_for_every_family(preset: str, target: str):
    wanted = derive(load(preset, Config))
    built = retarget(wanted, target)
    family = FAMILIES[target]
    assert built.technology == target
    if wanted.top == "array":
        assert (built.shape.mac, built.shape.byte_ports) == (family.mac, family.byte_ports)
    assert (built is wanted) == (wanted.technology == target)
    # What was rebuilt is a configuration of its own, and an accepted one.
    document = built.config.model_dump(mode="json")
    assert parse(document, "rebuilt", Config) == built.config
    assert (built.config_hash == wanted.config_hash) == (built is wanted)


def test_a_named_multiplier_is_kept_where_it_suits():
    for name, kept in (("split", True), ("ecp5", False)):
        intent = load("edge").model_dump(mode="json")
        intent["target"]["mac"] = name
        built = retarget(derive(parse(intent)), "xcup")
        assert built.shape.mac == (name if kept else "dsp48e2")


@pytest.mark.parametrize(("target", "other"), PAIRS)
def test_another_familys_configuration_is_measured_with_the_targets_multipliers(
    target: str, other: str, tmp_path: Path, capsys: pytest.CaptureFixture
):
    family, named = FAMILIES[target], FAMILIES[other].part
    config = smallest(tmp_path, device=named)
    report = tmp_path / "r.json"
    assert main(["synth", config, "--target", target, "--report", str(report)]) == 0
    shown = capsys.readouterr().out
    sentence = f"smallest is for {named} with MAC {FAMILIES[other].mac}; "
    assert f"{sentence}rebuilt for {family.part} with MAC {family.mac}\n" in shown
    figures = json.loads(report.read_text())
    assert (figures["mac"], figures["part"]) == (family.mac, family.part)
    assert figures["rebuilt_from"]["device"] == named
    assert figures["rebuilt_from"]["mac"] == FAMILIES[other].mac
    assert figures["config"]["target"]["device"] == family.part
    assert figures["config_hash"] != figures["rebuilt_from"]["config_hash"]
    # Two lanes: two products per cycle in as many blocks as the family's record says.
    blocks = 0 if TARGETS[target].dsp_unit == "none" else 2 / family.macs[family.mac]
    assert figures["dsp"] == pytest.approx(blocks, abs=1e-3)
    # 7 series has no slices of UltraScale, which its cells would count all the same.
    foreign = {"xc7": "DSP48E2", "xcup": "DSP48E1"}.get(target)
    assert foreign not in figures["cells"]
    assert figures["ff"] > 0
    assert figures["lut"] > 0
    assert figures["port_bits"] > 0


def test_the_devices_own_family_is_not_rebuilt_and_its_part_is_placed(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    report = tmp_path / "r.json"
    config = smallest(tmp_path, device="lfe5u-25f", clock_mhz=20, mac="split")
    arguments = ["synth", config, "--target", "ecp5", "--pnr", "--report", str(report)]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "rebuilt" not in shown
    assert "--25k --package CABGA381 --speed 6" in shown
    figures = json.loads(report.read_text())
    assert (figures["mac"], figures["part"]) == ("split", "lfe5u-25f")
    assert figures["rebuilt_from"] is None
    assert figures["share"]["dsp"] == pytest.approx(2 / 28, abs=1e-4)
    placed = figures["pnr"]
    assert placed["part"] == "lfe5u-25f"
    assert placed["available"]["TRELLIS_COMB"] == 24288
    assert placed["met"] is True


@pytest.mark.parametrize("target", [name for name in TARGETS if not FAMILIES[name].place_and_route])
def test_place_and_route_is_refused_before_synthesis(
    target: str, capsys: pytest.CaptureFixture, refuse_yosys: None
):
    assert main(["synth", "test", "--target", target, "--pnr"]) == 2
    message = capsys.readouterr().err
    assert message == (f"error: synth: place and route needs target ecp5, ice40, not {target!r}\n")


@pytest.mark.parametrize("target", ["generic", "xilinx"])
def test_an_unknown_target_is_refused_before_synthesis(
    target: str, capsys: pytest.CaptureFixture, refuse_yosys: None
):
    assert main(["synth", "test", "--target", target]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: synth: target must be one of ecp5, ")
    assert f", not {target!r}; the nearest is " in message
    assert message.count("\n") == 1
