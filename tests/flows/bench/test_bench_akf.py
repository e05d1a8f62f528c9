"""A small instance of the bench of adaptive kernel fusion."""

import pytest

from flows.bench import BENCHES, akf
from flows.compress.masks import MASKS


def test_a_small_instance():
    assert BENCHES["akf"] is akf.run
    report = akf.run(lambda *_: None, size=128, engines=8, sparsities=(0.5, 0.9), models=())
    assert len(report["figures"]) == 2 * len(MASKS)
    for figure in report["figures"]:
        assert figure["cycles"] < figure["cycles_dense"]
        assert figure["speed_up"] == pytest.approx(figure["cycles_dense"] / figure["cycles"])
        assert figure["gain"] <= figure["gain_limit"]
        if figure["what"] != "mixed":
            assert figure["cycles"] <= 1.01 * figure["cycles_best_single"]
        else:
            # The best single kernel competes for the product too.
            assert figure["gain"] >= 1
        assert 0 < figure["energy_share"] < 1
    assert all(len(row) == len(report["header"]) for row in report["rows"])
    assert [bar["bar"] for bar in report["bars"]] == [6.6, 1.25, 0.98, 0.5]
    speed_up, _, _, energy = report["bars"]
    gains = [figure["speed_up"] for figure in report["figures"]]
    assert speed_up["value"] == pytest.approx(sum(gains) / len(gains))
    assert speed_up["met"] == (speed_up["value"] >= 6.6)
    assert energy["at_most"]
    assert energy["met"] == (energy["value"] <= 0.5)
