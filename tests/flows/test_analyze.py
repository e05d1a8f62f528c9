"""`sparsefuse analyze`, and matmul's table, budget and objective, as a user calls them."""

import json

import numpy as np
import pytest

from flows.analysis import analyse_layer, pick_layers
from flows.cli import main
from flows.engines import table_of
from golden.errors import BadInput
from golden.formats import KERNELS
from golden.operators.matmul import matmul_naive
from golden.planner.prices import part_price
from rtl_gen.config import derive, load


def test_a_file_is_analysed_with_report_and_pictures(tmp_path, rng, capsys):
    weights = rng.integers(-128, 128, (70, 33)).astype(np.int8)
    weights[rng.random(weights.shape) < 0.7] = 0
    np.save(tmp_path / "w.npy", weights)
    report, pictures = tmp_path / "r.json", tmp_path / "pictures"
    arguments = ["analyze", str(tmp_path / "w.npy"), "--config", "test", "--report", str(report)]
    assert main([*arguments, "--pictures", str(pictures)]) == 0
    assert "speed" in capsys.readouterr().out
    (layer,) = json.loads(report.read_text())["layers"]
    assert (layer["depth"], layer["outputs"]) == weights.shape
    assert sum(block["occupied"] for block in layer["blocks"]) == np.count_nonzero(weights)
    assert sum(b["depth"] * b["columns"] for b in layer["blocks"]) == weights.size
    assert sum(bucket["blocks"] for bucket in layer["buckets"]) == len(layer["blocks"])
    assert layer["cycles"] == sum(block["cycles"] for block in layer["blocks"])
    names = sorted(path.name for path in pictures.glob("*.png"))
    assert names == ["w.buckets.png", "w.kernels.png", "w.occupancy.png"]
    for name in names:
        assert (pictures / name).read_bytes().startswith(b"\x89PNG")


def test_costs_are_those_of_the_chosen_formats(rng):
    derived = derive(load("test"))
    weights = rng.integers(-128, 128, (64, 16)).astype(np.int8)
    weights[:, :8] = 0
    weights[rng.random(weights.shape) < 0.3] = 0
    figures = analyse_layer("w", weights, derived)
    for block in figures.blocks:
        part = weights[block.row : block.row + block.depth][:, block.column :][:, : block.columns]
        (kernel,) = block.kernels
        floor = derived.shape.group * derived.shape.drain_cycles
        cost = part_price(KERNELS[kernel].configured(derived.shape), part, floor)
        assert (block.cycles, block.bytes) == (cost.cycles, cost.bytes)
        assert block.cycles_dense == 1 + part.size


def test_floats_are_quantised_and_pruned(tmp_path, rng):
    np.save(tmp_path / "w.npy", rng.normal(size=(40, 20)).astype(np.float32))
    report = tmp_path / "r.json"
    arguments = ["analyze", str(tmp_path / "w.npy"), "--config", "test", "--sparsity", "0.5"]
    assert main([*arguments, "--report", str(report)]) == 0
    (layer,) = json.loads(report.read_text())["layers"]
    assert 0.5 <= layer["sparsity"] < 0.6


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (None, ("existing", "no such file")),
        (np.ones((2, 2), np.int64), ("int8", "int64")),
        (np.ones(3, np.int8), ("2 dimensions", "(3,)")),
        (np.array([[1.0, np.nan]]), ("finite", "nan")),
    ],
)
def test_a_bad_file_is_refused(array, words, tmp_path, capsys):
    if array is not None:
        np.save(tmp_path / "w.npy", array)
    report = tmp_path / "r.json"
    assert main(["analyze", str(tmp_path / "w.npy"), "--report", str(report)]) == 2
    message = capsys.readouterr().err
    assert "w.npy" in message
    assert all(word in message for word in words), message
    assert not report.exists()


def test_other_bad_input_is_refused(tmp_path, capsys):
    np.save(tmp_path / "w.npy", np.ones((4, 4), np.int8))
    file = str(tmp_path / "w.npy")
    (tmp_path / "plain").write_text("")
    for arguments, word in (
        (["MiniLM-L6-v3"], "did you mean 'MiniLM-L6-v2'"),
        ([file, "--sparsity", "1.5"], "sparsity: must be a number from 0 to 1"),
        ([file, "--method", "wanda"], "must be magnitude for a file"),
        ([file, "--layers", "2"], "layers: must be left out"),
        ([file, "--report", str(tmp_path / "plain" / "r.json")], "plain"),
    ):
        assert main(["analyze", *arguments]) == 2
        assert word in capsys.readouterr().err


def test_layers_are_picked_by_number_or_pattern():
    names = ["a.q", "a.k", "b.q"]
    assert pick_layers(names, None) == names
    assert pick_layers(names, "2") == ["a.q", "a.k"]
    assert pick_layers(names, "*.q") == ["a.q", "b.q"]
    for wrong in ("0", "nothing"):
        with pytest.raises(BadInput, match="layers"):
            pick_layers(names, wrong)


def _operands(tmp_path, rng):
    a = rng.integers(-128, 128, (6, 70)).astype(np.int8)
    w = np.clip(np.rint(rng.normal(0, 20, (70, 33))), -128, 127).astype(np.int8)
    np.save(tmp_path / "a.npy", a)
    np.save(tmp_path / "w.npy", w)
    files = ["--activations", str(tmp_path / "a.npy"), "--weights", str(tmp_path / "w.npy")]
    return a, w, ["matmul", "test", *files]


@pytest.mark.parametrize("engine", ["golden", "cycle", "rtl"])
def test_auto_uses_the_table_and_is_exact(engine, tmp_path, rng):
    a, w, command = _operands(tmp_path, rng)
    table, out, report = (tmp_path / name for name in ("t.json", "o.npy", "r.json"))
    table.write_text(table_of(derive(load("test"))).model_dump_json())
    options = ["--engine", engine, "--table", str(table), "--out", str(out)]
    assert main([*command, *options, "--objective", "product", "--report", str(report)]) == 0
    assert np.array_equal(np.load(out), matmul_naive(a, w))
    figures = json.loads(report.read_text())
    assert figures["error"] == 0
    selection = figures["selection"]
    assert selection["objective"] == "product"
    singles = [c for c in selection["candidates"] if c["plan"] in ("dense", "bitmap")]
    if engine != "golden":
        product = figures["cycles"] * figures["weight_bytes"]
        assert all(product <= c["cycles"] * c["weight_bytes"] for c in singles)


def test_a_table_of_another_configuration_is_refused(tmp_path, rng, capsys):
    _, _, command = _operands(tmp_path, rng)
    table = tmp_path / "t.json"
    table.write_text(table_of(derive(load("tiny"))).model_dump_json())
    assert main([*command, "--engine", "golden", "--table", str(table)]) == 2
    assert "config_hash" in capsys.readouterr().err
    table.write_text(table.read_text()[:200])
    assert main([*command, "--engine", "golden", "--table", str(table)]) == 2
    assert "whole JSON" in capsys.readouterr().err


def test_the_budget_is_held_and_reported(tmp_path, rng):
    a, w, command = _operands(tmp_path, rng)
    out, report = tmp_path / "o.npy", tmp_path / "r.json"
    options = ["--engine", "cycle", "--error-budget", "0.05"]
    assert main([*command, *options, "--out", str(out), "--report", str(report)]) == 0
    figures = json.loads(report.read_text())
    exact = matmul_naive(a, w).astype(float)
    measured = np.linalg.norm(np.load(out) - exact) / np.linalg.norm(exact)
    assert figures["error"] == pytest.approx(measured)
    assert 0 < measured <= figures["error_budget"] == 0.05
    assert figures["weights_dropped"] > 0
    assert figures["macs_effective"] == 6 * (np.count_nonzero(w) - figures["weights_dropped"])


@pytest.mark.parametrize("budget", ["-0.1", "1.5", "nan"])
def test_a_bad_budget_is_refused(budget, tmp_path, rng, capsys):
    _, _, command = _operands(tmp_path, rng)
    assert main([*command, "--engine", "golden", "--error-budget", budget]) == 2
    assert "error_budget: must be a number from 0 to 1" in capsys.readouterr().err


def test_calibration_needs_a_budget_and_a_fitting_shape(tmp_path, rng, capsys):
    _, _, command = _operands(tmp_path, rng)
    np.save(tmp_path / "c.npy", np.ones((3, 71), np.int8))
    options = ["--engine", "golden", "--calibration", str(tmp_path / "c.npy")]
    assert main([*command, *options]) == 2
    assert "error budget" in capsys.readouterr().err
    assert main([*command, *options, "--error-budget", "0.1"]) == 2
    assert "(3, 71)" in capsys.readouterr().err
