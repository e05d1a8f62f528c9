"""Plans: a small run of the whole."""

import pytest

from flows.bench import plan


@pytest.mark.slow
def test_a_small_run(cache):
    shown = []
    report = plan.run(lambda *what: shown.append(what), [("random", 0.7)], size=128, runs=1)
    assert len(shown) == len(report["rows"]) == 2
    for figure, row in zip(report["figures"], report["rows"], strict=True):
        assert figure["seconds"] > 0
        # At least the non-zeros of a column's share, one byte and one event each.
        assert figure["weight_bytes"] > 0.2 * 128 * 128
        assert figure["cycles"] > 0.2 * 128 * 128 * 4 / 64
        assert len(row) == len(plan.HEADER)
        assert figure["product"] is None
    assert [bar["name"] for bar in report["bars"]] == ["seconds of the slowest, start-up included"]
