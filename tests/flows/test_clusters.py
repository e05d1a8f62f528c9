"""How a product is cut among clusters."""

import numpy as np
import pytest

from flows.arrays import sparse_config
from flows.clusters import Cut, best_cut, count_product, row_bounds
from flows.compress.masks import masked_weights
from golden.cycles.count import count_cycles
from golden.planner.product import plan_matmul

SHAPE = sparse_config(8, 128, ("dense", "bitmap", "raw")).shape


def test_a_cut_uses_what_there_is():
    shape = sparse_config(64).shape
    assert best_cut(shape, 1, 2048, 576, 576, 0.5) == Cut(1, 1, 1, 1)
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
    bounds = row_bounds(weights, parts, 4)
    assert bounds[0] == 0
    assert bounds[-1] == 130
    assert (np.diff(bounds) > 0).all()
    events = np.add.reduceat(np.count_nonzero(weights, axis=1), bounds[:-1])
    if parts == 2:
        # A cut at a whole beat of 4 rows is at most 3 rows from the middle.
        heaviest = np.count_nonzero(weights, axis=1).max()
        assert abs(events[0] - events[1]) <= 2 * 3 * heaviest
