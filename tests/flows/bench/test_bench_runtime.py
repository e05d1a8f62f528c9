"""Small instances of the benches of run-time operands, scale and clock."""

import numpy as np
import pytest

from flows.bench import BENCHES, fmax, runtime, scale
from flows.bench.runtime import Case, attention_operands, measure, synthetic_cases
from flows.bench.scale import best_cut, count_product
from flows.bench.sparsity import masked_weights, sparse_config
from flows.models.fetch import fetch
from flows.models.minilm import MiniLM
from golden.cycles.count import count_cycles
from golden.planner.product import plan_matmul

SHAPE = sparse_config(8, 128, ("dense", "bitmap", "raw")).shape


def test_they_are_registered():
    assert BENCHES["runtime"] is runtime.run
    assert BENCHES["scale"] is scale.run
    assert BENCHES["fmax"] is fmax.run


def test_extra_speed_up_stays_below_its_limit():
    figures = {case.name: measure(SHAPE, case) for case in synthetic_cases(16, 256)}
    for name, figure in figures.items():
        # Zeros drawn at random are not exactly half.
        assert figure["extra"] <= 1.05 * figure["limit"], name
        assert figure["extra"] >= 1, name
    extra = {name: figure["extra"] for name, figure in figures.items()}
    assert extra["random zeros, M = 1"] > 1.7
    assert 1.15 < extra["random zeros, M = 2"] < 1.4
    assert extra["random zeros, M = 16"] < 1.01
    assert extra["dead channels, M = 16"] > 1.7
    assert extra["raw events, dense vectors"] > 1.7
    both = figures["raw events, half the vectors zero"]
    assert both["speed_up"] > 1.7 * extra["raw events, dense vectors"]


def test_nothing_is_dropped_where_nothing_is_zero(rng: np.random.Generator):
    ones = np.ones((4, 64), np.int8)
    case = Case("full", ones, np.ones((64, 16), np.int8), "raw", (False, "dense"), 1.0)
    figure = measure(SHAPE, case)
    # The dense kernel reads no index words and starts a few cycles earlier.
    assert figure["extra"] == pytest.approx(1, rel=0.1)


@pytest.mark.network
def test_attention_operands_are_those_of_the_model():
    model = MiniLM.load(fetch("MiniLM-L6-v2"))
    text = "An event is a single scalar."
    probabilities, values = attention_operands(model, text, 2)
    tokens = len(model.tokens(text))
    assert probabilities.shape == (12, tokens, tokens)
    assert values.shape == (12, tokens, 32)
    assert probabilities.min() >= 0
    # Rows sum to one, up to rounding.
    assert np.abs(probabilities.sum(axis=2) - 127).max() <= tokens / 2
    # Against the model itself: what enters the layer behind the attention is P V.
    out = model.layer_data([text], "encoder.layer.2.attention.output.dense").activations
    scale = np.abs(values).max(axis=(1, 2), keepdims=True)
    product = (probabilities @ (values / scale)).transpose(1, 0, 2).reshape(tokens, -1)
    assert np.corrcoef(product.ravel(), out.ravel())[0, 1] > 0.9


def test_a_cut_uses_what_there_is():
    shape = sparse_config(64).shape
    assert best_cut(shape, 1, 2048, 576, 576, 0.5) == scale.Cut(1, 1, 1, 1)
    # Clusters take tokens first, and k where tokens run out.
    assert best_cut(shape, 16, 2048, 576, 3072, 0.5).tokens == 16
    few = best_cut(shape, 64, 16, 576, 3072, 0.5)
    assert few.tokens == 1
    assert few.columns * few.k == 64


def test_one_cluster_is_the_whole_array():
    weights = masked_weights("random", 0.5, 192)
    figure = count_product(SHAPE, weights, 64, SHAPE.engines)
    plan = plan_matmul(SHAPE, np.zeros((64, 192), np.int8), weights, "bitmap", balance="lpt")
    assert figure["clusters_counted"] == 1
    assert figure["cycles"] == pytest.approx(count_cycles(plan).cycles, rel=0.03)


@pytest.mark.parametrize("units", [16, 64, 256])
def test_clusters_share_all_the_work(units: int):
    weights = masked_weights("clustered", 0.7, 192)
    one = count_product(SHAPE, weights, 64, SHAPE.engines)
    many = count_product(SHAPE, weights, 64, units)
    speed_up = one["cycles"] / many["cycles"]
    assert 1 < speed_up <= units / SHAPE.engines
    cut = many["cut"]
    assert many["clusters_counted"] == cut["columns"] * cut["k"]
    assert many["clusters_used"] <= units // SHAPE.engines
    assert many["macs_effective"] == one["macs_effective"]


@pytest.mark.parametrize("parts", [1, 2, 7, 16])
def test_row_bounds_cover_all_rows(parts: int, rng: np.random.Generator):
    weights = np.where(rng.random((130, 20)) < np.linspace(0, 1, 130)[:, None], 1, 0)
    bounds = scale._row_bounds(weights, parts, 4)
    assert bounds[0] == 0
    assert bounds[-1] == 130
    assert (np.diff(bounds) > 0).all()
    events = np.add.reduceat(np.count_nonzero(weights, axis=1), bounds[:-1])
    if parts == 2:
        # A cut at a whole beat of 4 rows is at most 3 rows from the middle.
        heaviest = np.count_nonzero(weights, axis=1).max()
        assert abs(events[0] - events[1]) <= 2 * 3 * heaviest


def test_the_model_states_its_speed():
    figures = scale.model_speed(128, 16)
    assert figures[0]["sparsity"] == 0
    assert all(f["macs_dense_per_second"] > 0 for f in figures)


def test_the_clock_report_shows_best_and_worst(monkeypatch: pytest.MonkeyPatch):
    figure = {
        "target": "ecp5", "device": "--85k", "macs": 32, "lut": 1, "ff": 2, "dsp": 3,
        "tool": "Yosys", "pnr_tool": "nextpnr", "seeds": [1, 2], "fmax_mhz": [130.0, 119.0],
    }  # fmt: skip
    monkeypatch.setattr(fmax, "place", lambda *_: figure)
    report = fmax.run(lambda *_: None, fmax.CASES[1:2])
    best, worst = report["bars"]
    assert (best["value"], best["met"]) == (130, True)
    assert (worst["value"], worst["met"]) == (119, False)
    (row,) = report["rows"]
    assert row[-3:] == ("119.0", "130.0", "120")
    assert fmax._derived("edge, 2 engines", 2).shape.engines == 2
    assert (
        fmax._derived("edge, 2 engines", 2).shape.columns
        == fmax._derived("edge", None).shape.columns
    )
