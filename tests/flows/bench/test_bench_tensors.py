"""Small instances of the benchmarks on real tensors and on stored bytes."""

import math
from dataclasses import replace

import numpy as np
import pytest

from flows.arrays import sparse_config
from flows.bench import BENCHES, tensors
from flows.bench import bytes as stored
from flows.compress.prune import pruned_operands
from flows.engines import run_matmul
from flows.models.base import LayerData
from golden.operators.matmul import matmul


def silent(*_) -> None:
    """A progress callback that shows nothing."""


def test_both_benches_are_registered():
    assert BENCHES["tensors"] is tensors.run
    assert BENCHES["bytes"] is stored.run


def test_a_pruned_layer_is_measured_as_it_runs(rng):
    x = rng.normal(size=(40, 96)).astype(np.float32)
    layer = LayerData(x, rng.normal(size=(96, 64)).astype(np.float32), np.zeros(64, np.float32))
    activations, weights = pruned_operands(layer, 0.5, tokens=32)
    assert activations.shape == (32, 96)
    assert activations.dtype == weights.dtype == np.int8
    # Exactly half of each output channel is dropped; quantising may add zeros.
    assert ((weights == 0).sum(axis=0) >= 48).all()
    assert np.mean(weights == 0) < 0.55
    derived = sparse_config(16)
    figure = tensors.measure(derived, activations, weights)
    product = run_matmul(derived, activations, weights, "cycle")
    assert figure["cycles"] == product.cycles
    assert product.cycles is not None
    assert np.array_equal(product.output, matmul(activations, weights))
    products = 32 * np.count_nonzero(weights)
    assert figure["share_of_limit"] == pytest.approx(products / (256 * product.cycles))
    assert 0 < figure["share_of_limit"] <= 1
    assert figure["sparsity"] == np.mean(weights == 0)
    assert figure["bits_per_position"] == pytest.approx(8 * product.plan.weight_bytes / 6144)


@pytest.mark.network
def test_one_layer_of_a_real_model_reaches_its_bars():
    report = tensors.run(silent, ["MiniLM-L6-v2"], [3])
    assert [f["layer"] for f in report["figures"]] == 2 * [
        f"encoder.layer.3.{part}"
        for part in (
            *("attention.self.query", "attention.self.key", "attention.self.value"),
            *("attention.output.dense", "intermediate.dense", "output.dense"),
        )
    ]
    for summary in report["summary"]:
        shares = [
            f["share_of_limit"] for f in report["figures"] if f["pruned"] == summary["pruned"]
        ]
        assert summary["mean"] == pytest.approx(sum(shares) / 6)
        assert summary["minimum"] == min(shares)
    assert [bar["met"] for bar in report["bars"]] == [True, True]
    # Twelve layers, and for each sparsity a mean and a minimum.
    assert len(report["rows"]) == 16
    assert all(len(row) == len(report["header"]) for row in report["rows"])


def test_bounds_equal_their_definition():
    # Two of eight positions hold a value: h(3/4) of occupancy, and one bit to tell -5 from 7.
    weights = np.array([[0, 0, -5, 0], [7, 0, 0, 0]], np.int8)
    occupancy = -0.75 * math.log2(0.75) - 0.25 * math.log2(0.25)
    assert stored.bounds(weights) == pytest.approx((occupancy + 0.25, occupancy + 2))
    assert stored.bounds(weights, 7.0) == pytest.approx((occupancy + 1.75, occupancy + 2))
    assert stored.bounds(np.zeros((3, 3), np.int8)) == (0, 0)
    assert stored.bounds(np.full((3, 3), -128, np.int8)) == (0, 8)


def test_bits_are_the_words_of_the_streams():
    shape = replace(sparse_config(16).shape, engines=4, group=4)
    row, column = np.indices((128, 8))
    # A quarter of each column, and no empty row that a plan might leave out.
    weights = np.where((row + column) % 4 == 0, 3, 0).astype(np.int8)
    found = stored.stored_bits(shape, weights)
    # Each of four engines has a header and two columns of 128 rows, 32 of them non-zero.
    assert found["bitmap"] == 64 * 4 * (1 + 2 * 2 + 2 * 32 // 8) / weights.size
    assert found["dense"] == 64 * 4 * (1 + 2 * 128 // 8) / weights.size
    # 32 gaps and an END per column, 16 entries of four bits to a word: five words for both.
    assert found["runlength/4"] == 64 * 4 * (1 + 5 + 8) / weights.size
    assert {f"runlength/{bits}" for bits in stored.GAP_BITS} < set(found)
    # One in four rows fits 2:4; three in four does not.
    assert found["nm"] is not None
    assert stored.stored_bits(shape, (3 - weights).astype(np.int8))["nm"] is None


def test_best_formats_come_near_the_bound():
    report = stored.run(silent, size=256, models=())
    assert [f["what"] for f in report["figures"]] == [f"random {s:.0%}" for s in stored.SPARSITIES]
    for figure in report["figures"]:
        assert figure["entropy_bound"] < figure["byte_bound"]
        assert figure["stored_bits"][figure["best"]] == min(figure["stored_bits"].values())
        # Bytes cannot be beaten, save by the occupancy that a small sample happens to have.
        assert figure["over_byte_bound"] > 0.999
        assert figure["over_entropy_bound"] < 1.3
    assert report["figures"][0]["best"] == "bitmap"
    assert report["figures"][-1]["best"].startswith("runlength")
    # Sparser weights have longer gaps.
    assert report["figures"][0]["best_gap_bits"] < report["figures"][-1]["best_gap_bits"]
    assert all(len(row) == len(report["header"]) for row in report["rows"])
    assert [bar["value"] for bar in report["bars"]] == [
        f["over_entropy_bound"] for f in report["figures"]
    ]
