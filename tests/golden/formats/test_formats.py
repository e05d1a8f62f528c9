"""Block formats: round trips, and decoder steps that agree with what is stored."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import CHUNK, KERNELS, Kernel
from golden.formats.bitmap import Bitmap
from golden.formats.block_runs import BlockRuns
from golden.formats.dense import Dense
from golden.formats.nm import StructuredNM
from golden.formats.raw import Raw
from golden.formats.runlength import RunLength
from golden.shape import most_index_words

DEPTHS = (1, 2, 15, 16, 17, 63, 64, 65, 100, 128, 130, 256)


def blocks(rng: np.random.Generator, depth: int) -> dict[str, np.ndarray]:
    """Corner and random blocks, int8 (depth, columns)."""
    full = rng.integers(1, 128, (depth, 5)).astype(np.int8)
    sparse = np.where(rng.random((depth, 9)) < 0.1, rng.integers(-128, 128, (depth, 9)), 0)
    holes = full.copy()
    holes[:, [0, 2, 3]] = 0  # first column, and two in a row, empty
    tail = full.copy()
    tail[depth // 2 :, :] = 0
    head = full.copy()
    head[: depth // 2, :] = 0
    single = np.zeros((depth, 3), np.int8)
    single[rng.integers(depth), 1] = -128
    first = np.zeros((depth, 2), np.int8)
    first[0] = -1
    last = np.zeros((depth, 2), np.int8)
    last[-1] = 127
    return {
        "full": full,
        "smallest": np.full((depth, 2), -128, np.int8),
        "zero": np.zeros((depth, 4), np.int8),
        "one_zero_column": np.zeros((depth, 1), np.int8),
        "sparse": sparse.astype(np.int8),
        "holes": holes,
        "empty_tail": tail,
        "empty_head": head,
        "single": single,
        "first_row": first,
        "last_row": last,
    }


def cases(rng: np.random.Generator, kernel: Kernel) -> list[tuple[str, np.ndarray]]:
    """All blocks that the format can hold."""
    return [
        (f"{name}, depth {depth}", block)
        for depth in DEPTHS
        for name, block in blocks(rng, depth).items()
        if kernel.accepts(block)
    ]


@pytest.fixture(params=sorted(KERNELS))
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return KERNELS[request.param]


def test_names_and_codes():
    assert {name: kernel.name for name, kernel in KERNELS.items()} == {n: n for n in KERNELS}
    codes = [kernel.code for kernel in KERNELS.values()]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 16 for code in codes)


def test_round_trip(kernel: Kernel, rng: np.random.Generator):
    seen = 0
    for name, block in cases(rng, kernel):
        index, values = kernel.encode(block)
        assert index.dtype == np.uint64, name
        assert values.dtype == np.int8, name
        decoded = kernel.decode(index, values, *block.shape)
        assert decoded.dtype == np.int8, name
        np.testing.assert_array_equal(decoded, block, name)
        seen += 1
    assert seen >= 3 * len(DEPTHS)


def test_a_decoder_ignores_what_follows_its_block(kernel: Kernel, rng: np.random.Generator):
    for name, block in cases(rng, kernel):
        index, values = kernel.encode(block)
        more = rng.integers(0, 2**63, 3).astype(np.uint64), np.full(9, -1, np.int8)
        index, values = np.concatenate([index, more[0]]), np.concatenate([values, more[1]])
        np.testing.assert_array_equal(kernel.decode(index, values, *block.shape), block, name)


def test_steps_agree_with_the_streams(kernel: Kernel, rng: np.random.Generator):
    for name, block in cases(rng, kernel):
        index, values = kernel.encode(block)
        steps = kernel.steps(block)
        sizes = {len(field) for field in (steps.events, steps.push, steps.word, steps.last)}
        assert len(sizes) == 1, name
        stored = np.count_nonzero(block) if kernel.carries_values else len(values)
        assert int(steps.events.sum()) == stored, name
        assert not (kernel.carries_values and len(values)), name
        assert int(steps.word.sum()) == len(index), name
        assert int(steps.last.sum()) == block.shape[1], name
        # A block ends with a step that closes its last column, and every index word is used up.
        assert steps.last[-1], name
        assert not len(index) or steps.word[-1], name
        assert steps.push[steps.events > 0].all(), name
        assert steps.push[steps.last].all(), name
        assert int(steps.events.max()) <= CHUNK, name


def test_event_slots_per_column(kernel: Kernel, rng: np.random.Generator):
    for name, block in cases(rng, kernel):
        steps = kernel.steps(block)
        # A step that hands over no event is a close token, which takes a slot of its own.
        slots = np.maximum(steps.events.astype(np.int64), 1) * steps.push
        ends = np.cumsum(steps.last) - steps.last
        per_column = np.bincount(ends, weights=slots, minlength=block.shape[1])
        claimed = kernel.column_cycles(block != 0)
        assert claimed.shape == (block.shape[1],), name
        if kernel.name == "runlength":
            # Pads take decoder cycles and no slot; whether an END stands alone depends on where
            # its column begins in a word.
            cycles = np.bincount(ends, minlength=block.shape[1])
            assert (claimed >= per_column - 1).all(), name
            assert (claimed <= cycles).all(), name
        else:
            np.testing.assert_array_equal(claimed, per_column, name)


def test_documented_bitmap_words():
    block = np.zeros((66, 2), np.int8)
    block[[0, 5, 64], 0] = [1, -2, 3]
    block[65, 1] = -128
    index, values = KERNELS["bitmap"].encode(block)
    assert index.tolist() == [0b100001, 1, 0, 0b10]
    assert values.tolist() == [1, -2, 3, -128]


def test_documented_dense_bytes():
    block = np.array([[1, -128], [0, 5], [3, 0]], np.int8)
    index, values = KERNELS["dense"].encode(block)
    assert index.tolist() == []
    assert values.tolist() == [1, 0, 3, -128, 5, 0]


def test_dense_takes_a_step_for_each_row():
    steps = KERNELS["dense"].steps(np.zeros((37, 2), np.int8))
    assert steps.events.tolist() == [1] * 74
    assert np.flatnonzero(steps.last).tolist() == [36, 73]


def test_bitmap_steps_skip_empty_chunks():
    block = np.zeros((192, 1), np.int8)
    block[[3, 40, 41], 0] = 1
    steps = KERNELS["bitmap"].steps(block)
    # Two chunks of the first word, the empty second word, and the close token of the third.
    assert steps.events.tolist() == [1, 2, 0, 0]
    assert steps.push.tolist() == [True, True, False, True]
    assert steps.word.tolist() == [False, True, True, True]
    assert steps.last.tolist() == [False, False, False, True]


def test_structured_kernel_refuses_what_it_cannot_hold():
    kernel = KERNELS["nm"]
    block = np.ones((4, 1), np.int8)
    assert not kernel.accepts(block)
    with pytest.raises(BadInput, match="nm"):
        kernel.encode(block)


@pytest.mark.parametrize("depth", [16, 64, 100, 256])
def test_no_column_takes_more_index_words_than_the_rings_are_made_for(depth: int, rng):
    for gap_bits, nm, rows in ((3, (2, 4), 8), (4, (1, 2), 1), (6, (4, 8), 16), (8, (11, 16), 2)):
        made = {
            "dense": Dense(),
            "bitmap": Bitmap(),
            "runlength": RunLength(gap_bits),
            "nm": StructuredNM(*nm),
            "block": BlockRuns(rows),
            "raw": Raw(),
        }
        assert set(made) == set(KERNELS)
        for name, kernel in made.items():
            most = most_index_words(name, depth, gap_bits, nm, rows)
            for zeros in (0.0, 0.3, 0.9, 1.0):
                block = rng.integers(1, 128, (depth, 1)).astype(np.int8)
                block[rng.random(block.shape) < zeros] = 0
                if name == "nm":
                    block[np.arange(depth) % nm[1] >= nm[0]] = 0
                assert len(kernel.encode(block)[0]) <= most
                # The densest column takes as many.
                assert zeros or len(kernel.encode(block)[0]) == most
