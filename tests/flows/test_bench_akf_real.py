"""The bench of real layers on small made-up ones: three sets apart, gains only where they count."""

import numpy as np
import pytest

from flows.bench import akf_real
from flows.bench.akf import akf_config
from flows.bench.akf_real import BUDGET, Tokens, approximate_layer, scale_layer


@pytest.fixture
def tokens() -> Tokens:
    # Always the same layer: whether a budget is reached depends on it.
    rng = np.random.default_rng(7)
    mix = rng.normal(0, 1, (12, 96)) * np.exp(rng.normal(0, 0.1, 96))
    sets = [
        (rng.normal(0, 1, (count, 12)) @ mix + rng.normal(0, 0.1, (count, 96))).astype(np.float32)
        for count in (300, 100, 80)
    ]
    rows = np.exp(rng.normal(0, 0.2, (96, 1)))
    return Tokens((rng.normal(0, 0.05, (96, 72)) * rows).astype(np.float32), *sets)


@pytest.mark.parametrize("given", [False, True])
def test_gain_is_in_cycles_and_within_the_budget(given, tokens):
    found = approximate_layer(akf_config(8), "layer", tokens, 0.0, int8_activations=given)
    assert found["counts"]
    assert found["error"] <= BUDGET
    assert found["error_calibration"] <= BUDGET * 0.95
    assert found["gain"] == found["cycles_exact"] / found["cycles"]
    assert 1 < found["gain"] <= found["gain_limit"] * 1.2
    assert found["weights_dropped"] > 0
    assert found["tokens"] == [300, 100, 80]


def test_what_exceeds_the_budget_does_not_count(tokens, rng):
    # One loud feature per token coarsens all others beyond the budget, and carries no output.
    loud = tokens._replace(weight=np.where(np.arange(96)[:, None] == 0, 0, tokens.weight))
    for part in loud[1:]:
        part[:, 0] = 2000
    found = approximate_layer(akf_config(8), "layer", loud, 0.0, int8_activations=False)
    assert found["error_quantisation"] > BUDGET
    assert (found["counts"], found["gain"], found["weights_dropped"]) == (False, 1.0, 0)
    # Weights that only unseen tokens contradict: calibration can't know, the judge tokens tell.
    strange = tokens._replace(judge=rng.normal(0, 1, (80, 96)).astype(np.float32))
    found = approximate_layer(akf_config(8), "layer", strange, 0.0, int8_activations=True)
    assert found["error"] > BUDGET >= found["error_calibration"]
    assert found["cycles"] < found["cycles_exact"]
    assert (found["counts"], found["gain"]) == (False, 1.0)


def test_tables_and_bars(tokens):
    derived = akf_config(8)
    near = [
        approximate_layer(derived, "layer", tokens, sparsity, int8_activations=given)
        for sparsity in (0.0, 0.5)
        for given in (False, True)
    ]
    scales = [scale_layer(derived, "layer", tokens, 0.0)]
    assert all(len(row) == 10 for row in akf_real.rows(near, scales))
    bars = {bar.report()["name"]: bar.report()["value"] for bar in akf_real.bars(near, scales)}
    floats = [f["gain"] for f in near if f["activations"] == "float"]
    assert np.mean(floats) in bars.values()
    assert scales[0]["column 1"] in bars.values()
    for per in akf_real.SCOPES:
        for limit in akf_real.BYTE_LIMITS:
            assert scales[0][f"{per} {limit:g} bytes"] <= limit * scales[0]["bytes_one_scale"]
            assert scales[0][f"{per} {limit:g}"] <= 1.05
    assert "50% pruned, int8 activations" in akf_real.note(near)


def test_inputs_of_the_three_sets_are_different():
    class Text:
        pass

    fit, hold, judge = (set(part) for part in akf_real._inputs(Text()))
    assert fit
    assert hold
    assert judge
    assert not fit & hold
    assert not fit & judge
    assert not hold & judge
    photo = np.arange(3 * 28 * 28, dtype=np.float32).reshape(3, 28, 28)
    views = akf_real._views(photo)
    assert len(views) == 11
    assert {view.shape for view in views} == {(3, 28, 28)}
