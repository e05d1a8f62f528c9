"""`sparsefuse detect` on its three engines, and the manual's example."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

from flows.cli import main
from flows.detection import DETECTION_ENGINES, run_detection
from golden.errors import BadInput
from golden.operators.detection import RawWords, detect
from golden.operators.detection_job import DetectionJob, found_naive, pack_events
from rtl_gen.config import DetectConfig, derive, load, parse

MANUAL = (Path(__file__).parents[2] / "docs" / "detection.md").read_text()


def _block(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", MANUAL, re.DOTALL)[number]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "detector.yaml"
    path.write_text(_block("yaml"))
    return path


def _run(config: Path, operand: Path, engine: str, *options: str) -> dict:
    out, report = operand.with_name(f"{engine}.npz"), operand.with_name(f"{engine}.json")
    arguments = ["detect", str(config), "--input", str(operand), "--engine", engine, *options]
    assert main([*arguments, "--out", str(out), "--report", str(report)]) == 0
    with np.load(out) as events:
        arrays = {name: events[name] for name in events}
    return {**json.loads(report.read_text()), "arrays": arrays}


@pytest.mark.parametrize("size", [(13, 37), (1,), (501,)], ids=str)
def test_all_engines_agree(size, config: Path, tmp_path: Path, rng: np.random.Generator) -> None:
    operand = rng.integers(-128, 128, size).astype(np.int8)
    operand[rng.random(size) < 0.7] = 0
    operand.flat[-1] = -128
    threshold = int(rng.choice([0, 3, 127]))
    np.save(tmp_path / "x.npy", operand)
    runs = {
        engine: _run(config, tmp_path / "x.npy", engine, "--threshold", str(threshold))
        for engine in DETECTION_ENGINES
    }
    matrix = operand.reshape(-1, size[-1]) if len(size) == 2 else operand[None, :]
    wanted = found_naive(matrix, threshold)
    for engine, figures in runs.items():
        events = figures["arrays"]
        assert figures["events"] == len(wanted)
        columns = (events["row"].tolist(), events["column"].tolist(), events["value"].tolist())
        assert list(zip(*columns, strict=True)) == wanted, engine
        assert events["value"].dtype == np.int8
        assert tuple(events["shape"]) == matrix.shape
    for name in ("config", "config_hash", "threshold", "units", "vectors", "density"):
        assert runs["golden"][name] == runs["cycle"][name] == runs["rtl"][name]
    for name in ("cycles", "tokens", "words", "empty_words", "utilisation", "utilisation_words"):
        assert runs["golden"][name] is None
        assert runs["cycle"][name] == runs["rtl"][name] is not None
    assert runs["cycle"]["utilisation"] == len(wanted) / (2 * runs["cycle"]["cycles"])
    assert runs["golden"]["cycles_source"].startswith("none")
    assert runs["cycle"]["cycles_source"].startswith("computed")
    assert runs["rtl"]["cycles_source"].startswith("measured (RTL, Verilator")
    assert runs["rtl"]["simulated_cycles_per_second"] > 0
    assert set(runs["rtl"]["tools"]) >= {"sparsefuse", "amaranth", "verilator"}
    assert runs["rtl"]["seed"] is None


@pytest.mark.parametrize(
    ("operand", "options", "words"),
    [
        (np.ones((2, 3), np.int16), (), ("input", "int8", "int16")),
        (np.ones((2, 3, 1), np.int8), (), ("input", "1 or 2 dimensions", "(2, 3, 1)")),
        (np.int8(3), (), ("input", "1 or 2 dimensions", "()")),
        (np.ones((0, 3), np.int8), (), ("input", "must not be empty", "(0, 3)")),
        (np.ones(0, np.int8), (), ("input", "must not be empty")),
        (np.ones(3, np.int8), ("--threshold", "129"), ("threshold", "0 to 128", "129")),
        (np.ones(3, np.int8), ("--threshold", "-1"), ("threshold", "0 to 128", "-1")),
        (np.ones(3, np.int8), ("--out", "e.npy"), ("e.npy: --out: must end in .npz",)),
        (np.ones(3, np.int8), ("--report", "x.npy"), ("--report: must be another file than",)),
        (np.ones(3, np.int8), ("--out", "r.npz", "--report", "r.npz"), ("must be another file",)),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(
    operand, options, words, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", operand)
    before = Path("x.npy").read_bytes()
    assert main(["detect", "detect", "--input", "x.npy", "--engine", "cycle", *options]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]
    assert Path("x.npy").read_bytes() == before


def test_each_command_refuses_the_other_top_in_one_sentence(tmp_path: Path, capsys) -> None:
    np.save(tmp_path / "x.npy", np.ones((3, 3), np.int8))
    x = str(tmp_path / "x.npy")
    commands = {
        "array": ["matmul", "detect", "--activations", x, "--weights", x, "--engine", "golden"],
        "detect": ["detect", "edge", "--input", x, "--engine", "golden"],
    }
    for wanted, words in commands.items():
        assert main(words) == 2
        message = capsys.readouterr().err
        assert f"{words[1]}: interface.top: must be {wanted}, which is what this works" in message
        assert message.count("\n") == 1
    assert main(["analyze", x, "--config", "detect"]) == 2


def test_an_unknown_engine_is_refused() -> None:
    derived = derive(load("detect", DetectConfig))
    with pytest.raises(BadInput, match="engine: must be one of golden, cycle, rtl, got 'fpga'"):
        run_detection(derived, np.ones(3, np.int8), "fpga")


def test_synth_reports_area_per_unit(config: Path, tmp_path: Path) -> None:
    report = tmp_path / "s.json"
    assert main(["synth", str(config), "--target", "xcup", "--report", str(report)]) == 0
    figures = json.loads(report.read_text())
    assert figures["top"] == "sf_detector_array_u2_w4_k12_q8"
    assert (figures["macs"], figures["units"]) == (None, 2)
    assert figures["lut_per_unit"] == figures["lut"] / 2 > 0
    assert "lut_per_mac" not in figures


def test_the_estimate_of_registers_is_near_what_synthesis_finds(
    config: Path, tmp_path: Path
) -> None:
    report = tmp_path / "s.json"
    arguments = ["synth", str(config), "--target", "xcup", "--top", "--report", str(report)]
    assert main(arguments) == 0
    derived = derive(load(config, DetectConfig))
    measured = json.loads(report.read_text())["ff"]
    assert abs(derived.registers_estimate / measured - 1) < 0.1


def test_the_manual_says_which_commands_work(
    config: Path, tmp_path: Path, monkeypatch, rng: np.random.Generator
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", rng.integers(-128, 128, (5, 40)).astype(np.int8))
    seen = []
    for line in _block("sh").splitlines():
        words = shlex.split(line, comments=True)[1:]
        if words[0] == "simulate":
            # The whole set runs in tests/sim/test_detect_benches.py.
            words += ["--bench", "detect.registers"]
        assert main(words) == 0, line
        seen.append(words[0])
    assert seen == ["init", "generate", "simulate", "synth", "detect"]
    assert load("mine.yaml", DetectConfig) == load("detect", DetectConfig)
    header = Path("build/sparsefuse_registers.h").read_text()
    for address, name in re.findall(r"^\| (0x..) \| `(\w+)` \|", MANUAL, re.M):
        assert f"#define SPARSEFUSE_{name} {address}u" in header


def test_the_manual_shows_what_the_streams_carry() -> None:
    derived = derive(parse(yaml.safe_load(_block("yaml")), "manual", DetectConfig))
    matrix = np.array([line.split() for line in _block("text", 0).splitlines()]).astype(np.int8)
    job = DetectionJob(derived.shape, matrix)
    lines = []
    for unit, words in enumerate(job.words()):
        lines += [_word(unit, words, number) for number in range(len(words.last))]
        events = detect(words, 0)
        for number, packed in enumerate(pack_events(events)):
            row, value = events.k[number], events.value[number]
            meaning = f"row {row}, value {value}" if events.valued[number] else "close token"
            shown = f"TDATA {packed:#010x} TLAST {int(events.last[number])}"
            lines.append(f"unit {unit}: event {shown}   {meaning}")
    assert _block("text", 1).splitlines() == lines


def _word(unit: int, words: RawWords, number: int) -> str:
    data = int.from_bytes(words.data[number].tobytes(), "little")
    keep = sum(int(kept) << i for i, kept in enumerate(words.keep[number]))
    last = int(words.last[number])
    return f"unit {unit}: word  TDATA {data:#010x} TKEEP {keep:#06b} TLAST {last}"
