"""The cocotb benches: they pass on both simulators, and fail on an array that is broken."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import yaml

from constraints.devices import devices
from constraints.presets import preset_text
from flows import cli
from flows.cache import cache_folder
from flows.commands import simulate as command
from flows.generate import MANIFEST, generate, simulation_sources
from golden.errors import BadInput
from golden.formats import KERNELS
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from rtl_gen.config import derive, load
from sim.benches import BENCHES, Outcome, run_benches
from sim.benches.model import ArrayModel
from sim.benches.stimulus import fitted
from tests.sim.icarus import QUICK, needs_icarus

# What each mutant changes in the Verilog, wherever it occurs.
MUTANTS = {
    "wrap counter dropped": (r"kept_wrap <= [^;]*;", "kept_wrap <= 0;"),
    "lowest bit of one lane lost": (r"unpacked1 <= ([^;]*);", r"unpacked1 <= \1 & ~1;"),
}


@pytest.fixture(scope="module")
def derived():
    return derive(load("test"))


def _run_command(tmp_path, monkeypatch, simulator, seed, config="test", benches=()):
    """Run benches through the command line, where folders of the user's have our names."""
    user = tmp_path / "user"
    for name in ("sim", "flows", "golden", "cocotb"):
        (user / name).mkdir(parents=True)
        (user / name / "__init__.py").write_text("raise ImportError('not the package')\n")
    monkeypatch.chdir(user)
    arguments = ["simulate", config, "--simulator", simulator, "--seed", str(seed)]
    arguments += [option for bench in benches for option in ("--bench", bench)]
    status = cli.main([*arguments, "--report", "r.json"])
    report = json.loads((user / "r.json").read_text())
    failures = [test for test in report["tests"] if not test["passed"]]
    assert failures == []
    assert status == 0
    assert report["seed"] == seed
    assert {test["bench"] for test in report["tests"]} == set(benches or BENCHES)
    assert report["passed"] == len(report["tests"])
    assert all(test["cycles"] > 0 for test in report["tests"] if test["test"] != "coverage")
    assert report["tools"]["cocotb"]
    assert report["tools"][simulator]
    return report


@pytest.mark.slow
def test_all_benches_pass_on_verilator(tmp_path, monkeypatch, cache, seed):
    report = _run_command(tmp_path, monkeypatch, "verilator", seed)
    assert f"--seed {seed}" in report["replay"]
    assert "seed" in (cache / "simulate" / "test-verilator.log").read_text()


@pytest.mark.slow
@needs_icarus
def test_all_benches_pass_on_icarus(tmp_path, monkeypatch, cache, seed):
    assert _run_command(tmp_path, monkeypatch, "icarus", seed)["passed"]


@pytest.mark.slow
def test_every_kernel_passes_its_benches(tmp_path, monkeypatch, cache, seed):
    benches = ("formats", "bad_program", "cycle_count")
    report = _run_command(tmp_path, monkeypatch, "verilator", seed, "kernels", benches)
    tests = {(test["bench"], test["test"]) for test in report["tests"]}
    for kernel in load("kernels").schedule.kernels:
        assert ("formats", f"structures/kernel={kernel}") in tests


@pytest.mark.slow
def test_another_pattern_of_n_in_m_passes(tmp_path, monkeypatch, cache, seed):
    config = yaml.safe_load(preset_text("kernels"))
    config["schedule"] |= {"kernels": ["nm"], "formats": {"nm": {"n": 4, "m": 8}}}
    path = tmp_path / "nm.yaml"
    path.write_text(yaml.safe_dump(config))
    report = _run_command(tmp_path, monkeypatch, "verilator", seed, str(path), ("formats",))
    assert "structures/kernel=nm" in {test["test"] for test in report["tests"]}


def _random_intent(rng, kernel):
    """A small configuration with ``kernel`` among its own, all else drawn."""

    def one_of(*values):
        return rng.choice(values).item()

    group, nm_m, m = one_of(1, 2, 3), one_of(2, 4, 8, 16), one_of(2, 4, 8)
    n = group * one_of(1, 2)
    others = rng.permutation(list(KERNELS))[: rng.integers(0, 3)].tolist()
    return {
        "name": "drawn",
        "target": {"device": one_of(*devices())},
        "schedule": {
            "unroll": {"m": m, "n": n},
            "tile": {"m": m, "n": n * one_of(1, 2, 3), "k": one_of(16, 32, 64)},
            "kernels": list(dict.fromkeys([kernel, *others])),
            "fusion": one_of(False, True),
            "selector": one_of("none", "exact", "lossy"),
            "group": group,
            "formats": {
                "gap_bits": one_of(3, 4, 5, 8),
                "nm": {"n": int(rng.integers(1, nm_m)), "m": nm_m},
                "block_rows": one_of(1, 2, 4, 8, 16),
            },
            "buffers": {"activation_tiles": one_of(2, 4), "event_queue": one_of(2, 4, 8)},
        },
        "interface": {
            "data_bits": one_of(64, 128, 256),
            "activation_bits": one_of(0, 64, 128, 256) or "auto",
            "result_bits": one_of(0, 64, 128, 256) or "auto",
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["raw", "any"])
def test_random_configurations_pass_their_benches(tmp_path, monkeypatch, cache, seed, rng, kernel):
    """Every accepted configuration passes; seeds try others."""
    first = rng.choice(list(KERNELS)).item() if kernel == "any" else kernel
    for _ in range(1000):
        path = tmp_path / "drawn.yaml"
        path.write_text(yaml.safe_dump(_random_intent(rng, first)))
        try:
            derive(load(str(path)))
            break
        except BadInput:
            continue
    else:
        pytest.fail("no configuration of 1000 was accepted")
    print(path.read_text())
    report = _run_command(tmp_path, monkeypatch, "verilator", seed, str(path))
    assert report["config"] == load(str(path)).model_dump(mode="json")


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_product_bench_kills_a_broken_array(tmp_path, derived, seed, mutant):
    folder = generate(derived, tmp_path / "rtl")
    manifest = json.loads((folder / MANIFEST).read_text())
    pattern, replacement = MUTANTS[mutant]
    verilog = folder / "sparsefuse.v"
    text, count = re.subn(pattern, replacement, verilog.read_text())
    assert count, "the mutant changes nothing: the Verilog no longer reads like this"
    verilog.write_text(text)
    (tmp_path / "sim").mkdir()
    outcomes = run_benches(
        simulation_sources(folder, manifest),
        derived.shape,
        int(derived.config_hash[:8], 16),
        folder=tmp_path / "sim",
        simulator=QUICK,
        seed=seed,
        benches=("product",),
        cache=cache_folder("verilator"),
        only="size=exact",
    )
    failed = [outcome for outcome in outcomes if not outcome.passed]
    assert any("model says" in outcome.message for outcome in failed), outcomes


def test_a_failed_bench_ends_the_command_with_status_1(
    tmp_path, monkeypatch, capsys, cache, derived
):
    def broken(*_, folder, **__):
        (folder / "simulate.log").write_text("first line\nlast line\n")
        return [
            Outcome("reset", "good", True, 0.1, 10, ""),
            Outcome("reset", "bad", False, 0.1, 10, "sums differ"),
        ]

    monkeypatch.setattr(command, "run_benches", broken)
    report = tmp_path / "r.json"
    assert cli.main(["simulate", "test", "--seed", "3", "--report", str(report)]) == 1
    shown = capsys.readouterr()
    assert "1 of 2 tests failed: reset.bad (sums differ)" in shown.err
    assert "last line" in shown.err
    assert "FAIL" in shown.out
    assert json.loads(report.read_text())["failed"] == 1


def test_a_missing_simulator_is_refused(monkeypatch, capsys, cache):
    monkeypatch.setattr("sim.benches.process.shutil.which", lambda name: None)
    assert cli.main(["simulate", "test", "--simulator", "icarus"]) == 2
    assert "icarus: iverilog and vvp must be on PATH" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("simulator", "waves"),
    [("verilator", "w.fst"), ("icarus", "w.vcd"), ("verilator", "no/such/folder/w.vcd")],
)
def test_a_waves_file_that_can_not_be_written_is_refused(
    tmp_path, monkeypatch, capsys, simulator, waves
):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["simulate", "test", "--simulator", simulator, "--waves", waves]) == 2
    assert f"{waves}: --waves: must" in capsys.readouterr().err


def _feed(model, plan, activations, skip=-1):
    """Give the beats of a plan's only job to the model, without the one with number ``skip``."""
    for _ in range(plan.segments):
        for beat, last in zip(*plan.activation_beats(activations, plan.jobs[0]), strict=True):
            model.activation_beat(int.from_bytes(beat.tobytes(), "little"), bool(last))
    for group in range(plan.shape.groups):
        data, target = plan.weight_beats(group)
        for number, beat in enumerate(data):
            if number != skip or group:
                model.weight_beat(group, int(target[number]), int.from_bytes(beat, "little"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_model_computes_the_product_from_beats_alone(derived, rng, kernel):
    activations = rng.integers(-128, 128, (2 * derived.shape.lanes + 1, 70), dtype=np.int8)
    weights = rng.integers(-128, 128, (70, 19), dtype=np.int8)
    weights[rng.random(weights.shape) < 0.6] = 0
    shape = replace(derived.shape, kernels=(kernel,))
    weights = fitted(shape, kernel, weights)
    plan = plan_matmul(shape, activations, weights, kernel)
    model = ArrayModel(shape)
    _feed(model, plan, activations)
    expected = model.finish(len(plan.jobs[0]))
    results = []
    for first in range(0, shape.engines, shape.group):
        columns = expected.columns[first : first + shape.group]
        engines = np.concatenate([np.full(len(c), e) for e, c in enumerate(columns)])
        results.append((np.concatenate(columns), engines))
    assert np.array_equal(plan.collect(plan.jobs[0], results), matmul(activations, weights))


def test_the_model_notices_a_lost_beat(derived, rng):
    activations = rng.integers(-128, 128, (3, 70), dtype=np.int8)
    weights = rng.integers(-128, 128, (70, 19), dtype=np.int8)
    plan = plan_matmul(derived.shape, activations, weights, "bitmap")
    for skip in range(1, 8):
        model = ArrayModel(derived.shape)
        _feed(model, plan, activations, skip=skip)
        refusals = r"^(engine [01]: |the index stream ends|a block does not)"
        with pytest.raises(AssertionError, match=refusals):
            model.finish(len(plan.jobs[0]))
