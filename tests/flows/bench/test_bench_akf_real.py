"""The bench of real layers on small made-up ones: three sets apart, gains only where they count."""

import numpy as np
import pytest

from flows.arrays import akf_config
from flows.bench import akf_real
from flows.bench.akf_real import BUDGET, approximate_layer, scale_layer
from flows.models.calibration import Tokens
from golden.numerics.quantise import quantise_activations, quantise_weights


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


def test_loud_channels_are_equalised_and_errors_are_those_of_the_float_layer(tokens):
    loud = np.where(np.arange(96) % 16 == 0, 40, 1).astype(np.float32)
    # Quiet weights behind loud channels: the output stays what it was.
    scaled = Tokens(tokens.weight / loud[:, None], *(part * loud for part in tokens.sets))
    scaled = scaled._replace(other=scaled.judge[:30])
    found = approximate_layer(akf_config(8), "layer", scaled, 0.0, int8_activations=False)
    assert found["equalised"]
    assert found["counts"]
    assert found["error_quantisation"] > BUDGET > 1.5 * found["error_equalised"]
    # Plain rounding written out.
    x, steps = quantise_activations(scaled.judge, per="token")
    q, scale = quantise_weights(scaled.weight)
    exact = scaled.judge.astype(np.float64) @ scaled.weight.astype(np.float64)
    plain = (x * steps[:, None].astype(float)) @ (q * scale.astype(float))
    error = np.linalg.norm(plain - exact) / np.linalg.norm(exact)
    assert found["error_quantisation"] == pytest.approx(error)
    assert found["error_other_text"] == pytest.approx(found["error"], rel=0.3)
    assert found["error_other_text_quantisation"] > BUDGET
    given = approximate_layer(akf_config(8), "layer", scaled, 0.0, int8_activations=True)
    assert not given["equalised"]
    assert given["error_equalised"] == given["error_quantisation"]


def test_what_exceeds_the_budget_does_not_count(tokens, fixed_rng):
    # One loud feature per token, a different one each time, coarsens all others.
    loud = Tokens(tokens.weight, *(part.copy() for part in tokens.sets))
    for part in loud.sets:
        part[np.arange(len(part)), np.arange(len(part)) % 96] = 300
    found = approximate_layer(akf_config(8), "layer", loud, 0.0, int8_activations=False)
    assert found["error_quantisation"] > BUDGET
    assert (found["counts"], found["gain"], found["weights_dropped"]) == (False, 1.0, 0)
    # Weights that only unseen tokens contradict: calibration can't know, the judge tokens tell.
    strange = tokens._replace(judge=fixed_rng.normal(0, 1, (80, 96)).astype(np.float32))
    found = approximate_layer(akf_config(8), "layer", strange, 0.0, int8_activations=True)
    assert found["error"] > BUDGET >= found["error_calibration"]
    assert found["cycles"] < found["cycles_exact"]
    assert (found["counts"], found["gain"]) == (False, 1.0)


def test_tables_and_bars(tokens):
    derived = akf_config(8)
    near = [
        {**approximate_layer(derived, "layer", t, sparsity, int8_activations=given), "first": True}
        for sparsity in (0.0, 0.5)
        for given, t in ((False, tokens._replace(other=tokens.hold[:9])), (True, tokens))
    ]
    near.append({**near[0], "first": False, "gain": 7.0})
    scales = [scale_layer(derived, "layer", tokens, 0.0)]
    for table, count in zip(akf_real.tables(near, scales), (5, 3), strict=True):
        assert len(table["rows"]) == count
        assert all(len(row) == len(table["header"]) for row in table["rows"])
    assert akf_real.tables([], []) == []
    bars = {bar.report()["name"]: bar.report()["value"] for bar in akf_real.bars(near, scales)}
    floats = [f["gain"] for f in near[:-1] if f["activations"] == "float"]
    assert np.mean(floats) in bars.values()
    for limit in akf_real.PART_LIMITS:
        assert scales[0][f"{limit:g} bytes"] <= limit
        assert scales[0][f"{limit:g} cycles"] <= limit
        assert scales[0][f"{limit:g}"] <= 1.05
    assert {scales[0]["1"], scales[0]["1.01"]} <= set(bars.values())
    # A layer of 96 rows has two tiles of whole index words only with more bytes.
    generous = scale_layer(derived, "layer", tokens, 0.0, limits=(1.5,))
    assert generous["1.5 parts"] > 1
    assert generous["1.5"] < 1
    note = akf_real.note(near)
    assert "50% pruned, int8 activations" in note
    assert "other linear layers 7.000" in note
    texts = [f["error_other_text"] for f in near[:-1] if f["activations"] == "float"]
    assert f"other text {np.mean(texts):.2%} in the mean, {max(texts):.2%} at most" in note
    without = [f for f in near[:-1] if f["activations"] == "int8"]
    assert "other" not in akf_real.note(without + [{**f, "activations": "float"} for f in without])
