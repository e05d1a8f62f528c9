"""docs/formats.md: every word of its examples, and an encoder written from its sentences alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

from golden.formats import KERNELS, PARAMETERS, Kernel
from golden.formats.block_header import HEADER_FIELDS, BlockHeader
from golden.program.deal import Deal
from golden.program.streams import EngineStream, Part, encode_stream
from golden.shape import ArrayShape
from tests.golden.formats.manual_encoder import (
    ENCODERS,
    Encoded,
    columns_of,
    entry_words,
    header_word,
    value_words,
)
from tests.golden.formats.manual_page import EXAMPLES, MANUAL, MATRICES, SECTIONS, Example, named


def _product(kernel: Kernel, block: np.ndarray) -> Encoded:
    index, values = kernel.encode(block)
    return [int(word) for word in index], [int(value) for value in values]


def _codes() -> dict[str, int]:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|$", SECTIONS["Block header"], re.MULTILINE)
    return {name: int(code) for name, code in rows if name in KERNELS}


def test_every_kernel_has_a_section_with_an_example():
    lacking = [
        name
        for name in KERNELS
        if not any(
            text.startswith(f"example {name}, matrix A")
            for text in re.findall(r"```text\n(.*?)```", SECTIONS.get(name, ""), re.DOTALL)
        )
    ]
    assert not lacking, f"docs/formats.md has no section with an example for {', '.join(lacking)}"
    assert set(ENCODERS) == set(KERNELS)


def test_codes_and_fields_are_those_of_the_hardware():
    assert _codes() == {name: kernel.code for name, kernel in KERNELS.items()}
    rows = re.findall(r"^\| (\d+)(?::(\d+))? \| `(\w+)` \|", SECTIONS["Block header"], re.MULTILINE)
    printed = {
        (name, int(high) - int(low or high) + 1, int(low or high)) for high, low, name in rows
    }
    assert printed == set(HEADER_FIELDS)


def test_header_put_together():
    (printed,) = re.findall(r"^together `(\w{17})`", MANUAL, re.MULTILINE)
    (bitmap,) = [e for e in EXAMPLES if e.title == "example bitmap, matrix A"]
    assert int(printed.replace("_", ""), 16) == bitmap.headers[0][0]


def test_parameters_have_the_defaults_of_the_page():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `\w+` \| ([\d, ]+) \|", MANUAL, re.MULTILINE)
    printed = {}
    for names, values in rows:
        numbers = map(int, values.split(", "))
        printed |= dict(zip(re.findall(r"\w+", names), numbers, strict=True))
    assert printed == {parameter.field: parameter.default for parameter in PARAMETERS}


def test_matrix_a_has_what_the_page_says_of_it():
    matrix = MATRICES["A"]
    assert matrix.shape == (18, 3)
    assert not matrix[:, 1].any()
    assert not matrix[:14, 2].any()
    assert matrix[14, 2] == -128


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_words_of_an_example(example: Example):
    block = MATRICES[example.matrix]
    kernel = KERNELS[example.kernel](**example.parameters)
    index, values = _product(kernel, block)
    assert [word for word, _ in example.index] == index
    assert [word for word, _ in example.value] == value_words(values)
    header = BlockHeader(
        kernel=kernel.code,
        columns=block.shape[1],
        depth=len(block),
        first=True,
        final=True,
        segment_end=True,
        job_end=True,
    )
    assert [word for word, _ in example.headers] == [header.pack()]
    assert BlockHeader.unpack(example.headers[0][0]) == header
    # The page's own sentences give the same words.
    assert ENCODERS[example.kernel](columns_of(block), **example.parameters) == (index, values)
    flags = "first final tile_end segment_end job_end exact"
    assert header_word(_codes()[example.kernel], *block.shape, flags) == header.pack()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_words_of_an_example_decode_to_its_matrix(example: Example):
    block = MATRICES[example.matrix]
    kernel = KERNELS[example.kernel](**example.parameters)
    words = np.array([word for word, _ in example.index], np.uint64)
    data = np.array([word for word, _ in example.value], "<u8").view(np.int8)
    assert np.array_equal(kernel.decode(words, data, *block.shape), block)


def _bytes(word: int) -> list[int]:
    return [int(byte) for byte in np.array([word], "<u8").view(np.int8)]


def _check_values(printed: list[tuple[int, str]], count: int) -> None:
    """The bytes behind each word, and the bar where padding begins."""
    for number, (word, comment) in enumerate(printed):
        assert [int(n) for n in comment.replace("|", "").split()] == _bytes(word), comment
        left = count - 8 * number
        bar = comment.split().index("|") if "|" in comment else 8
        assert bar == min(left, 8), comment


def _check_index(kernel: Kernel, depth: int, printed: list[tuple[int, str]]) -> None:
    """What the page prints behind the words is what stands in them."""
    codes = {}
    if kernel.name == "runlength":
        codes = {"PAD": 2**kernel.entry_bits - 2, "END": 2**kernel.entry_bits - 1}
    for number, (word, comment) in enumerate(printed):
        if kernel.name == "raw":
            assert [int(n) for n in comment.split()] == _bytes(word), comment
            continue
        if kernel.name == "bitmap":
            first = 64 * (number % -(-depth // 64))
            rows = [first + bit for bit in range(64) if word >> bit & 1]
            assert [int(n) for n in re.findall(r"\d+", comment)] == rows, comment
            continue
        entries = []
        for text in comment.split():
            low, _, high = text.partition("+")
            entries.append(codes[low] if low in codes else int(low) | int(high or 0) << 16)
        assert entry_words(entries, kernel.entry_bits) == [word], comment


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_what_stands_behind_the_words_of_an_example(example: Example):
    block = MATRICES[example.matrix]
    kernel = KERNELS[example.kernel](**example.parameters)
    _check_index(kernel, len(block), example.index)
    _check_values(example.value, len(_product(kernel, block)[1]))


def test_segment_of_several_blocks():
    example = named("segment, matrix A")
    head, tail = np.split(MATRICES["A"], [10])
    band = tail * (np.arange(8) >= 6)[:, None].astype(np.int8)
    parts = [("bitmap", head), ("band", band), ("runlength", (tail - band).astype(np.int8))]
    assert [comment for _, comment in example.headers] == [name for name, _ in parts]
    formats = {name: KERNELS[name]() for name in KERNELS}
    first, *rest = [Part(name, block) for name, block in parts]
    stream = encode_stream(formats, [[[first], rest]], [np.arange(3)])
    assert example.stream == stream.index.tolist()
    assert [word for word, _ in example.value] == stream.values.tolist()

    # The same from the page: its table of flags and its sentences.
    rows = re.findall(
        r"^\| `(\w+)` ((?:\| [01] )+)\|$", SECTIONS["Several blocks in a segment"], re.MULTILINE
    )
    names = ("first", "final", "tile_end", "segment_end", "job_end")
    assert [name for name, _ in rows] == [name for name, _ in parts]
    words, values = [], []
    for (name, block), (_, row) in zip(parts, rows, strict=True):
        flags = [flag for flag, bit in zip(names, row.split("|")[1:], strict=True) if int(bit)]
        own, stored = ENCODERS[name](columns_of(block))
        words += [header_word(_codes()[name], *block.shape, " ".join([*flags, "exact"])), *own]
        values += stored
    assert example.stream == words
    assert [word for word, _ in example.value] == value_words(values)
    _check_values(example.value, len(values))
    at = 0
    for name, block in parts:
        count = len(ENCODERS[name](columns_of(block))[0])
        _check_index(formats[name], len(block), example.index[at : at + count])
        at += count
    assert at == len(example.index)


def _idle_engine() -> EngineStream:
    """Two k tiles, of 10 and 8 rows, for an engine without columns."""
    parts = [[Part("bitmap", np.zeros((rows, 1), np.int8))] for rows in (10, 8)]
    return encode_stream({"bitmap": KERNELS["bitmap"]()}, [parts], [np.array([-1])])


def test_block_for_an_engine_without_columns():
    example = named("idle\n")
    stream = _idle_engine()
    assert example.stream == stream.index.tolist()
    assert not len(stream.values)
    assert not example.value


def _operand_words(matrix: np.ndarray, engines: int, k_tile: int, share: int) -> list[int]:
    """The loop nest of the page."""
    words = []
    depth, outputs = matrix.shape
    for first in range(0, outputs, share * engines):
        for low in range(0, depth, k_tile):
            for engine in range(engines):
                for place in range(share):
                    column = first + engine * share + place
                    if column < outputs:
                        rows = matrix[low : min(low + k_tile, depth), column]
                        words += value_words([int(value) for value in rows])
    return words


def _dealt(matrix: np.ndarray, engines: int, k_tile: int, share: int) -> list[int]:
    shape = ArrayShape(
        lanes=4, engines=engines, group=engines, k_tile=k_tile, columns=8, activation_tiles=2,
        index_words=64, value_words=64, queue=8, data_bits=64, kernels=("raw",), mac="packed",
        operand=True,
    )  # fmt: skip
    depth, outputs = matrix.shape
    deal = Deal(shape=shape, depth=depth, outputs=outputs, share=share, replay=True)
    return deal.words(matrix).tolist()


def test_words_of_a_run_time_operand(rng: np.random.Generator):
    example = named("operand, ")
    sizes = [int(n) for n in re.findall(r"(?:engines|k_tile|share) (\d+)", example.title)]
    printed = [word for word, _ in example.index]
    assert len(sizes) == 3
    assert printed == _operand_words(MATRICES["A"], *sizes)
    assert printed == _dealt(MATRICES["A"], *sizes)
    for engines, k_tile, share in ((1, 16, 2), (3, 32, 1), (3, 16, 4)):
        matrix = rng.integers(-128, 128, (37, 11)).astype(np.int8)
        assert _operand_words(matrix, engines, k_tile, share) == _dealt(
            matrix, engines, k_tile, share
        )


# The encoder from the manual against the product's.


def _settings(name: str) -> list[dict[str, int]]:
    if name == "nm":
        return [{"nm_n": n, "nm_m": m} for m in (2, 4, 8, 16) for n in (1, m // 2, m - 1) if n]
    (parameter,) = KERNELS[name].parameters or (None,)
    return [{}] if parameter is None else [{parameter.field: v} for v in parameter.choices]


CASES = [(name, settings) for name in KERNELS for settings in _settings(name)]


@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_encoder_from_the_manual(name: str, settings: dict[str, int], rng: np.random.Generator):
    kernel = KERNELS[name](**settings)
    for depth in (1, 3, 16, 17, 64, 65, 200):
        for density in (0, 0.02, 0.3, 1):
            block = rng.integers(-128, 128, (depth, 5)).astype(np.int8)
            block[rng.random(block.shape) >= density] = 0
            block[:, 2] = 0
            block[rng.integers(depth), 4] = -128
            block = kernel.trimmed(block)
            encoded = ENCODERS[name](columns_of(block), **settings)
            assert encoded == _product(kernel, block), (depth, density)
