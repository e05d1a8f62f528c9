"""The price of a part: what the encoder stores, and the greater of slots and decoder steps."""

import numpy as np
import pytest

from golden.formats import KERNELS
from golden.planner.block_selector import BlockSelector
from golden.planner.model_table import computed_table
from golden.planner.prices import Cost, part_price
from golden.shape import KERNELS as STORED
from tests.golden.plans import ALL


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("floor", [1, 5])
def test_the_price_is_counted_from_the_encoding(name: str, floor: int, rng: np.random.Generator):
    kernel = KERNELS[name].configured(ALL)
    for depth, columns in ((1, 1), (7, 3), (64, 5), (131, 9)):
        for zero in (0.0, 0.8, 1.0):
            block = rng.integers(-128, 128, (depth, columns)).astype(np.int8)
            block[rng.random(block.shape) < zero] = 0
            if name == "nm":
                block[np.arange(depth) % ALL.nm_m >= ALL.nm_n] = 0
            index, values = kernel.encode(block)
            slots = [max(floor, int(c)) for c in kernel.column_cycles(block != 0)]
            cycles = 1 + max(sum(slots), len(kernel.steps(block).events))
            cost = part_price(kernel, block, floor)
            assert cost == Cost(cycles, 8 * (1 + len(index)) + len(values))


def test_decoder_steps_count_where_they_are_more_than_the_slots():
    # Empty columns close with one slot, but the block kernel's decoder looks at every chunk.
    kernel = KERNELS["block"].configured(ALL)
    block = np.zeros((64, 6), np.int8)
    slots = int(kernel.column_cycles(block != 0).sum())
    steps = len(kernel.steps(block).events)
    assert steps > slots
    assert part_price(kernel, block).cycles == 1 + steps


def test_a_selection_costs_the_sum_of_its_parts(rng: np.random.Generator):
    selector = BlockSelector(ALL, computed_table(ALL, "0" * 64))
    for _ in range(10):
        runs = np.repeat(rng.random((8, 8)) < 0.4, 8, axis=0)
        block = np.where(runs | (rng.random((64, 8)) < 0.05), 7, 0).astype(np.int8)
        total = Cost(0, 0)
        for part in selector.split(block):
            assert part.kernel is not None
            total += part_price(selector.formats[part.kernel], part.block, selector.column_floor)
        assert selector.price_of(block, selector.column_floor) == total
