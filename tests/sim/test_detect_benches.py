"""The benches of the detect top: they pass on both simulators, and fail where it is broken."""

import json
import re
from pathlib import Path

import pytest
import yaml

from flows import cli
from flows.generate import MANIFEST, generate, simulation_sources
from golden.operators.detection import WIDTHS
from rtl_gen.config import DetectConfig, derive, parse
from sim.benches import BENCHES_OF, run_benches
from tests.sim.icarus import QUICK, needs_icarus

BENCHES = BENCHES_OF["detect"]
SMALL = {
    "name": "small",
    "target": {"device": "generic"},
    "interface": {"top": "detect", "data_bits": 32},
    "detect": {"units": 3, "rows": 64, "event_queue": 4},
}

# What each mutant changes in the Verilog, and the test that must notice.
MUTANTS = {
    "lowest bit of a value lost": (r"\bheld <= ([^;]*);", r"held <= \1 & ~1;", "events.patterns"),
    "row numbers without their word": (r"\bbase <= ([^;]*);", "base <= 0;", "events.patterns"),
    "words counted twice": (
        r"\bwords_step <= ([^;]*);",
        r"words_step <= \1 << 1;",
        "events.patterns",
    ),
    "cycles counted too early": (
        r"\bopened <= ([^;]*);",
        "opened <= 3;",
        "cycle_count.ideal_host",
    ),
    "errors forgotten": (r"\berrors <= ([^;]*);", "errors <= 0;", "registers.refused_start"),
}


def _simulate(tmp_path: Path, monkeypatch, intent: dict, simulator: str, seed: int) -> dict:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "detector.yaml"
    path.write_text(yaml.safe_dump(intent))
    report = tmp_path / "r.json"
    arguments = ["simulate", str(path), "--simulator", simulator, "--seed", str(seed)]
    status = cli.main([*arguments, "--report", str(report)])
    figures = json.loads(report.read_text())
    assert [test for test in figures["tests"] if not test["passed"]] == []
    assert status == 0
    assert {test["bench"] for test in figures["tests"]} == {
        name.rpartition(".")[2] for name in BENCHES
    }
    return figures


def test_all_benches_pass_on_verilator(tmp_path, monkeypatch, seed):
    figures = _simulate(tmp_path, monkeypatch, SMALL, "verilator", seed)
    assert figures["config"] == {**SMALL, "target": {"device": "generic", "clock_mhz": 100.0}}


@needs_icarus
def test_all_benches_pass_on_any_configuration_on_icarus(tmp_path, monkeypatch, rng, seed):
    width = int(rng.choice(WIDTHS))
    rows = max(width, 1 << int(rng.integers(1, 10)))
    detect = {
        "units": int(rng.integers(1, 5)),
        "rows": rows,
        "event_queue": int(rng.choice([2, 4, 16])),
    }
    interface = {"top": "detect", "data_bits": 8 * width}
    intent = {**SMALL, "interface": interface, "detect": detect}
    print(intent)
    figures = _simulate(tmp_path, monkeypatch, intent, "icarus", seed)
    assert figures["config"]["detect"] == detect


@pytest.mark.parametrize("mutant", MUTANTS)
def test_benches_notice_a_broken_top(tmp_path, mutant, seed):
    pattern, replacement, test = MUTANTS[mutant]
    bench, _, only = test.partition(".")
    derived = derive(parse(SMALL, "test", DetectConfig))
    folder = generate(derived, tmp_path / "rtl")
    manifest = json.loads((folder / MANIFEST).read_text())
    verilog = folder / "sparsefuse.v"
    text, count = re.subn(pattern, replacement, verilog.read_text())
    assert count == 1, "the mutant changes nothing: the Verilog no longer reads like this"
    verilog.write_text(text)
    (tmp_path / "sim").mkdir()
    outcomes = run_benches(
        simulation_sources(folder, manifest),
        derived.shape,
        derived.hash_word,
        folder=tmp_path / "sim",
        simulator=QUICK,
        seed=seed,
        benches=(f"detect.{bench}",),
        only=only,
    )
    assert any(not outcome.passed for outcome in outcomes), outcomes


def test_a_bench_of_another_top_is_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["simulate", "detect", "--bench", "product"]) == 2
    assert "--bench: must be one of detect.registers" in capsys.readouterr().err
    assert cli.main(["simulate", "test", "--bench", "detect.reset"]) == 2
    assert "where interface.top is array, got detect.reset" in capsys.readouterr().err
