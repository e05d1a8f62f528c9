"""Prices of single columns: what the encoders store and the decoders take, column by column."""

from dataclasses import replace

import numpy as np
import pytest

from golden.formats import KERNELS
from golden.planner.column_prices import FORBIDDEN, column_bytes, column_prices, variants_of
from golden.planner.decompose import dense_core
from golden.planner.prices import part_price
from tests.golden.plans import ALL

SIZES = [(1, 1), (64, 16), (61, 13), (17, 64), (128, 7)]


def tile(rng: np.random.Generator, size: tuple[int, int], density: float) -> np.ndarray:
    w = rng.choice([-128, -1, 1, 127], size).astype(np.int8)
    w[rng.random(size) >= density] = 0
    return w


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("density", [0.0, 0.03, 0.3, 1.0])
def test_bytes_of_columns_sum_to_those_of_the_block(size, density, rng):
    w = tile(rng, size, density)
    for name in ALL.kernels:
        kernel = KERNELS[name].configured(ALL)
        if not kernel.accepts(w):
            continue
        index, values = kernel.encode(w)
        stored = column_bytes(kernel, w)
        assert stored.shape == (size[1],)
        # The last index word may be used in part; entries leave bits of a word unused.
        assert 0 <= 8 * len(index) + len(values) - stored.sum() < 8 + 1e-6, name


@pytest.mark.parametrize("density", [0.0, 0.05, 0.4, 1.0])
def test_prices_are_near_the_part_price(density, rng):
    w = tile(rng, (64, 16), density)
    shape = replace(ALL, group=1, engines=1)
    floor = shape.group * shape.drain_cycles
    found = variants_of(shape)
    cycles, stored = column_prices(shape, found, w)
    core = dense_core(w, shape.block_rows, 1.0)
    shares = {1: [w], 2: [np.where(m, w, 0).astype(np.int8) for m in (core, ~core)]}
    for place, variant in enumerate(found):
        parts = list(zip(variant, shares[len(variant)], strict=True))
        kernels = [KERNELS[name].configured(shape) for name, _ in parts]
        if not all(k.accepts(part) for k, (_, part) in zip(kernels, parts, strict=True)):
            assert cycles[place].max() >= FORBIDDEN
            continue
        exact = [part_price(k, part, floor) for k, (_, part) in zip(kernels, parts, strict=True)]
        total = sum(cost.cycles for cost in exact) - len(parts)
        # What depends on where a word ends is left out: pads and closes that stand alone.  Slots
        # and steps are compared column by column, not over the block.
        assert 0.8 * total <= cycles[place].sum() <= 1.05 * total, variant
        assert 0 <= sum(cost.bytes - 8 for cost in exact) - stored[place].sum() < 8 * len(parts)


def test_a_column_that_two_of_four_cannot_hold_is_forbidden():
    w = np.zeros((16, 3), np.int8)
    w[4:7, 1] = 1
    w[4:6, 2] = -128
    cycles, _ = column_prices(ALL, [("nm",)], w)
    assert (cycles[0] >= FORBIDDEN).tolist() == [False, True, False]


def test_pairs_need_the_block_kernel_with_runs():
    assert ("block", "runlength") in variants_of(ALL)
    assert all(len(v) == 1 for v in variants_of(replace(ALL, kernels=("bitmap", "runlength"))))
    assert all(len(v) == 1 for v in variants_of(replace(ALL, block_rows=1)))
