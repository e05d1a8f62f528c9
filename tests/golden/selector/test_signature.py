"""Signatures of occupancy and buckets of like blocks."""

import dataclasses

import numpy as np
import pytest

from golden.errors import BadInput
from golden.selector.pattern import RUN_ROWS, Pattern, PatternParameters, analyse
from golden.selector.signature import (
    COLUMN_SHIFTS,
    WORD_SHIFTS,
    Buckets,
    generator_seeds,
    hamming,
    signature,
    signature_naive,
    xorshift,
)
from tests.golden.masks import banded, fill, masks


def test_xorshift_matches_the_published_generator():
    # Marsaglia's xor64 with a = 13, b = 7, c = 17 and his seed.
    state = 88172645463325252
    seen = []
    for _ in range(3):
        state = xorshift(state, WORD_SHIFTS)
        seen.append(state)
    assert seen == [8748534153485358512, 3040900993826735515, 3453997556048239312]


def test_generators_start_as_splitmix64():
    # The first outputs of SplitMix64 with seed 1234567.
    assert generator_seeds(48, 1234567) == (
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    )


def test_generator_states_do_not_repeat_in_the_largest_block():
    column_state = generator_seeds(8, 0)[0]
    seen = set()
    for _ in range(256):
        state = column_state
        for _ in range(64):
            seen.add(state)
            state = xorshift(state, WORD_SHIFTS)
        column_state = xorshift(column_state, COLUMN_SHIFTS)
    assert len(seen) == 256 * 64


def test_signature_depends_on_seed_and_width(rng: np.random.Generator):
    occupied = rng.random((128, 32)) < 0.5
    wide = signature(occupied, 64)
    # A narrower signature is the low part of a wider one.
    assert signature(occupied, 24) == wide & ((1 << 24) - 1)
    assert signature(occupied, 64, seed=1) != wide
    assert signature(np.zeros((128, 32), bool), 64) == 0
    assert signature_naive(occupied, 64) == wide


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((0, 3), bool),), "occupied: must have at least one row"),
        ((np.ones((3, 3), bool), 65), "width: must be 8 to 64, got 65"),
        ((np.ones((3, 3), bool), 16, -1), "seed: must fit 64 bits, got -1"),
        ((np.ones((3, 3), bool), 16, 0, 0), "cell_columns: must be at least 1, got 0"),
    ],
)
def test_signature_refuses(arguments: tuple, message: str):
    with pytest.raises(BadInput, match=message):
        signature(*arguments)


def test_hamming():
    assert hamming(0b1011, 0b0010) == 2
    assert hamming(5, 5) == 0


def test_like_masks_are_nearer_than_unlike_ones(fixed_rng: np.random.Generator):
    shape = (256, 16)
    near, far = [], []
    for _ in range(20):
        first, second = (masks(fixed_rng, *shape)["clustered"] for _ in range(2))
        # A twentieth of the non-zeros moves.
        gone = fixed_rng.random(shape) < 0.05
        come = fixed_rng.random(shape) < 0.05 * first.mean()
        like = first & ~gone | come
        base = signature(first, 64)
        near.append(hamming(base, signature(like, 64)))
        far.append(hamming(base, signature(second, 64)))
    assert np.mean(near) < 6
    assert np.mean(far) > 3 * np.mean(near)


def test_the_nearest_block_is_of_the_same_kind(fixed_rng: np.random.Generator):
    depth, columns = 256, 64
    row, column = np.mgrid[:depth, :columns]
    places = {
        "everywhere": np.ones((depth, columns), bool),
        "band": banded(depth, columns, 24),
        "other diagonal": banded(depth, columns, 24)[::-1],
        "top": row < 64,
        "columns": column // 8 % 4 == 1,
        "tiles": (row // 32 + column // 16) % 2 == 0,
    }
    made = [
        (kind, signature(place & (fixed_rng.random(place.shape) < density), 64))
        for kind, place in places.items()
        for density in (0.25, 0.5)
        for _ in range(3)
    ]
    for i, (kind, own) in enumerate(made):
        others = [(hamming(own, s), name) for j, (name, s) in enumerate(made) if j != i]
        assert min(others)[1] == kind


def test_buckets_keep_like_blocks_together(rng: np.random.Generator):
    shape = (256, 16)
    kinds = ("zero", "full", "half", "clustered", "banded", "nm")
    fixed = {kind: fill(rng, masks(rng, *shape)[kind]) for kind in kinds}
    order = [str(kind) for kind in rng.permutation(np.repeat(kinds, 5))]
    buckets = Buckets(radius=0)
    # Wide enough that no two kinds meet by chance.
    parameters = PatternParameters(signature_bits=64)
    patterns = [analyse(fixed[kind], parameters) for kind in order]
    numbers = [buckets.add(pattern) for pattern in patterns]
    # Numbered in the order of first use, one bucket for each kind of block.
    assert list(dict.fromkeys(numbers)) == list(range(len(kinds)))
    assert len(set(zip(order, numbers, strict=True))) == len(kinds) == len(buckets)
    for number in range(len(buckets)):
        members = [p for p, n in zip(patterns, numbers, strict=True) if n == number]
        bucket = buckets[number]
        assert bucket.blocks == len(members) == 5
        assert bucket.occupied == sum(p.occupied for p in members)
        assert bucket.columns == sum(p.columns for p in members)
        for name in ("column_histogram", "magnitude_histogram"):
            total = np.sum([getattr(p, name) for p in members], axis=0)
            np.testing.assert_array_equal(getattr(bucket, name), total)
        assert bucket.peaks == members[0].peaks
    again = Buckets(radius=0)
    assert [again.add(pattern) for pattern in patterns] == numbers


def test_buckets_take_the_nearest_and_then_the_oldest():
    base = analyse(np.ones((8, 8), np.int8))

    def with_signature(value: int) -> Pattern:
        return dataclasses.replace(base, signature=value)

    buckets = Buckets(radius=2)
    added = [buckets.add(with_signature(s)) for s in (0b0000, 0b0111, 0b0011, 0b0001, 0b11111)]
    # Two bits lie between 0b0111 and 0b11111; 0b0011 is nearer to 0b0111, 0b0001 to 0b0000.
    assert added == [0, 1, 1, 0, 1]
    tie = Buckets(radius=2)
    assert [tie.add(with_signature(s)) for s in (0b1111, 0b0000, 0b0011)] == [0, 1, 0]


def test_buckets_never_mix_depths_densities_or_structures():
    base = analyse(np.ones((8, 8), np.int8))
    peaks = tuple(rows // 2 for rows in RUN_ROWS)
    others = [
        dataclasses.replace(base, depth=9),
        dataclasses.replace(base, occupied=5),
        dataclasses.replace(base, peaks=peaks),
    ]
    buckets = Buckets(radius=64)
    assert [buckets.add(pattern) for pattern in (base, *others, base)] == [0, 1, 2, 3, 0]


def test_buckets_refuse():
    with pytest.raises(BadInput, match="buckets: radius: must be at least 0, got -1"):
        Buckets(radius=-1)
    buckets = Buckets()
    buckets.add(analyse(np.ones((8, 8), np.int8)))
    with pytest.raises(BadInput, match="column_histogram: must have 10 bins as before, got 6"):
        buckets.add(analyse(np.ones((8, 8), np.int8), PatternParameters(k_tile=16)))
