"""Block formats: round trips, and decoder steps that agree with what is stored."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import CHUNK, KERNELS, PARAMETERS, STORED, Kernel, preferred
from golden.shape import ArrayShape

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
    return KERNELS[request.param]()


def test_names_codes_numbers_and_preferences_are_one_kernel_s_each():
    assert {name: kernel.name for name, kernel in KERNELS.items()} == {n: n for n in KERNELS}
    for field, allowed in (("code", range(1, 16)), ("number", range(8)), ("preference", range(99))):
        found = [getattr(kernel, field) for kernel in KERNELS.values()]
        assert len(set(found)) == len(found), field
        assert set(found) <= set(allowed), field
    assert sorted(STORED, key=lambda name: KERNELS[name].preference) == preferred()
    assert all(kernel.summary for kernel in KERNELS.values())


def test_what_hardware_reads_never_changes():
    """Codes stand in block headers, numbers in table memories: both outlive a release."""
    codes = {"dense": 1, "bitmap": 2, "runlength": 3, "nm": 4, "block": 5, "raw": 6, "band": 7}
    numbers = {"dense": 0, "bitmap": 1, "runlength": 2, "nm": 3, "block": 4, "raw": 5, "band": 6}
    assert {name: KERNELS[name].code for name in codes} == codes
    assert {name: KERNELS[name].number for name in numbers} == numbers


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.field)
def test_every_parameter_is_a_field_of_the_array(parameter):
    fields = {field.name: field for field in dataclasses.fields(ArrayShape)}
    assert fields[parameter.field].default == parameter.default
    assert parameter.default in parameter.choices
    owners = [k for k in KERNELS.values() if parameter in k.parameters]
    assert len(owners) == 1
    for choice in parameter.choices[:3]:
        assert isinstance(owners[0](**{parameter.field: choice}), owners[0])


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


def test_figures_are_what_is_stored_and_what_the_decoder_takes(
    kernel: Kernel, rng: np.random.Generator
):
    for name, block in cases(rng, kernel):
        steps, figures = kernel.steps(block), kernel.figures(block != 0)
        index, values = kernel.encode(block)
        assert figures.held.all(), name
        assert len(index) == kernel.index_words(int(figures.entries.sum())), name
        assert len(values) == figures.values.sum(), name
        assert kernel.cycles(block != 0) == max(int(figures.slots.sum()), len(steps.events)), name
        # A step that hands over no event is a close token, which takes a slot of its own.
        slots = np.maximum(steps.events.astype(np.int64), 1) * steps.push
        ends = np.cumsum(steps.last) - steps.last
        per_column = np.bincount(ends, weights=slots, minlength=block.shape[1])
        taken = np.bincount(ends, minlength=block.shape[1])
        assert figures.slots.shape == (block.shape[1],), name
        if kernel.paired:
            # Whether a pair is parted depends on where its column begins in a word.
            assert (figures.slots >= per_column - 1).all(), name
            assert (figures.slots <= taken).all(), name
            assert (figures.steps <= taken).all(), name
        else:
            np.testing.assert_array_equal(figures.slots, per_column, name)
            np.testing.assert_array_equal(figures.steps, taken, name)


def test_columns_that_cannot_be_held_are_named(kernel: Kernel, rng: np.random.Generator):
    for depth in DEPTHS:
        for name, block in blocks(rng, depth).items():
            held = kernel.figures(block != 0).held
            alone = [kernel.accepts(block[:, [column]]) for column in range(block.shape[1])]
            assert held.tolist() == alone, f"{name}, depth {depth}"
            assert kernel.selective or held.all()


def test_samples_have_the_count_and_the_structure(kernel: Kernel, rng: np.random.Generator):
    for depth, columns in ((64, 16), (61, 5), (1, 1), (16, 1)):
        for count in (0, 1, depth * columns // 4, depth * columns):
            block = kernel.sample(rng, depth, columns, min(count, depth * columns))
            if block is None:
                assert kernel.selective
                continue
            assert block.shape == (depth, columns)
            assert np.count_nonzero(block) == min(count, depth * columns)
            assert kernel.accepts(block)
            if kernel.clustered and kernel.run_rows == 1:
                # One run to a column: nothing is stored but the non-zeros.
                assert kernel.figures(block != 0).values.sum() == np.count_nonzero(block)


def test_situations_come_about_and_no_others(kernel: Kernel, rng: np.random.Generator):
    found = set()
    for _, block in cases(rng, kernel):
        found |= kernel.seen(block, kernel.steps(block))
    assert found == set(kernel.situations)
    assert set(kernel.possible(256)) == set(kernel.situations)


def test_documented_band_words():
    block = np.zeros((6, 3), np.int8)
    block[[1, 3], 0] = [7, -128]
    block[5, 2] = 1
    index, values = KERNELS["band"]().encode(block)
    assert [hex(word) for word in index.tolist()] == ["0x30001", "0x10005"]
    assert values.tolist() == [7, 0, -128, 1]


def test_documented_bitmap_words():
    block = np.zeros((66, 2), np.int8)
    block[[0, 5, 64], 0] = [1, -2, 3]
    block[65, 1] = -128
    index, values = KERNELS["bitmap"]().encode(block)
    assert index.tolist() == [0b100001, 1, 0, 0b10]
    assert values.tolist() == [1, -2, 3, -128]


def test_documented_dense_bytes():
    block = np.array([[1, -128], [0, 5], [3, 0]], np.int8)
    index, values = KERNELS["dense"]().encode(block)
    assert index.tolist() == []
    assert values.tolist() == [1, 0, 3, -128, 5, 0]


def test_dense_takes_a_step_for_each_row():
    steps = KERNELS["dense"]().steps(np.zeros((37, 2), np.int8))
    assert steps.events.tolist() == [1] * 74
    assert np.flatnonzero(steps.last).tolist() == [36, 73]


def test_bitmap_steps_skip_empty_chunks():
    block = np.zeros((192, 1), np.int8)
    block[[3, 40, 41], 0] = 1
    steps = KERNELS["bitmap"]().steps(block)
    # Two chunks of the first word, the empty second word, and the close token of the third.
    assert steps.events.tolist() == [1, 2, 0, 0]
    assert steps.push.tolist() == [True, True, False, True]
    assert steps.word.tolist() == [False, True, True, True]
    assert steps.last.tolist() == [False, False, False, True]


def test_structured_kernel_refuses_what_it_cannot_hold():
    kernel = KERNELS["nm"]()
    block = np.ones((4, 1), np.int8)
    assert not kernel.accepts(block)
    with pytest.raises(BadInput, match="nm"):
        kernel.encode(block)


@pytest.mark.parametrize("depth", [16, 64, 100, 256])
def test_no_column_takes_more_index_words_than_the_rings_are_made_for(depth: int, rng):
    for values in ((3, 2, 4, 8), (4, 1, 2, 1), (6, 4, 8, 16), (8, 11, 16, 2)):
        given = dict(zip((p.field for p in PARAMETERS), values, strict=True))
        for name, kind in KERNELS.items():
            kernel = kind.configured(SimpleNamespace(**given))
            most = kernel.most_index_words(depth)
            for zeros in (0.0, 0.3, 0.9, 1.0):
                block = rng.integers(1, 128, (depth, 1)).astype(np.int8)
                block[rng.random(block.shape) < zeros] = 0
                if name == "nm":
                    block[np.arange(depth) % given["nm_m"] >= given["nm_n"]] = 0
                assert len(kernel.encode(block)[0]) <= most
                # The densest column takes as many.
                assert zeros or len(kernel.encode(block)[0]) == most
