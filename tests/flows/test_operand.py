"""``matmul --operand run-time``: the three engines, what the selector drops, and refusals."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from flows.cli import main
from flows.operand import operand_table, run_operand
from golden.errors import BadInput
from golden.operators.matmul import matmul
from golden.program.operand import multiply_naive
from golden.selector.selector import Selector
from tests.operands import BUILT, operand_config, random_operand


def heavy_tails(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """Most values small, most of the energy in a few large ones."""
    values = rng.standard_t(3, (depth, outputs)) * 9
    return np.clip(values, -128, 127).astype(np.int8)


def small_and_large(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """Half of the values below 4, with a thousandth of the energy: always worth dropping."""
    large = rng.integers(64, 128, (depth, outputs))
    values = np.where(rng.random(large.shape) < 0.5, rng.integers(1, 4, large.shape), large)
    return (values * rng.choice((-1, 1), large.shape)).astype(np.int8)


@pytest.mark.parametrize(("selector", "budget"), [("exact", None), ("lossy", None), ("lossy", 0.1)])
def test_the_three_engines_agree(selector: str, budget: float | None, rng):
    made = BUILT[selector]
    a = rng.integers(-128, 128, (9, 150)).astype(np.int8)
    operand = small_and_large(rng, 150, 90)
    found = {
        engine: run_operand(made, a, operand, engine, error_budget=budget)
        for engine in ("golden", "cycle", "rtl")
    }
    golden, cycle, rtl = (found[engine] for engine in ("golden", "cycle", "rtl"))
    for other in (cycle, rtl):
        np.testing.assert_array_equal(other.output, golden.output)
        assert other.running_error == golden.running_error
        assert other.error == golden.error
    assert golden.cycles is None
    assert (cycle.cycles, cycle.events) == (rtl.cycles, rtl.events)
    p = made.selector
    assert p is not None
    selecting = Selector(operand_table(made), golden.registers, cycle_bits=p.cycle_bits)
    expected = multiply_naive(golden.jobs[0].deal, p, selecting, operand_table(made), a, operand)
    np.testing.assert_array_equal(golden.output, expected)
    report = rtl.report(made)
    if budget is None:
        np.testing.assert_array_equal(golden.output, matmul(a, operand))
        assert golden.error == report["operand"]["dropped_energy"] == 0
        assert report["macs_effective"] == np.count_nonzero(operand) * len(a)
    else:
        assert golden.error > 0
        assert 0 < report["operand"]["dropped_energy"] < golden.error
        assert report["macs_effective"] < np.count_nonzero(operand) * len(a)
        assert report["operand"]["values_dropped"] > 0


def test_the_running_error_keeps_to_the_budget(rng):
    """Many blocks: the average stays near its budget, and dropping buys cycles.

    Above the budget beta falls by at least 1 per block, with two blocks on their way, and no
    block loses more than beta is worth.
    """
    made = operand_config("lossy")
    a = rng.integers(-128, 128, (4, 512)).astype(np.int8)
    operand = heavy_tails(rng, 512, 600)
    exact = run_operand(made, a, operand, "cycle")
    full = operand_table(made).point("raw", 7, (64, 8))
    assert exact.cycles is not None
    least = most_cycles = exact.cycles
    for budget in (0.05, 0.1, 0.2):
        found = run_operand(made, a, operand, "cycle", error_budget=budget)
        sent = found.report(made)["operand"]
        assert sent["blocks"] > 500
        beta = found.registers.beta
        most = beta * full.cycles / full.blocks / (1 << 16)
        assert sent["running_error"] <= budget**2 + (beta + 3) * most / 64
        # An octave counts as one size, so its energy is known to a factor of four.
        assert sent["dropped_energy"] <= 4 * most
        assert found.error <= 3 * sent["dropped_energy"] ** 0.5
        assert found.cycles is not None
        least = min(least, found.cycles)
    assert least < 0.9 * most_cycles


def test_floats_are_rounded_and_reported_in_real_units(rng):
    made = operand_config("exact")
    a, b = rng.normal(size=(5, 70)), rng.normal(size=(70, 20))
    found = run_operand(made, a, b, "cycle")
    assert np.abs(found.real - a @ b).max() < 0.1 * np.abs(a @ b).max()
    assert 0 < found.error < 0.05


class Files:
    def __init__(self, folder: Path, rng: np.random.Generator) -> None:
        self.folder = folder
        self.a = rng.integers(-128, 128, (6, 70)).astype(np.int8)
        self.b = random_operand(rng, 70, 33)
        np.save(folder / "a.npy", self.a)
        np.save(folder / "b.npy", self.b)

    def run(self, selector: str, *options: str, engine: str = "cycle") -> int:
        intent = operand_config(selector, kernels=["raw", "dense", "bitmap"]).config
        config = self.folder / "config.yaml"
        config.write_text(yaml.safe_dump(json.loads(intent.model_dump_json())))
        operands = ["--activations", str(self.folder / "a.npy")]
        operands += ["--weights", str(self.folder / "b.npy")]
        return main(
            [
                "matmul",
                str(config),
                *operands,
                "--engine",
                engine,
                "--operand",
                "run-time",
                *options,
            ]
        )


@pytest.fixture
def files(tmp_path: Path, rng: np.random.Generator) -> Files:
    return Files(tmp_path, rng)


def test_the_command(files: Files, capsys: Any):
    out, report = files.folder / "o.npy", files.folder / "r.json"
    assert files.run("exact", "--out", str(out), "--report", str(report)) == 0
    np.testing.assert_array_equal(np.load(out), matmul(files.a, files.b))
    figures = json.loads(report.read_text())
    assert figures["cycles"] > 0
    assert figures["weight_bytes"] == 8 * 9 * 33
    assert figures["operand"]["replayed"]
    assert "blocks: raw" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("selector", "options", "message"),
    [
        ("none", (), "schedule.selector: must be exact or lossy for a run-time operand, got none"),
        ("exact", ("--error-budget", "0.1"), "must come with schedule.selector lossy, got exact"),
        ("exact", ("--kernel", "raw"), "kernel: must come with operand stored, got raw"),
        ("exact", ("--drop-zero-activations",), "drop_zero_activations: must come with operand"),
    ],
)
def test_refusals(files: Files, selector: str, options: tuple[str, ...], message: str, capsys: Any):
    assert files.run(selector, *options) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_table_of_stored_kernels_is_refused(rng):
    made = operand_config("exact", kernels=["raw", "dense", "bitmap"])
    a, b = np.ones((1, 4), np.int8), np.ones((4, 1), np.int8)
    table = operand_table(made)
    points = tuple(p for p in table.points if p.kernel != "raw")
    other = table.model_copy(update={"points": points})
    other.__dict__.pop("kernels", None)
    with pytest.raises(BadInput, match="table: must hold the kernel raw, got dense"):
        run_operand(made, a, b, "golden", table=other)
