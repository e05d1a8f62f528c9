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
    assert "MISSED" not in report["title"]
