"""The commands as a user calls them: exit status, files, messages."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from constraints.presets import preset_text
from flows.cli import main
from golden.operators.matmul import matmul_naive


def _save(folder: Path, activations: np.ndarray, weights: np.ndarray) -> list[str]:
    np.save(folder / "a.npy", activations)
    np.save(folder / "w.npy", weights)
    return ["--activations", str(folder / "a.npy"), "--weights", str(folder / "w.npy")]


def _digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_generate_writes_a_complete_folder_and_the_same_one_again(tmp_path: Path) -> None:
    assert main(["generate", "mid", "--out", str(tmp_path / "one")]) == 0
    command = [sys.executable, "-P", "-m", "flows.cli", "generate", "mid", "--out", "two"]
    environment = {"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    first, second = _digest(tmp_path / "one"), _digest(tmp_path / "two")
    assert first == second
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    for name in [*manifest["files"], *manifest["constraints"], "registers.md", "files.f"]:
        assert name in first
    text = (tmp_path / "one" / "sparsefuse.v").read_text()
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text
    assert f"module {manifest['top']}(" in text
    assert f"module {manifest['array']}(" in text
    header = (tmp_path / "one" / "sparsefuse_registers.h").read_text()
    assert "#define SPARSEFUSE_CONTROL 0x10u" in header


def test_generate_refuses_a_folder_of_others(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    assert main(["generate", "test", "--out", str(tmp_path)]) == 2
    assert "mine.txt" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("engine", ["golden", "cycle", "rtl"])
def test_matmul_is_exact_on_every_engine(engine: str, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(-128, 128, (6, 37)).astype(np.int8)
    w = rng.integers(-128, 128, (37, 11)).astype(np.int8)
    w[rng.random(w.shape) < 0.6] = 0
    out, report = tmp_path / "o.npy", tmp_path / "r.json"
    files = _save(tmp_path, a, w)
    options = ["--engine", engine, "--out", str(out), "--report", str(report)]
    assert main(["matmul", "test", *files, *options]) == 0
    output = np.load(out)
    assert output.dtype == np.int32
    assert np.array_equal(output, matmul_naive(a, w))
    figures = json.loads(report.read_text())
    assert figures["macs_dense"] == 6 * 37 * 11
    assert figures["macs_effective"] == 6 * int(np.count_nonzero(w))
    assert (figures["cycles"] is None) == (engine == "golden")
    for field in ("config", "config_hash", "tools", "seed", "events", "multipliers"):
        assert field in figures


def test_cycle_and_rtl_report_the_same_cycles(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(-128, 128, (9, 70)).astype(np.int8)
    w = rng.integers(-128, 128, (70, 33)).astype(np.int8)
    w[rng.random(w.shape) < 0.8] = 0
    files = _save(tmp_path, a, w)
    figures = {}
    for engine in ("cycle", "rtl"):
        report = tmp_path / f"{engine}.json"
        arguments = ["matmul", "test", *files, "--engine", engine, "--kernel", "bitmap"]
        assert main([*arguments, "--report", str(report)]) == 0
        figures[engine] = json.loads(report.read_text())
    for field in ("cycles", "events", "weight_bytes"):
        assert figures["cycle"][field] == figures["rtl"][field]


_GOOD = np.ones((2, 3), np.int8)


@pytest.mark.parametrize(
    ("a", "w", "words"),
    [
        (np.ones((2, 3), np.int16), np.ones((3, 2), np.int8), ("activations", "int8", "int16")),
        (_GOOD, np.ones((3, 2), np.float16), ("weights", "int8", "float16")),
        (_GOOD, np.ones((4, 2), np.int8), ("K", "(2, 3)", "(4, 2)")),
        (_GOOD, np.ones(3, np.int8), ("weights", "2 dimensions")),
        (np.ones((0, 3), np.int8), np.ones((3, 2), np.int8), ("activations", "empty")),
    ],
)
def test_matmul_names_what_is_wrong(
    a: np.ndarray,
    w: np.ndarray,
    words: tuple[str, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    files = _save(tmp_path, a, w)
    out = tmp_path / "o.npy"
    assert main(["matmul", "test", *files, "--engine", "golden", "--out", str(out)]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not out.exists()


def test_matmul_refuses_a_kernel_the_array_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = _save(tmp_path, _GOOD, np.ones((3, 2), np.int8))
    assert main(["matmul", "mid", *files, "--engine", "golden", "--kernel", "nm"]) == 2
    assert "nm" in capsys.readouterr().err


@pytest.fixture
def raw_alone(tmp_path: Path) -> str:
    """A configuration whose only kernel is for run-time operands."""
    config = yaml.safe_load(preset_text("test"))
    config["schedule"]["kernels"] = ["raw"]
    path = tmp_path / "raw.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_matmul_on_an_array_for_run_time_operands_alone(raw_alone: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    a, w = rng.integers(-128, 128, (7, 50)), rng.integers(-128, 128, (50, 9))
    files = _save(tmp_path, a.astype(np.int8), w.astype(np.int8))
    out, report = tmp_path / "o.npy", tmp_path / "r.json"
    written = ["--out", str(out), "--report", str(report)]
    assert main(["matmul", raw_alone, *files, "--engine", "cycle", *written]) == 0
    np.testing.assert_array_equal(np.load(out), a @ w)
    assert json.loads(report.read_text())["kernel"] == "raw"


def test_what_needs_a_choice_of_kernels_says_so(
    raw_alone: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = _save(tmp_path, np.ones((4, 8), np.float32), np.ones((8, 2), np.float32))
    budget = ["--error-budget", "0.1"]
    assert main(["matmul", raw_alone, *files, "--engine", "golden", *budget]) == 2
    assert "schedule.kernels: must hold one of dense" in capsys.readouterr().err


def test_missing_compiler_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    files = _save(tmp_path, _GOOD, np.ones((3, 2), np.int8))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["matmul", "test", *files, "--engine", "rtl"]) == 2
    assert "apt install g++" in capsys.readouterr().err


def test_synth_reports_measured_area(tmp_path: Path) -> None:
    report = tmp_path / "s.json"
    assert main(["synth", "test", "--target", "xcup", "--report", str(report)]) == 0
    figures = json.loads(report.read_text())
    assert figures["measured"] is True
    assert figures["top"] == "sf_array"
    assert figures["macs"] == 16
    assert figures["lut"] > 0
    assert figures["tool"].startswith("Yosys")


def test_bench_refuses_an_unknown_name(capsys: pytest.CaptureFixture) -> None:
    assert main(["bench", "spasity"]) == 2
    assert "sparsity" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        ("matmul", ("--out", "r.json", "--report", "r.json"), "--report: must be another file"),
        ("matmul", ("--out", "a.npy"), "a.npy: --out: must not be a file that is read"),
        ("matmul", ("--scales", "w.npy"), "got that of --weights"),
        ("matmul", ("--report", "c.yaml"), "got that of CONFIG"),
        ("analyze", ("--report", "p", "--pictures", "p"), "--pictures: must be another file"),
        ("analyze", ("--report", "w.npy"), "got that of MODEL|W.npy"),
        ("simulate", ("--waves", "s.vcd", "--report", "s.vcd"), "--waves: must be another"),
        ("simulate", ("--report", "c.yaml"), "got that of CONFIG"),
        ("synth", ("--report", "c.yaml"), "got that of CONFIG"),
    ],
)
def test_no_output_overwrites_another_or_an_input(
    command: str,
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    files = _save(Path(), _GOOD, np.ones((3, 2), np.int8))
    Path("c.yaml").write_text(preset_text("test"))
    before = _digest(tmp_path)
    given = {
        "matmul": ("c.yaml", *files, "--engine", "golden"),
        "analyze": ("w.npy", "--config", "c.yaml"),
        "simulate": ("c.yaml",),
        "synth": ("c.yaml", "--target", "xcup"),
    }
    assert main([command, *given[command], *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert _digest(tmp_path) == before
