"""Pattern analysis: naive against numpy, predicted against encoded, signatures and buckets."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from golden.errors import BadInput
from golden.fuse.pattern import (
    RUN_ROWS,
    Pattern,
    PatternParameters,
    analyse,
    analyse_naive,
)
from golden.fuse.predict import KernelParameters, predict
from golden.fuse.signature import (
    COLUMN_SHIFTS,
    WORD_SHIFTS,
    Buckets,
    generator_seeds,
    hamming,
    signature,
    signature_naive,
    xorshift,
)
from golden.kernels import Kernel
from golden.kernels.bitmap import Bitmap
from golden.kernels.block_runs import BlockRuns
from golden.kernels.dense import Dense
from golden.kernels.nm import StructuredNM
from golden.kernels.runlength import RunLength

SHAPES = ((1, 1), (2, 3), (7, 5), (16, 1), (17, 4), (61, 3), (64, 2), (65, 5), (131, 7), (256, 9))
Mask = np.ndarray


def banded(depth: int, columns: int, width: int) -> Mask:
    row, column = np.mgrid[:depth, :columns]
    return np.abs(row * columns - column * depth) <= width * max(depth, columns)


def masks(rng: np.random.Generator, depth: int, columns: int) -> dict[str, Mask]:
    """Bool masks of every kind of structure, shape (depth, columns)."""
    size = (depth, columns)
    runs = rng.random((-(-depth // 8), columns)) < 0.3
    places = rng.random((-(-depth // 4), 4, columns)).argsort(axis=1) < 2
    one = np.zeros(size, bool)
    one[rng.integers(depth), rng.integers(columns)] = True
    edges = np.zeros(size, bool)
    edges[[0, -1]] = True
    holes = rng.random(size) < 0.5
    holes[:, rng.random(columns) < 0.5] = False
    holes[rng.random(depth) < 0.3] = False
    return {
        "zero": np.zeros(size, bool),
        "full": np.ones(size, bool),
        "one": one,
        "edges": edges,
        "half": rng.random(size) < 0.5,
        "sparse": rng.random(size) < 0.1,
        "rare": rng.random(size) < 0.015,
        "clustered": np.repeat(rng.random((-(-depth // 24), columns)) < 0.2, 24, axis=0)[:depth],
        "banded": banded(depth, columns, 4),
        "blocky": np.repeat(runs, 8, axis=0)[:depth],
        "nm": places.reshape(-1, columns)[:depth],
        "holes": holes,
    }


def fill(rng: np.random.Generator, mask: Mask) -> np.ndarray:
    """Non-zero INT8 values of all magnitudes where the mask is set."""
    values = np.where(
        rng.random(mask.shape) < 0.5,
        rng.choice(np.array([-128, -127, -1, 1, 127, 64, -64, 2, -2]), mask.shape),
        rng.integers(1, 128, mask.shape) >> rng.integers(0, 7, mask.shape),
    )
    return np.where(mask, np.where(values == 0, -3, values), 0).astype(np.int8)


def cases(rng: np.random.Generator) -> list[tuple[str, np.ndarray]]:
    return [
        (f"{name} {depth}x{columns}", fill(rng, mask))
        for depth, columns in SHAPES
        for name, mask in masks(rng, depth, columns).items()
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        PatternParameters(columns=16),
        PatternParameters(columns=9, gap_bits=3, signature_bits=64, cell_columns=1, seed=7),
        PatternParameters(k_tile=512, gap_bits=6, signature_bits=23, cell_columns=2, seed=0),
    ],
    ids=["usual", "short gaps", "long gaps"],
)
def test_numpy_repeats_the_specification(parameters: PatternParameters, rng):
    for name, block in cases(rng):
        assert analyse(block, parameters) == analyse_naive(block, parameters), name


def test_statistics_add_up(rng: np.random.Generator):
    for name, block in cases(rng):
        p = analyse(block)
        assert sum(p.column_histogram) == p.columns, name
        assert sum(p.magnitude_histogram) == block.size, name
        assert sum(p.magnitude_histogram[1:]) == p.occupied == np.count_nonzero(block), name
        assert p.magnitude_histogram[8] == np.count_nonzero(block == -128), name
        assert p.empty_rows == np.count_nonzero(~block.any(axis=1)), name
        assert p.empty_columns == np.count_nonzero(~block.any(axis=0)), name
        assert p.occupied <= p.envelope + 1 <= block.size + 1, name


def test_a_block_worked_by_hand():
    block = np.zeros((40, 3), np.int8)
    block[[0, 1, 20], 0] = [1, -128, 5]
    block[[2, 39], 1] = [-64, 127]
    assert analyse(block, PatternParameters(k_tile=64, columns=4)) == Pattern(
        depth=40,
        columns=3,
        gap_bits=4,
        occupied=5,
        occupied_rows=5,
        chunk_mask=0b111,
        # One column of none, one of two and one of three: both in 2 .. 3.
        column_histogram=(1, 0, 2, 0, 0, 0, 0, 0),
        magnitude_histogram=(115, 1, 0, 1, 0, 0, 0, 2, 1),
        runs=(4, 4, 4, 4),
        tails=(1, 1, 1, 1, 2),
        peaks=(2, 2, 2, 2),
        # Gaps 0, 0, 18 and 2, 36 with 14 zeros to a pad.
        pads=1 + 2,
        long_gaps=2,
        envelope=21 + 38,
        diagonal=1,
        signature=signature(block != 0),
    )


def kernels(parameters: KernelParameters) -> list[Kernel]:
    return [
        Dense(),
        Bitmap(),
        RunLength(parameters.gap_bits),
        StructuredNM(parameters.nm_n, parameters.nm_m),
        BlockRuns(parameters.block_rows),
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        KernelParameters(),
        KernelParameters(gap_bits=3, nm_n=1, nm_m=2, block_rows=1),
        KernelParameters(gap_bits=5, nm_n=4, nm_m=8, block_rows=2),
        KernelParameters(gap_bits=8, nm_n=15, nm_m=16, block_rows=4),
        KernelParameters(gap_bits=4, nm_n=3, nm_m=4, block_rows=16),
    ],
)
def test_predictions_are_what_the_encoders_give(parameters: KernelParameters, rng):
    held = 0
    for name, block in cases(rng):
        pattern = analyse(block, PatternParameters(gap_bits=parameters.gap_bits))
        expected = {}
        for kernel in kernels(parameters):
            if kernel.accepts(block):
                index, values = kernel.encode(block)
                cycles = int(kernel.column_cycles(block != 0).sum())
                expected[kernel.name] = (cycles, 64 * len(index) + 8 * len(values))
        held += "nm" in expected
        assert predict(pattern, parameters) == expected, name
    assert 0 < held < len(cases(rng))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gap_bits": 5}, "gap_bits: must be 4 as in the pattern, got 5"),
        ({"nm_m": 5}, "nm: must have M of .* got 2:5"),
        ({"nm_n": 4}, "nm: must have .* N below M, got 4:4"),
        ({"block_rows": 3}, "block_rows: must be 1 or of .* got 3"),
    ],
)
def test_predict_refuses_parameters_without_statistics(changes: dict, message: str):
    pattern = analyse(np.ones((8, 8), np.int8))
    with pytest.raises(BadInput, match=message):
        predict(pattern, dataclasses.replace(KernelParameters(), **changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k_tile", 100),
        ("k_tile", 8192),
        ("columns", 0),
        ("gap_bits", 9),
        ("signature_bits", 7),
        ("cell_columns", 3),
        ("seed", -1),
        ("columns", "many"),
    ],
)
def test_parameters_are_checked(name: str, value: object):
    with pytest.raises(BadInput, match=f"pattern parameters: {name}: must be .*, got {value!r}"):
        PatternParameters(**{name: value})


@pytest.mark.parametrize(
    "block",
    [
        np.zeros((4, 4), np.int16),
        np.zeros(4, np.int8),
        np.zeros((0, 4), np.int8),
        np.zeros((4, 0), np.int8),
        np.zeros((257, 1), np.int8),
        np.zeros((1, 257), np.int8),
    ],
)
def test_blocks_are_checked(block: np.ndarray):
    for function in (analyse, analyse_naive):
        with pytest.raises(BadInput, match="pattern analysis: block: must"):
            function(block)


def test_bands_and_diagonals_stand_out(rng: np.random.Generator):
    shape = (256, 256)
    band = analyse(fill(rng, banded(*shape, 4)))
    steep = analyse(fill(rng, banded(256, 64, 4)))
    noise = analyse(fill(rng, rng.random(shape) < band.occupied / 65536))
    # A band is as wide as its columns are full; noise of its density reaches everywhere.
    assert band.envelope == band.occupied
    assert steep.envelope == steep.occupied
    assert noise.envelope > 10 * noise.occupied
    assert band.diagonal > 0.95 * band.occupied
    assert noise.diagonal < 0.2 * noise.occupied


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


def test_like_masks_are_nearer_than_unlike_ones(rng: np.random.Generator):
    shape = (256, 16)
    near, far = [], []
    for _ in range(20):
        first, second = (masks(rng, *shape)["clustered"] for _ in range(2))
        # A twentieth of the non-zeros moves.
        like = first & (rng.random(shape) > 0.05) | (rng.random(shape) < 0.05 * first.mean())
        base = signature(first, 64)
        near.append(hamming(base, signature(like, 64)))
        far.append(hamming(base, signature(second, 64)))
    assert np.mean(near) < 6
    assert np.mean(far) > 3 * np.mean(near)


def test_the_nearest_block_is_of_the_same_kind(rng: np.random.Generator):
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
        (kind, signature(place & (rng.random(place.shape) < density), 64))
        for kind, place in places.items()
        for density in (0.25, 0.5)
        for _ in range(3)
    ]
    for i, (kind, own) in enumerate(made):
        others = [(hamming(own, s), name) for j, (name, s) in enumerate(made) if j != i]
        assert min(others)[1] == kind


def test_the_documented_example_runs(capsys: pytest.CaptureFixture[str]):
    page = Path(__file__).resolve().parents[2] / "docs" / "analysis.md"
    blocks = re.findall(r"```(?:python|text)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    code, output = blocks[:2]
    exec(compile(code, str(page), "exec"), {})
    assert capsys.readouterr().out == output


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
