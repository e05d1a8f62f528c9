"""The raw format byte by byte, and its place among the others."""

from dataclasses import replace

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import KERNELS
from golden.planner.choose import built_kernels
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape

SHAPE = ArrayShape(
    lanes=4, engines=2, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=64, kernels=("dense", "bitmap", "raw"), mac="packed",
)  # fmt: skip


@pytest.mark.parametrize("depth", [1, 7, 8, 9, 16, 37])
def test_words_are_the_bytes_of_each_column(depth: int, rng: np.random.Generator):
    block = rng.integers(-128, 128, (depth, 5)).astype(np.int8)
    block[rng.random(block.shape) < 0.5] = 0
    expected = []
    for column in range(5):
        for low in range(0, depth, 8):
            word = 0
            for row in range(low, min(low + 8, depth)):
                word |= (int(block[row, column]) & 0xFF) << 8 * (row - low)
            expected.append(word)
    index, values = KERNELS["raw"]().encode(block)
    assert index.dtype == np.uint64
    assert index.tolist() == expected
    assert len(values) == 0


def test_same_events_as_bitmap_where_columns_end_in_their_last_word(rng: np.random.Generator):
    block = rng.integers(-128, 128, (64, 40)).astype(np.int8)
    block[rng.random(block.shape) < 0.5] = 0
    block[-1] = 1
    raw, bitmap = (KERNELS[name]().column_cycles(block != 0) for name in ("raw", "bitmap"))
    assert (raw == bitmap).all()
    # The decoder's port, a word per cycle, binds where words hold less than one event.
    assert len(KERNELS["raw"]().steps(block).events) == 8 * 40


def test_auto_never_takes_it(rng: np.random.Generator):
    assert "raw" not in [kernel.name for kernel in built_kernels(SHAPE, "auto")]
    weights = rng.integers(-128, 128, (70, 6)).astype(np.int8)
    activations = np.ones((8, 70), np.int8)
    assert "raw" not in plan_matmul(SHAPE, activations, weights).kernel_blocks
    assert plan_matmul(SHAPE, activations, weights, "raw").kernel == "raw"


def test_an_array_with_it_alone_runs_products():
    shape = replace(SHAPE, kernels=("raw",))
    weights, activations = np.eye(9, dtype=np.int8), np.ones((2, 9), np.int8)
    for kernel in ("auto", "raw"):
        assert plan_matmul(shape, activations, weights, kernel).kernel == "raw"


def test_the_index_ring_must_hold_a_column():
    with pytest.raises(BadInput, match="index_words: must be a power of two, 68 to"):
        ArrayShape(
            lanes=4, engines=2, group=2, k_tile=512, columns=8, activation_tiles=2, index_words=64,
            value_words=64, queue=8, data_bits=64, kernels=("raw",), mac="packed",
        )  # fmt: skip
