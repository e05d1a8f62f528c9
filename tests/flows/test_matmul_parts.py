"""``matmul --scales-per-part``: files, reports and refusals, on all three engines."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from flows.cli import main
from golden.numerics.quantise import quantise_activations, quantise_weights

CONFIG = """
name: fused
target: {device: generic, clock_mhz: 100}
schedule:
  unroll: {m: 4, n: 4, k: 1}
  tile: {m: 4, n: 64, k: 32}
  kernels: [dense, bitmap]
  group: 2
  fusion: true
interface: {top: array, data_bits: 64}
"""
MANUAL = Path(__file__).parents[2] / "docs" / "fusion.md"
WIDE = ("--part-bytes", "1.5", "--part-cycles", "1.5")


def operands(rng: np.random.Generator, tokens: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Activations and half-empty weights whose rows differ in loudness, float64."""
    weights = rng.normal(size=(96, 12)) * np.exp(rng.normal(0, 0.8, (96, 1)))
    weights[rng.random(weights.shape) < 0.5] = 0
    return rng.normal(size=(tokens, 96)), weights


def run(
    folder: Path, a: np.ndarray, w: np.ndarray, *options: str, config: str = CONFIG
) -> tuple[int, dict, np.ndarray]:
    (folder / "fused.yaml").write_text(config)
    np.save(folder / "a.npy", a)
    np.save(folder / "w.npy", w)
    out, report = folder / "o.npy", folder / "r.json"
    out.unlink(missing_ok=True)
    report.unlink(missing_ok=True)
    files = ["--activations", str(folder / "a.npy"), "--weights", str(folder / "w.npy")]
    files += ["--out", str(out), "--report", str(report)]
    status = main(["matmul", str(folder / "fused.yaml"), *files, *options])
    if status:
        assert not out.exists()
        assert not report.exists()
        return status, {}, np.empty(0)
    return status, json.loads(report.read_text()), np.load(out)


def relative(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def test_all_engines_agree_and_the_report_is_true(tmp_path, rng, capsys):
    a, w = operands(rng)
    found = {}
    for engine in ("golden", "cycle", "rtl"):
        status, report, out = run(tmp_path, a, w, "--engine", engine, "--scales-per-part", *WIDE)
        assert status == 0
        found[engine] = report, out
    report, out = found["golden"]
    for other, _ in (found["cycle"], found["rtl"]):
        assert other["scales_per_part"] == report["scales_per_part"]
    np.testing.assert_array_equal(found["cycle"][1], out)
    np.testing.assert_array_equal(found["rtl"][1], out)
    assert found["rtl"][0]["cycles"] == found["cycle"][0]["cycles"]
    assert found["rtl"][0]["events"] == found["cycle"][0]["events"]
    # Errors, recomputed from the operands and the output.
    assert report["error"] == pytest.approx(relative(out.astype(np.float64), a @ w), rel=1e-4)
    x, steps = quantise_activations(a, per="token")
    q, scale = quantise_weights(w)
    inputs = x * steps[:, None].astype(float)
    plain = inputs @ (q * scale.astype(float))
    assert report["error_quantisation"] == pytest.approx(relative(plain, a @ w))
    parts = report["scales_per_part"]
    assert parts["parts"] == len(parts["part_rows"]) >= 3
    assert parts["change"] == pytest.approx(relative(out.astype(np.float64), plain), rel=1e-3)
    assert parts["error_weights_one_scale"] == pytest.approx(relative(plain, inputs @ w))
    assert parts["error_weights"] < parts["error_weights_one_scale"]
    assert parts["weight_bytes"] == report["weight_bytes"]
    assert parts["weight_bytes"] <= 1.5 * parts["weight_bytes_one_scale"]
    assert parts["cycles"] == found["cycle"][0]["cycles"] <= 1.5 * parts["cycles_one_scale"]
    # One scale is what the same command takes without the option.
    _, single, _ = run(tmp_path, a, w, "--engine", "cycle")
    assert single["scales_per_part"] is None
    assert parts["weight_bytes_one_scale"] == single["weight_bytes"]
    assert parts["cycles_one_scale"] == single["cycles"]
    # That of one scale is measured on the float32 file.
    assert single["error"] == pytest.approx(report["error_quantisation"], rel=1e-6)
    assert "scales per part" in capsys.readouterr().out


def test_the_scales_file_has_what_it_takes_to_use_the_weights(tmp_path, rng):
    a, w = operands(rng)
    w[7] = 0
    scales = tmp_path / "s.npz"
    options = ["--engine", "golden", "--scales-per-part", *WIDE, "--scales", str(scales)]
    status, report, out = run(tmp_path, a, w, *options)
    assert status == 0
    with np.load(scales) as found:
        part = found["part_of_row"]
        real = found["weights"] * found["weight_scale"] * found["part_weights"][part] / 32768
        rows = found["activation_scale"]
        assert found["part_weights"].shape == (report["scales_per_part"]["parts"], 12)
        assert (found["part_weights"].sum(axis=0) == 32768).all()
        unit = rows[:, None] * found["weight_scale"]
    x, _ = quantise_activations(a, per="token")
    # What the file says is the product, but for one rounding to a unit of S.
    assert (np.abs(out - (x * rows[:, None]) @ real) <= 0.501 * unit + 1e-6 * np.abs(out)).all()
    step = np.abs(real[w != 0] - w[w != 0]).max()
    assert step < 0.02 * np.abs(w).max()


def test_calibration_chooses_the_scales(tmp_path, rng):
    a, w = operands(rng)
    np.save(tmp_path / "x.npy", rng.normal(size=(50, 96)) * rng.gamma(0.5, 1.0, 96))
    options = ["--engine", "golden", "--scales-per-part", *WIDE]
    _, own, _ = run(tmp_path, a, w, *options)
    _, other, out = run(tmp_path, a, w, *options, "--calibration", str(tmp_path / "x.npy"))
    errors = "error_weights", "error_weights_one_scale"
    assert all(own["scales_per_part"][e] != other["scales_per_part"][e] for e in errors)
    assert other["error"] == pytest.approx(relative(out.astype(np.float64), a @ w), rel=1e-4)


@pytest.mark.parametrize("kind", ["zeros", "one row", "one column", "int8 activations", "silent"])
def test_corner_operands(kind, tmp_path, rng):
    a, w = operands(rng)
    options = ["--engine", "cycle", "--scales-per-part", *WIDE]
    if kind == "zeros":
        w[:] = 0
    elif kind == "one row":
        a, w = a[:, :1], w[:1] + 0.5
    elif kind == "one column":
        w = w[:, :1]
    elif kind == "int8 activations":
        a = np.full_like(a, -128).astype(np.int8)
    else:
        a[:, ::3] = 0
        options.append("--drop-zero-activations")
    status, report, out = run(tmp_path, a, w, *options)
    assert status == 0
    if kind == "zeros":
        assert not out.any()
        assert report["error"] == 0
    else:
        # The file is float32, which is all that is left of the error of a single row.
        error = relative(out.astype(float), a @ w)
        assert report["error"] == pytest.approx(error, rel=1e-3, abs=1e-7)
    if kind in ("zeros", "one row"):
        assert report["scales_per_part"]["parts"] == 1
        assert report["scales_per_part"]["change"] == 0
        assert report["error"] == report["error_quantisation"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"w": np.ones((96, 12), np.int8)}, ("weights", "must be float", "int8")),
        ({"config": CONFIG.replace("true", "false")}, ("schedule.fusion", "must be true", "false")),
        ({"config": CONFIG.replace("n: 4, k: 1", "n: 4, k: 2")}, ("schedule.unroll.k", "got 2")),
        ({"more": ("--error-budget", "0.1")}, ("scales_per_part", "without an error budget")),
        ({"more": ("--part-bytes", "0.9")}, ("part_bytes", "at least 1", "0.9")),
        ({"more": ("--part-cycles", "nan")}, ("part_cycles", "at least 1", "nan")),
        ({"w": np.full((96, 12), 1e300)}, ("weights", "float32 scale")),
    ],
)
def test_what_parts_cannot_go_with_is_refused_in_one_sentence(change, words, tmp_path, rng, capsys):
    a, w = operands(rng)
    options = ("--engine", "golden", "--scales-per-part", *change.get("more", ()))
    config = change.get("config", CONFIG)
    status, _, _ = run(tmp_path, a, change.get("w", w), *options, config=config)
    assert status == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert len(message.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--part-bytes", "--part-cycles"])
def test_a_limit_alone_is_refused(option, tmp_path, rng, capsys):
    status, _, _ = run(tmp_path, *operands(rng), "--engine", "golden", option, "1.2")
    assert status == 2
    assert "must come with --scales-per-part" in capsys.readouterr().err


def test_the_manuals_example(tmp_path, monkeypatch, capsys):
    section = MANUAL.read_text().split("## Parts with scales of their own")[1].split("\n## ")[0]
    blocks = {
        language: re.findall(rf"```{language}\n(.*?)```", section, re.DOTALL)
        for language in ("yaml", "python", "sh", "text")
    }
    monkeypatch.chdir(tmp_path)
    Path("fused.yaml").write_text(blocks["yaml"][0])
    made, used = blocks["python"]
    exec(compile(made, str(MANUAL), "exec"), {})
    (command,) = blocks["sh"]
    program, *arguments = shlex.split(command)
    assert program == "sparsefuse"
    assert main(arguments) == 0
    capsys.readouterr()
    exec(compile(used, str(MANUAL), "exec"), {})
    assert capsys.readouterr().out == blocks["text"][0]
