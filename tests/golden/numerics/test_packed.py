"""Packed accumulation with a wrap counter: exact where the plain method is not."""

import numpy as np
import pytest

from golden.numerics.packed import (
    LEAST_SHIFT,
    accumulate,
    accumulate_batch,
    counter_bits,
    pack,
    packed_bits,
)
from tests.golden.numerics.packed_limits import max_depth, plain_sums

SHIFTS = (16, 17, 18)
DEPTH = 4096
CORNERS = np.array([-128, -127, -1, 0, 1, 127], np.int8)


def hover(rng: np.random.Generator, shift: int, sign: int) -> np.ndarray:
    """Products that climb to the lower field's limit and then step back and forth over it."""
    limit = sign * (1 << (shift - 1))
    steps = np.empty((DEPTH, 3), np.int8)
    low = 0
    for row in steps:
        below = low < limit
        x0 = -128 if below else int(rng.integers(1, 128))
        row[:] = rng.integers(-128, 128), x0, -128 if rng.random() < 0.9 else -1
        low += int(row[1]) * int(row[2])
    return steps


def sequences(rng: np.random.Generator, shift: int) -> dict[str, np.ndarray]:
    """Adversarial sequences, int8 (depth, 3): x1, x0, w."""
    full = rng.integers(-128, 128, (DEPTH, 3)).astype(np.int8)
    alternating = np.full((DEPTH, 3), -128, np.int8)
    alternating[1::2, :2] = 127
    opposed = np.full((DEPTH, 3), -128, np.int8)
    opposed[:, 0] = 127
    bursts = rng.choice(CORNERS, (DEPTH, 3))
    bursts[:, 2] = np.repeat(rng.choice(CORNERS, DEPTH // 64), 64)
    negative = np.full((DEPTH, 3), (127, 127, -128), np.int8)
    return {
        "largest": np.full((DEPTH, 3), -128, np.int8),
        "most_negative": negative,
        "alternating": alternating,
        "opposed": opposed,
        "corners": rng.choice(CORNERS, (DEPTH, 3)),
        "bursts": bursts,
        "uniform": full,
        "same_sign": np.where(full == -128, -128, -np.abs(full)).astype(np.int8),
        "hover_up": hover(rng, shift, 1),
        "hover_down": -np.maximum(hover(rng, shift, 1), -127) * np.array([1, 1, -1], np.int8),
        "zero": np.zeros((DEPTH, 3), np.int8),
    }


def exact(steps: np.ndarray) -> tuple[int, int]:
    wide = steps.astype(np.int64)
    return int((wide[:, 1] * wide[:, 2]).sum()), int((wide[:, 0] * wide[:, 2]).sum())


def ints(steps: np.ndarray) -> list[tuple[int, int, int]]:
    return [tuple(row) for row in steps.tolist()]


@pytest.mark.parametrize("shift", SHIFTS)
def test_every_prefix_of_adversarial_sequences_is_exact(shift: int, rng: np.random.Generator):
    for name, steps in sequences(rng, shift).items():
        for depth in {1, 2, 7, 8, 9, 63, DEPTH, *rng.integers(1, DEPTH, 4).tolist()}:
            part = steps[:depth]
            assert accumulate(ints(part), shift) == exact(part), (name, depth)


@pytest.mark.parametrize("shift", SHIFTS)
def test_batch_equals_the_specification(shift: int, rng: np.random.Generator):
    steps = np.stack(list(sequences(rng, shift).values()))
    low, high = accumulate_batch(steps[..., 0], steps[..., 1], steps[..., 2], shift)
    assert low.shape == high.shape == steps.shape[:1]
    for number, row in enumerate(steps):
        assert (low[number], high[number]) == accumulate(ints(row), shift)


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_plain_method_is_wrong_where_the_counter_is_needed(
    shift: int, rng: np.random.Generator
):
    wrong = {
        name
        for name, steps in sequences(rng, shift).items()
        if plain_sums(ints(steps), shift) != exact(steps)
    }
    assert {"largest", "most_negative", "opposed", "same_sign"} <= wrong
    assert "zero" not in wrong


@pytest.mark.parametrize("shift", SHIFTS)
def test_the_plain_method_fails_exactly_where_a_counter_bit_is_needed(shift: int):
    free = max(d for d in range(1, 64) if counter_bits(d, shift) == 0)
    largest = [(-128, -128, -128)] * (free + 1)
    assert plain_sums(largest[:free], shift) == (free << 14, free << 14)
    assert plain_sums(largest, shift) != ((free + 1) << 14, (free + 1) << 14)
    assert counter_bits(free + 1, shift) == 1


def test_single_products_are_exact_for_all_operands():
    x0, w = np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    x0, w = x0.reshape(-1, 1).astype(np.int8), w.reshape(-1, 1).astype(np.int8)
    for shift in SHIFTS:
        for x1 in (-128, -1, 0, 127):
            low, high = accumulate_batch(np.full_like(x0, x1), x0, w, shift)
            np.testing.assert_array_equal(low, x0[:, 0].astype(int) * w[:, 0])
            np.testing.assert_array_equal(high, x1 * w[:, 0].astype(int))


def test_one_bit_less_than_the_least_shift_is_not_exact():
    assert accumulate([(0, -128, -128)], LEAST_SHIFT) == (1 << 14, 0)
    assert accumulate([(0, -128, -128)], LEAST_SHIFT - 1) != (1 << 14, 0)


def test_pack_puts_the_fields_apart():
    assert pack(1, 0, 16) == 65536
    assert pack(0, -128, 18) == -128
    assert pack(-128, 127, 18) == -(128 << 18) + 127


def in_registers(
    steps: list[tuple[int, int, int]], shift: int, packed: int, counter: int
) -> tuple[int, int]:
    """`accumulate` with a sum and a counter of finite width, as hardware has them."""

    def cut(value: int, bits: int) -> int:
        return (value + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))

    total = wrap = before = 0
    for x1, x0, w in steps:
        total = cut(total + pack(x1, x0, shift) * w, packed)
        now = (total >> (shift - 2)) & 3
        wrap = cut(wrap + ((before, now) == (1, 2)) - ((before, now) == (2, 1)), counter)
        before = now
    # Counter and field are read as one number, so the counter itself may wrap.
    low = cut(wrap * (1 << shift) + cut(total, shift), shift + counter)
    return low, cut(total - low, packed) >> shift


@pytest.mark.parametrize(
    ("shift", "packed", "counter"),
    [(16, 36, 4), (16, 36, 6), (17, 40, 3), (18, 38, 2), (18, 48, 5)],
)
def test_max_depth_is_the_last_exact_depth(shift: int, packed: int, counter: int):
    depth = max_depth(shift, packed, counter)
    assert depth >= 15
    largest = [(-128, -128, -128)]
    assert in_registers(largest * depth, shift, packed, counter) == (depth << 14, depth << 14)
    beyond = depth + 1
    assert in_registers(largest * beyond, shift, packed, counter) != (beyond << 14, beyond << 14)


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("depth", [1, 7, 8, 16, 100, 256, 4095, 4096])
def test_derived_widths_hold_their_depth_and_no_bit_is_spare(shift: int, depth: int):
    packed, counter = packed_bits(depth, shift), counter_bits(depth, shift)
    assert max_depth(shift, packed, counter) >= depth
    assert max_depth(shift, packed - 1, counter) < depth
    if counter:
        assert max_depth(shift, packed, counter - 1) < depth


def test_figures_of_the_dsp_slices():
    # DSP48E2: 18 + 30 bits of the 48-bit accumulator; DSP48E1: 16 + 32.
    assert max_depth(18, 48, 64) == 32767
    assert max_depth(16, 48, 64) == 131071
    assert counter_bits(4096, 18) == 10
    assert counter_bits(4096, 16) == 12
