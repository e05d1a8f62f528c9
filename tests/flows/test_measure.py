"""Measuring a performance table: structure of the blocks, models and RTL, use by the selector."""

import numpy as np
import pytest

from flows.arrays import kernels_config
from flows.measure import measure_table
from golden.cycles.count import count_cycles
from golden.errors import BadInput
from golden.formats import KERNELS, STORED
from golden.planner.product import plan_matmul
from golden.selector.candidates import Candidate, describe_blocks
from golden.selector.selector import Selector
from golden.selector.table import BINS, DENSITIES, density_bin
from rtl_gen.config import derive, load
from tests.golden.selector.oracle import best_choices, exact_costs

PLACES = ((64, 16), (16, 4))


def quiet(*_: object) -> None:
    pass


@pytest.fixture(scope="module")
def table():
    return measure_table(kernels_config(), quiet, PLACES, rtl=False)


@pytest.mark.parametrize("kernel", STORED)
@pytest.mark.parametrize(("depth", "columns"), [(64, 16), (16, 4), (52, 32)])
def test_blocks_have_the_density_and_the_structure(kernel: str, depth: int, columns: int, rng):
    shape = kernels_config().shape
    for step in range(BINS):
        form = KERNELS[kernel].configured(shape)
        count = int(DENSITIES[step] * depth * columns)
        block = form.sample(rng, depth, columns, count)
        if block is None:
            assert (kernel, step) == ("nm", BINS - 1)
            continue
        assert block.shape == (depth, columns)
        assert np.count_nonzero(block) == int(DENSITIES[step] * depth * columns)
        assert form.accepts(block)
        if kernel == "block":
            # All stored runs are full but the last, which the density may cut.
            _, stored = form.encode(block)
            assert np.count_nonzero(stored == 0) < shape.block_rows


def test_what_the_table_must_say(table):
    shape = (64, 16)
    dense = [table.point("dense", step, shape).cycles for step in range(BINS)]
    assert len(set(dense)) == 1
    bitmap = [table.point("bitmap", step, shape).cycles for step in range(BINS)]
    assert bitmap == sorted(bitmap)
    assert bitmap[0] < dense[0] / 8
    # A full block costs every kernel one cycle per element and a little for its header.
    for kernel in ("dense", "bitmap", "runlength", "block", "band"):
        point = table.point(kernel, BINS - 1, shape)
        assert 1024 * point.blocks <= point.cycles <= 1.01 * 1024 * point.blocks
        assert point.events == 1024 * point.blocks * table.engines
    assert not table.point("nm", BINS - 1, shape).feasible
    assert table.point("nm", BINS - 2, shape).cycles < dense[0] * 0.51
    energy = [table.energy_proxy("bitmap", step, shape) for step in range(BINS)]
    assert energy == sorted(energy)


def test_the_rtl_measures_the_same():
    derived = derive(load("test"))
    rtl = measure_table(derived, quiet, [(16, 4)])
    model = measure_table(derived, quiet, [(16, 4)], rtl=False)
    assert rtl.points == model.points
    assert rtl.kernels == ("dense", "bitmap")
    assert rtl.source.startswith("measured (RTL, Verilator")
    assert model.source == "computed (cycle model)"


def test_a_line_predicts_blocks_between_the_steps(table):
    """New blocks, densities that were not measured: a few cycles in a hundred."""
    derived = kernels_config()
    shape = (64, 16)
    rng = np.random.default_rng(11)
    for density in (0.04, 0.2, 0.4, 0.7, 0.9):
        count = int(density * 1024)
        parts = []
        for _ in range(derived.shape.engines):
            flat = np.zeros(1024, np.int8)
            flat[rng.permutation(1024)[:count]] = 7
            parts.append(flat.reshape(64, 16))
        weights = np.concatenate(parts, axis=1)
        cycles = []
        for tiles in (3, 9):
            activations = np.zeros((4 * tiles, 64), np.int8)
            plan = plan_matmul(derived.shape, activations, weights, "bitmap", balance="lpt")
            cycles.append(count_cycles(plan).cycles)
        line = table.cost("bitmap", int(density_bin(count, 1024)), shape)
        predicted = (line.base + line.slope * count) / 256
        assert predicted == pytest.approx((cycles[1] - cycles[0]) / 6, rel=0.06)


def structured_block(kind: int, rng: np.random.Generator) -> np.ndarray:
    """Int8 (64, 16): full, 2:4, whole runs of rows, scattered, nearly empty, or empty."""
    block = rng.integers(1, 128, (64, 16))
    if kind == 1:
        block[rng.random((16, 4, 16)).argsort(axis=1).reshape(64, 16) >= 2] = 0
    elif kind == 2:
        block[np.repeat(rng.random((8, 16)) < 0.7, 8, axis=0)] = 0
    elif kind >= 3:
        block[rng.random((64, 16)) < (0.8, 0.97, 1)[kind - 3]] = 0
    return block.astype(np.int8)


@pytest.mark.parametrize("without", [(), ("bitmap", "runlength")])
def test_the_selector_on_the_measured_table_is_near_the_oracle(table, rng, without):
    """Cycles of what is chosen from statistics, against the best of every block."""
    array = kernels_config().shape
    candidates = [Candidate(kernel) for kernel in array.kernels if kernel not in without]
    weights = [structured_block(number % 6, rng) for number in range(240)]
    exact, _, infeasible = exact_costs(weights, candidates, array)
    histogram = [
        np.bincount([abs(int(v)).bit_length() for v in w.flat], minlength=9) for w in weights
    ]
    stored = [
        [int(KERNELS[c.kernel].configured(array).figures(w != 0).values.sum()) for c in candidates]
        for w in weights
    ]
    blocks = describe_blocks(
        table,
        candidates,
        np.full(240, table.shapes.index((64, 16))),
        np.array(histogram),
        np.array(stored),
        infeasible,
    )
    chosen = Selector(table).choose(blocks).candidate
    best = best_choices(weights, candidates, array, 256, 256).candidate
    assert not infeasible[np.arange(240), chosen].any()
    filled = ~blocks.empty
    taken, least = (exact[np.arange(240), choice][filled].sum() for choice in (chosen, best))
    assert least <= taken <= 1.01 * least
    # Where a kernel of single events is at hand, nothing takes fewer cycles.
    assert (len(np.unique(chosen[filled])) > 1) == bool(without)


def test_a_shape_that_does_not_fit_is_refused():
    derived = kernels_config()
    for shape in ((128, 4), (64, 4096)):
        with pytest.raises(BadInput, match="shapes: must be one activation tile deep"):
            measure_table(derived, quiet, [shape], rtl=False)
