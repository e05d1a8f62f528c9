"""The price of a part: what the encoder stores, and the greater of slots and decoder steps."""

import numpy as np
import pytest

from golden.formats import KERNELS, STORED
from golden.planner.prices import Price, part_price
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
            assert cost == Price(cycles, 8 * (1 + len(index)) + len(values))


def test_decoder_steps_count_where_they_are_more_than_the_slots():
    # Empty columns close with one slot, but the block kernel's decoder looks at every chunk.
    kernel = KERNELS["block"].configured(ALL)
    block = np.zeros((64, 6), np.int8)
    slots = int(kernel.column_cycles(block != 0).sum())
    steps = len(kernel.steps(block).events)
    assert steps > slots
    assert part_price(kernel, block).cycles == 1 + steps
