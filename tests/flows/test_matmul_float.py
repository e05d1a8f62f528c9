"""``matmul`` with float operands and with an error budget, recomputed from its files."""

import json
from pathlib import Path

import numpy as np
import pytest

from flows.cli import main
from golden.numerics.quantise import quantise_activations, quantise_weights


def operands(seed: int, tokens: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Correlated activations and normal weights, float64."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(0, 1, (10, 64))
    activations = rng.normal(0, 1, (tokens, 10)) @ mix + rng.normal(0, 0.2, (tokens, 64))
    return activations, rng.normal(0, 0.05, (64, 24))


def run(folder: Path, a: np.ndarray, w: np.ndarray, *options: str) -> tuple[int, dict, np.ndarray]:
    np.save(folder / "a.npy", a)
    np.save(folder / "w.npy", w)
    out, report = folder / "o.npy", folder / "r.json"
    files = ["--activations", str(folder / "a.npy"), "--weights", str(folder / "w.npy")]
    files += ["--out", str(out), "--report", str(report)]
    status = main(["matmul", "test", *files, *options])
    if status:
        assert not out.exists()
        assert not report.exists()
        return status, {}, np.empty(0)
    return status, json.loads(report.read_text()), np.load(out)


def relative(got: np.ndarray, exact: np.ndarray) -> float:
    return float(np.linalg.norm(got - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize(
    ("left", "right"), [("float32", "float64"), ("float64", "int8"), ("int8", "float32")]
)
def test_float_operands_are_rounded_and_the_output_is_real(left, right, tmp_path, seed):
    a, w = operands(seed)
    a = np.rint(a * 8).clip(-128, 127).astype(np.int8) if left == "int8" else a.astype(left)
    w = np.rint(w * 500).clip(-128, 127).astype(np.int8) if right == "int8" else w.astype(right)
    status, report, out = run(tmp_path, a, w, "--engine", "cycle")
    assert status == 0
    assert out.dtype == np.float32
    x, s = (a, np.ones(40)) if left == "int8" else quantise_activations(a, per="token")
    q, t = (w, np.ones(24)) if right == "int8" else quantise_weights(w)
    want = (x.astype(np.int64) @ q.astype(np.int64)) * s[:, None].astype(float) * t.astype(float)
    np.testing.assert_allclose(out, want, rtol=1e-6)
    exact = a.astype(np.float64) @ w.astype(np.float64)
    assert report["error_reference"] == "float product"
    assert report["error"] == report["error_quantisation"]
    assert report["error"] == pytest.approx(relative(want, exact))
    assert 0 < report["error"] < 0.02


@pytest.mark.parametrize("more", [(), ("--no-equalise",)])
@pytest.mark.parametrize("engine", ["golden", "cycle"])
def test_the_budget_holds_against_the_float_product(engine, more, tmp_path, seed):
    a, w = operands(seed)
    status, report, out = run(tmp_path, a, w, "--engine", engine, "--error-budget", "0.04", *more)
    assert status == 0
    measured = relative(out.astype(np.float64), a @ w)
    assert report["error"] == pytest.approx(measured, rel=1e-4)
    assert measured <= 0.04 * (1 + 1e-6)
    assert report["error_quantisation"] < report["error"]
    # The same tokens, but what was written is in float32.
    assert report["error"] == pytest.approx(report["error_calibration"], rel=1e-6)
    assert report["weights_dropped"] > 0
    assert report["weights_changed"] > 0
    assert report["tokens_held_out"] == 0
    plain, scale = quantise_weights(w)
    x, s = quantise_activations(a, per="token")
    rounded = (x * s[:, None].astype(float)) @ (plain * scale.astype(float))
    assert report["error_quantisation"] == pytest.approx(relative(rounded, a @ w))
    if more:
        assert not report["equalised"]
        assert report["error_equalised"] == report["error_quantisation"]
        occupied = np.count_nonzero(plain)
        assert report["macs_effective"] == 40 * (occupied - report["weights_dropped"])
        assert (report["divisor_least"], report["divisor_most"]) == (1.0, 1.0)


def test_the_scales_file_has_what_it_takes_to_use_the_weights(tmp_path, seed):
    a, w = operands(seed, 300)
    loud = np.exp(np.random.default_rng(seed).normal(0, 1, 64))
    a, w = a * loud, w / loud[:, None]
    a[:, 5] = w[9] = 0
    np.save(tmp_path / "x.npy", a[:200])
    scales = tmp_path / "s.npz"
    options = ["--engine", "golden", "--error-budget", "0.03", "--scales", str(scales)]
    options += ["--calibration", str(tmp_path / "x.npy")]
    status, report, out = run(tmp_path, a[200:], w, *options)
    assert status == 0
    assert report["equalised"]
    assert report["error_equalised"] < report["error_quantisation"]
    with np.load(scales) as found:
        weights, columns = found["weights"], found["weight_scale"]
        rows, divisors = found["activation_scale"], found["divisors"]
    assert weights.dtype == np.int8
    assert (report["divisor_least"], report["divisor_most"]) == (divisors.min(), divisors.max())
    assert np.count_nonzero(weights) * 100 == report["macs_effective"]

    def product(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        divided = activations / divisors
        step = np.abs(divided).max(axis=1) / 127
        rounded = np.rint(divided / step[:, None])
        return rounded @ weights.astype(np.float64) * step[:, None] * columns, step

    again, steps = product(a[200:])
    np.testing.assert_allclose(steps, rows, rtol=1e-6)
    np.testing.assert_allclose(out, again, rtol=1e-3, atol=1e-3 * np.abs(again).max())
    assert report["error"] == pytest.approx(relative(again, a[200:] @ w), rel=1e-2)
    # The budget holds on all calibration tokens and on those held out, recomputed from the file.
    for part in (a[:200], a[160:200]):
        assert relative(product(part)[0], part @ w) <= 0.03 * (1 + 1e-3)
    error = relative(product(a[:200])[0], a[:200] @ w)
    assert report["error_calibration"] == pytest.approx(error, rel=1e-2)


def test_scales_of_int8_operands_are_ones(tmp_path, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(-128, 128, (9, 40)).astype(np.int8)
    w = rng.integers(-128, 128, (40, 12)).astype(np.int8)
    scales = tmp_path / "s.npz"
    options = ["--engine", "golden", "--error-budget", "0.1", "--scales", str(scales)]
    _, report, out = run(tmp_path, a, w, *options)
    assert not report["equalised"]
    with np.load(scales) as found:
        for name, size in (("weight_scale", 12), ("activation_scale", 9), ("divisors", 40)):
            assert np.array_equal(found[name], np.ones(size))
        assert np.array_equal(a.astype(np.int32) @ found["weights"].astype(np.int32), out)


def test_a_calibration_file_is_partly_held_out(tmp_path, seed):
    a, w = operands(seed, 300)
    np.save(tmp_path / "x.npy", a[:200])
    options = ["--engine", "golden", "--error-budget", "0.05"]
    options += ["--calibration", str(tmp_path / "x.npy")]
    status, report, out = run(tmp_path, a[200:], w, *options)
    assert status == 0
    assert report["tokens_held_out"] == 40
    assert report["error_calibration"] <= 0.05
    assert report["error"] == pytest.approx(relative(out.astype(np.float64), a[200:] @ w), rel=1e-4)


def test_int8_operands_keep_their_int32_output(tmp_path, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(-128, 128, (9, 40)).astype(np.int8)
    w = rng.integers(-128, 128, (40, 12)).astype(np.int8)
    exact = a.astype(np.int64) @ w.astype(np.int64)
    _, report, out = run(tmp_path, a, w, "--engine", "golden")
    assert out.dtype == np.int32
    assert np.array_equal(out, exact)
    assert report["error"] == report["error_quantisation"] == 0
    assert report["error_reference"] == "int8 product"
    _, report, out = run(tmp_path, a, w, "--engine", "golden", "--error-budget", "0")
    assert np.array_equal(out, exact)
    _, report, out = run(tmp_path, a, w, "--engine", "golden", "--error-budget", "0.1")
    assert out.dtype == np.int32
    assert report["error"] == pytest.approx(relative(out.astype(np.float64), exact))
    assert report["error"] <= 0.1


def test_a_budget_below_rounding_fails_and_names_both_errors(tmp_path, seed, capsys):
    a, w = operands(seed)
    status, _, _ = run(tmp_path, a, w, "--engine", "golden", "--error-budget", "0.0001")
    assert status == 1
    message = capsys.readouterr().err
    assert "at most 0.0100%" in message
    assert "in plain INT8" in message
    assert "compensated" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"a": np.full((3, 4), np.nan)}, ("a.npy", "activations", "finite", "[0, 0]")),
        ({"w": np.full((4, 2), np.inf, np.float32)}, ("w.npy", "weights", "finite")),
        ({"a": np.ones((3, 4), np.float16)}, ("activations", "int8, float32 or float64", "got fl")),
        ({"w": np.ones((4, 2), np.int32)}, ("weights", "int8, float32 or float64", "int32")),
        ({"w": np.ones((4, 2), np.complex64)}, ("weights", "got complex64")),
        ({"a": np.ones((3, 5))}, ("K must agree", "(3, 5)", "(4, 2)")),
        ({"a": np.full((3, 4), 1e300)}, ("activations", "float32 scale")),
        ({"x": np.ones((3, 4), np.int8)}, ("x.npy", "calibration", "int8 or float as")),
        ({"x": np.full((3, 4), np.nan)}, ("x.npy", "calibration", "finite")),
    ],
)
def test_bad_float_operands_are_named(change, words, tmp_path, capsys):
    arrays = {"a": np.ones((3, 4)), "w": np.ones((4, 2)), **change}
    options = ["--engine", "golden"]
    if "x" in arrays:
        np.save(tmp_path / "x.npy", arrays["x"])
        options += ["--error-budget", "0.1", "--calibration", str(tmp_path / "x.npy")]
    assert run(tmp_path, arrays["a"], arrays["w"], *options)[0] == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words), message


@pytest.mark.parametrize("exponent", [-36, -30, 0, 30, 38])
def test_the_error_is_that_of_the_file_at_any_magnitude(exponent, tmp_path, seed):
    """The product's largest value is 10 to the power of ``exponent``."""
    a, w = operands(seed)
    factor = 10.0 ** (exponent / 2) / np.sqrt(np.abs(a @ w).max())
    a, w = a * factor, w * factor
    status, report, out = run(tmp_path, a, w, "--engine", "golden")
    assert status == 0
    assert np.isfinite(out).all()
    unit = 10.0**exponent
    measured = relative(out.astype(np.float64) / unit, a @ w / unit)
    assert report["error"] == report["error_quantisation"] == pytest.approx(measured, rel=1e-6)
    assert 0 < report["error"] < 0.02


def test_weights_too_small_for_a_scale_count_as_lost(tmp_path, seed):
    """Their scale would not be a normal float32 number: all are rounded to zero."""
    a, w = operands(seed)
    status, report, out = run(tmp_path, a * 1e36, w * 1e-38, "--engine", "golden")
    assert status == 0
    assert not out.any()
    assert report["error"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("left", "right"),
    [(1e20, 1e20), (3e38, 2.0), (1e-20, 1e-20), (1e-160, 1e-170), (1e-300, 1e-300), (1e-44, 1.0)],
)
@pytest.mark.parametrize("budget", [(), ("--error-budget", "0.1")])
def test_products_beyond_float32_are_refused(left, right, budget, tmp_path, capsys):
    a, w = np.full((3, 4), left), np.full((4, 2), right)
    w[0, 0] = -w[0, 0]
    assert run(tmp_path, a, w, "--engine", "golden", *budget)[0] == 2
    message = capsys.readouterr().err
    assert "product: must have a largest value that float32 holds" in message
    assert message.count("\n") == 1


def test_rounding_may_not_lift_a_product_beyond_float32(tmp_path, capsys):
    limit = float(np.finfo(np.float32).max)
    # 1.5 steps of the weights' scale round to 2.
    w = np.array([[127.0], [1.5]])
    a = np.array([[0.0, limit / 1.5 * 0.99]])
    assert run(tmp_path, a, w, "--engine", "golden")[0] == 2
    assert "product: must fit float32 as rounded to int8 too" in capsys.readouterr().err


def test_products_that_are_zero_have_no_error(tmp_path):
    a, w = np.eye(4)[:2], np.diag([0.0, 0.0, 0.5, 1.0])
    status, report, out = run(tmp_path, a, w, "--engine", "golden")
    assert status == 0
    assert not out.any()
    assert report["error"] == 0
