"""Small instances of the benches of run-time operands and of scale."""

import numpy as np
import pytest

from flows.arrays import sparse_config
from flows.bench import BENCHES, runtime, scale
from flows.bench.runtime import Case, measure, synthetic_cases

SHAPE = sparse_config(8, 128, ("dense", "bitmap", "raw")).shape


def test_they_are_registered():
    assert BENCHES["runtime"] is runtime.run
    assert BENCHES["scale"] is scale.run


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


def test_the_model_states_its_speed():
    figures = scale.model_speed(128, 16)
    assert figures[0]["sparsity"] == 0
    assert all(f["macs_dense_per_second"] > 0 for f in figures)
