"""Small instances of the benchmarks' parts."""

import numpy as np
import pytest

from flows.bench import BENCHES
from flows.bench.bars import Bar
from flows.bench.demo import prepare_layer
from flows.engines import run_matmul
from flows.models.calibration import SENTENCES
from flows.models.fetch import fetch
from flows.models.minilm import MiniLM
from rtl_gen.config import derive, load


def test_every_bench_is_callable() -> None:
    assert {"demo", "sparsity", "area", "generate"} <= set(BENCHES)
    assert all(callable(bench) for bench in BENCHES.values())


def test_a_bar_knows_its_direction() -> None:
    assert Bar("share", 0.9, 0.9).met
    assert not Bar("share", 0.89, 0.9).met
    assert Bar("area", 40, 40, at_most=True).met
    assert not Bar("area", 41, 40, at_most=True).met


@pytest.mark.network
def test_the_demo_layer_is_exact_on_the_test_array() -> None:
    model = MiniLM.load(fetch("MiniLM-L6-v2"))
    activations, dense, pruned = prepare_layer(model, SENTENCES, 0.5, 8)
    assert activations.shape == (8, 384)
    assert dense.shape == pruned.shape == (384, 1536)
    # Wanda drops exactly half of each output channel; quantising may add zeros.
    assert ((pruned == 0).sum(axis=0) >= 192).all()
    assert ((dense != 0) >= (pruned != 0)).all()
    part = np.ascontiguousarray(pruned[:, :24])
    derived = derive(load("test"))
    rtl = run_matmul(derived, activations, part, "rtl")
    cycle = run_matmul(derived, activations, part, "cycle")
    assert np.array_equal(rtl.output, cycle.output)
    assert rtl.cycles == cycle.cycles
