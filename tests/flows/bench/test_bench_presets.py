"""The benches of the presets: what they measure is what is shipped, on small instances."""

from typing import Any

import numpy as np
import pytest

from flows.bench import BENCHES, area, fmax, generation, harness, sparsity
from flows.bench.presets import PRESETS, cut, shipped, with_kernels
from flows.compress.masks import masked_weights
from flows.engines import run_matmul
from flows.generate import generate
from rtl_gen.config import derive, load


def quiet(*_: object) -> None:
    pass


def test_they_are_registered():
    assert BENCHES["sparsity"] is sparsity.run
    assert BENCHES["area"] is area.run
    assert BENCHES["fmax"] is fmax.run
    assert BENCHES["generate"] is generation.run
    assert BENCHES["harness"] is harness.run


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_measured_as_shipped(name: str):
    derived = shipped(name)
    assert derived.config_hash == derive(load(name)).config_hash
    # Unchanged where the change is to what it has.
    assert with_kernels(name, derived.shape.kernels).config_hash == derived.config_hash
    assert cut(name, derived.shape.multipliers).config_hash == derived.config_hash
    dense = with_kernels(name, ("dense",)).shape
    assert dense.kernels == ("dense",)
    assert dense.multipliers == derived.shape.multipliers


@pytest.mark.parametrize("name", ["edge", "mid", "large"])
def test_a_cut_preset_keeps_its_engines(name: str):
    whole = shipped(name).shape
    few = cut(name, 2 * whole.lanes).shape
    assert (few.lanes, few.engines, few.columns) == (whole.lanes, 2, whole.columns)
    assert few.group == min(2, whole.group)


def test_a_preset_at_every_sparsity():
    derived = shipped("test")
    report = sparsity.run(quiet, presets=("test",), judged="test", size=128, rtl_size=64)
    assert [f["mask"] for f in report["figures"]] == list(sparsity.MASKS)
    for figure in report["figures"]:
        assert figure["config_hash"] == derived.config_hash
        points = figure["points"]
        assert [point["kernel"] for point in points] == ["dense"] + 6 * ["bitmap"]
        assert points[0]["zeros"] == 0
        cycles = [point["cycles"] for point in points]
        assert cycles == sorted(cycles, reverse=True)
        assert all(0 < point["share_of_limit"] <= 1 for point in points)
    rows = [row[:2] for row in report["rows"]]
    assert rows == [("test", "random"), ("test", "clustered")]
    bits = (derived.shape.input_port_bits, derived.shape.output_port_bits)
    assert all(row[-2:] == tuple(map(str, bits)) for row in report["rows"])
    # Seven sparsities of two masks, the mean, four numbers of rows, and hardware without bitmaps.
    assert len(report["bars"]) == 2 * 7 + 1 + 4 + 1
    assert report["rtl"]["cycles"] > 0


def test_presets_without_the_dense_kernel_run_weights_without_zeros_as_bitmaps():
    figure = sparsity.shares(shipped("tiny"), "random", 64, 8)
    assert {point["kernel"] for point in figure["points"]} == {"bitmap"}


@pytest.mark.parametrize("mask", sparsity.MASKS)
def test_the_share_is_that_of_the_run(mask: str, rng: np.random.Generator):
    derived = shipped("edge")
    weights = masked_weights(mask, 0.8, 256)
    found = sparsity.measure(derived.shape, weights, "bitmap", 40)
    activations = rng.integers(-128, 128, (40, 256)).astype(np.int8)
    product = run_matmul(derived, activations, weights, "cycle", "bitmap")
    report = product.report(derived, weights)
    assert found["cycles"] == product.cycles
    assert found["share_of_limit"] == report["utilisation"]
    assert found["slots"] == report["utilisation_slots"]
    assert found["replayed"] == report["weights_replayed"]


def test_few_rows_are_seen_against_many():
    shape = shipped("test").shape
    few = sparsity.few_rows(shape, masked_weights("random", 0.5, 64), (1, 4, 32))
    assert [f["rows"] for f in few] == [1, 4, 32]
    assert few[-1]["relative"] == 1
    # The same tile of tokens, whether one lane holds one or all do.
    assert few[0]["cycles"] == few[1]["cycles"] < few[2]["cycles"]
    assert few[0]["relative"] == few[0]["slots"] / few[2]["slots"]


def _figure(lut: int, *, measured: bool) -> dict[str, Any]:
    totals = {"lut": lut, "ff": 100, "dsp": 4, "bram": 2, "lutram": 8}
    shares = {f"{name}_per_mac": totals[name] / 8 for name in ("lut", "ff", "dsp", "bram")}
    place: dict[str, Any] = {"mac": "dsp48e2", "tool": "Yosys", "measured": measured}
    place["share"] = {"lut": lut / 200, "bram": 0.25}
    ports = {"input_port_bits": 384, "output_port_bits": 256}
    return {**totals, **shares, **place, **ports}


@pytest.mark.parametrize(("computed", "met"), [(101, True), (103, False)])
def test_the_method_of_computing_is_held_to_what_is_measured(
    monkeypatch: pytest.MonkeyPatch, computed: int, met: bool
):
    asked = []

    def measured(derived: Any, **how: bool) -> dict[str, Any]:
        asked.append((derived.name, derived.shape.kernels, how["computed"]))
        return _figure(computed if how["computed"] else 100, measured=not how["computed"])

    monkeypatch.setattr(area, "_measured", measured)
    monkeypatch.setattr(area, "_SIZE", 128)
    report = area.run(quiet)
    both = ("dense", "bitmap")
    assert asked == [
        ("tiny", ("bitmap",), False), ("edge", both, False), ("mid", both, False),
        ("large", both, True), ("mid", ("dense",), False), ("mid", both, True),
    ]  # fmt: skip
    names = [row[0] for row in report["rows"]]
    assert names[2:] == ["mid", "large, computed", "mid, dense only"]
    assert report["computed_area"]["deviation"]["lut"] == pytest.approx(computed / 100 - 1)
    deviation = next(bar for bar in report["bars"] if "deviation" in bar["name"])
    assert deviation["met"] is met
    share = report["bars"][-1]
    assert share["name"] == "share of its part, large, the fullest"
    assert (share["value"], share["met"]) == (computed / 200, True)
    gains = report["speed_up_over_dense_only"]
    assert len(gains) == 12
    assert all(gain["speed_up_per_dsp"] == gain["speed_up"] for gain in gains)


def test_an_array_is_made_of_the_module_that_is_measured(tmp_path):
    text = (generate(shipped("test"), tmp_path / "rtl") / "sparsefuse.v").read_text()
    array = text[text.index("module sf_array(") :]
    array = array[: array.index("endmodule")]
    assert f"module {area._MODULE}(" in text
    assert array.count(f"  {area._MODULE} ") == shipped("test").shape.groups


def test_the_clock_report_judges_the_median(monkeypatch: pytest.MonkeyPatch):
    asked = []

    def place(derived: Any, clock_mhz: float, seeds: Any, progress: Any) -> dict[str, Any]:
        asked.append((derived.name, derived.shape.multipliers, clock_mhz, tuple(seeds)))
        return {
            "lut": 1, "ff": 2, "dsp": 3, "tool": "Yosys", "pnr_tool": "nextpnr",
            "seeds": list(seeds), "fmax_mhz": [150.0, 90.0, 120.0], "pnr_seconds": [1.0, 99.6, 2],
        }  # fmt: skip

    monkeypatch.setattr(fmax, "place", place)
    report = fmax.run(quiet)
    edge = shipped("edge").shape.multipliers
    assert asked == [
        ("tiny", shipped("tiny").shape.multipliers, 36, (1, 2, 3)),
        ("edge", edge, 110, (1, 2, 3)),
        ("edge", 32, 140, (1, 2, 3)),
    ]
    assert [bar["value"] for bar in report["bars"]] == 3 * [120]
    assert [bar["met"] for bar in report["bars"]] == [True, True, False]
    tiny, _, few, mid, large = report["rows"]
    assert few[0] == "edge, cut"
    assert tiny[-5:] == ("90.0", "120.0", "150.0", "36", "100")
    for row, name in ((mid, "mid"), (large, "large")):
        assert row == (name, shipped(name).device.name, *row[2:3], *7 * ("-",))


@pytest.mark.slow
def test_a_small_array_is_placed_with_every_seed():
    figure = fmax.place(cut("tiny", 4), 20, (1, 2), quiet)
    assert figure["macs"] == 4
    assert figure["seeds"] == [1, 2]
    assert all(clock > 10 for clock in figure["fmax_mhz"])
    assert all(seconds > 0 for seconds in figure["pnr_seconds"])
    assert figure["device"] == " ".join(shipped("tiny").device.nextpnr_arguments)


def test_generation_is_measured_for_presets_and_for_growth():
    report = generation.run(quiet, presets=("tiny", "test"), sizes=(64, 1024))
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert list(figures) == ["tiny", "test", "engines_4", "engines_64"]
    assert figures["tiny"]["config_hash"] == shipped("tiny").config_hash
    assert figures["engines_64"]["macs"] == 1024
    assert all(figure["modules"] > 0 and figure["bytes"] > 0 for figure in report["figures"])
    seconds, modules = report["bars"]
    assert seconds["name"] == "seconds to generate 1,024 MACs"
    assert modules["value"] == 1


def test_the_harness_states_its_speed():
    assert harness.PRESET == "mid"
    report = harness.run(quiet, preset="test", size=64)
    assert [figure["kernel"] for figure in report["figures"]] == ["dense", "bitmap"]
    assert all(figure["simulated_cycles_per_second"] > 0 for figure in report["figures"])
    assert report["figures"][0]["config_hash"] == shipped("test").config_hash
