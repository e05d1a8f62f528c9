"""A small instance of the bench of adaptive kernel fusion."""

import numpy as np
import pytest

from flows.bench import BENCHES, akf


def test_masks_have_their_structure_and_density(rng):
    for kind in akf.MASKS:
        for sparsity in (0.5, 0.9):
            mask = akf.mask_of(kind, 128, sparsity, rng)
            assert mask.shape == (128, 128)
            assert abs(mask.mean() - (1 - sparsity)) < 0.06, kind
    tiles = akf.mask_of("block 8x8", 64, 0.5, rng).reshape(8, 8, 8, 8)
    assert np.isin(tiles.sum(axis=(1, 3)), (0, 64)).all()
    assert akf.mask_of("2:4", 64, 0.5, rng).reshape(16, 4, 64).sum(axis=1).max() == 2


def test_a_small_instance():
    assert BENCHES["akf"] is akf.run
    report = akf.run(lambda *_: None, size=128, engines=8, sparsities=(0.5, 0.9), models=())
    assert len(report["figures"]) == 2 * len(akf.MASKS)
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
