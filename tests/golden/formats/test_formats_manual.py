"""docs/formats.md: every word of its examples, and an encoder written from its sentences alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from golden.formats import KERNELS, PARAMETERS, Kernel
from golden.formats.block_header import HEADER_FIELDS, BlockHeader
from golden.program.deal import Deal
from golden.program.plan import Plan
from golden.program.results import expected_results
from golden.program.streams import EngineStream, Part, encode_stream
from golden.shape import ArrayShape

MANUAL = (Path(__file__).parents[3] / "docs" / "formats.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", MANUAL, re.DOTALL | re.MULTILINE))
TEXTS = re.findall(r"^```text\n(.*?)^```", MANUAL, re.DOTALL | re.MULTILINE)

SHAPE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=16, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=128, kernels=tuple(KERNELS), mac="packed",
)  # fmt: skip


# The manual's examples.


@dataclass
class Example:
    """Words of one printed stream, with what the manual prints behind them."""

    title: str
    headers: list[tuple[int, str]] = field(default_factory=list)
    index: list[tuple[int, str]] = field(default_factory=list)
    value: list[tuple[int, str]] = field(default_factory=list)
    blocks: list[list[int]] = field(default_factory=list)

    @property
    def kernel(self) -> str:
        return self.title.split(",")[0].split()[1]

    @property
    def matrix(self) -> str:
        return re.findall(r"matrix (\w)", self.title)[0]

    @property
    def parameters(self) -> dict[str, int]:
        named = re.findall(r"(\w+) (\d+)", self.title)
        return {name: int(value) for name, value in named}

    @property
    def stream(self) -> list[int]:
        """Headers and index words as they follow each other."""
        return [word for block in self.blocks for word in block]


def _example(text: str) -> Example:
    title, *lines = text.splitlines()
    example = Example(title)
    for line in lines:
        kind, number, comment = re.fullmatch(
            r"(header|index|value) +([0-9a-f]{8}_[0-9a-f]{8})(?: +(.*))?", line
        ).groups()  # pyright: ignore[reportOptionalMemberAccess]
        word = int(number.replace("_", ""), 16), comment or ""
        {"header": example.headers, "index": example.index, "value": example.value}[kind].append(
            word
        )
        if kind == "header":
            example.blocks.append([])
        if kind != "value":
            (example.blocks or [[]])[-1].append(word[0])
    return example


def _matrices() -> dict[str, np.ndarray]:
    found = {}
    for text in TEXTS:
        if not text.startswith("matrix "):
            continue
        title, *lines = text.splitlines()
        if lines[0].startswith("rows "):
            matrix = np.zeros((int(lines[0].split()[1]), 1), np.int8)
            for line in lines[1:]:
                column, row, value = map(int, re.findall(r"-?\d+", line))
                matrix[row, column] = value
        else:
            rows = [line.split(":") for line in lines]
            assert [name for name, _ in rows] == [f"column {i}" for i in range(len(rows))]
            matrix = np.array([list(map(int, values.split())) for _, values in rows], np.int8).T
        found[title.split()[1]] = matrix
    return found


MATRICES = _matrices()
EXAMPLES = [_example(text) for text in TEXTS if text.startswith("example ")]


def _named(start: str) -> Example:
    (text,) = [text for text in TEXTS if text.startswith(start)]
    return _example(text)


# An encoder written from the manual: naive loops, nothing of the product's.


def _header(code: int, rows: int, columns: int, flags: str) -> int:
    names = ("first", "final", "tile_end", "segment_end", "job_end", "exact")
    bits = sum(1 << (4 + place) for place, name in enumerate(names) if name in flags.split())
    return code | bits | (columns - 1) << 16 | (rows - 1) << 32 | 32768 << 48


def _entry_words(entries: list[int], bits: int) -> list[int]:
    words, most = [], 64 // bits
    for number, entry in enumerate(entries):
        if number % most == 0:
            words.append(0)
        words[-1] |= entry << bits * (number % most)
    return words


def _value_words(values: list[int]) -> list[int]:
    words = [0] * -(-len(values) // 8)
    for number, value in enumerate(values):
        words[number // 8] |= (value & 0xFF) << 8 * (number % 8)
    return words


Encoded = tuple[list[int], list[int]]
Columns = list[list[int]]


def _dense(columns: Columns) -> Encoded:
    return [], [value for column in columns for value in column]


def _bitmap(columns: Columns) -> Encoded:
    words = []
    for column in columns:
        own = [0] * -(-len(column) // 64)
        for row, value in enumerate(column):
            own[row // 64] |= (value != 0) << row % 64
        words += own
    return words, [value for column in columns for value in column if value]


def _runlength(columns: Columns, gap_bits: int = 4) -> Encoded:
    end, pad = 2**gap_bits - 1, 2**gap_bits - 2
    entries, values = [], []
    for column in columns:
        zeros = 0
        for value in column:
            if value == 0:
                zeros += 1
                continue
            while zeros >= pad:
                entries.append(pad)
                zeros -= pad
            entries.append(zeros)
            values.append(value)
            zeros = 0
        entries.append(end)
    return _entry_words(entries, gap_bits), values


def _nm(columns: Columns, nm_n: int = 2, nm_m: int = 4) -> Encoded:
    entries, values = [], []
    for column in columns:
        for low in range(0, len(column), nm_m):
            run = (column[low : low + nm_m] + [0] * nm_m)[:nm_m]
            slots = [place for place in range(nm_m) if run[place]]
            for place in range(nm_m):
                if len(slots) < nm_n and not run[place]:
                    slots.append(place)
            entries += sorted(slots)
            values += [run[place] for place in sorted(slots)]
    return _entry_words(entries, {2: 1, 4: 2, 8: 3, 16: 4}[nm_m]), values


def _block(columns: Columns, block_rows: int = 8) -> Encoded:
    entries, values = [], []
    for column in columns:
        for chunk in range(0, len(column), 16):
            entry = 0
            for run in range(16 // block_rows):
                low = chunk + run * block_rows
                rows = column[low : min(low + block_rows, chunk + 16)]
                if any(rows):
                    entry |= 1 << run
                    values += rows
            entries.append(entry)
    return _entry_words(entries, 16 // block_rows), values


def _band(columns: Columns) -> Encoded:
    entries, values = [], []
    for column in columns:
        held = [row for row, value in enumerate(column) if value]
        if not held:
            entries.append(0)
            continue
        run = column[held[0] : held[-1] + 1]
        entries.append(held[0] | len(run) << 16)
        values += run
    return _entry_words(entries, 32), values


def _raw(columns: Columns) -> Encoded:
    return [word for column in columns for word in _value_words(column)], []


ENCODERS: dict[str, Callable[..., Encoded]] = {
    "dense": _dense,
    "bitmap": _bitmap,
    "runlength": _runlength,
    "nm": _nm,
    "block": _block,
    "band": _band,
    "raw": _raw,
}


def _columns(block: np.ndarray) -> Columns:
    return [[int(value) for value in column] for column in block.T]


def _product(kernel: Kernel, block: np.ndarray) -> Encoded:
    index, values = kernel.encode(block)
    return [int(word) for word in index], [int(value) for value in values]


def _codes() -> dict[str, int]:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|$", SECTIONS["Block header"], re.MULTILINE)
    return {name: int(code) for name, code in rows if name in KERNELS}


# What stands on the page.


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
    assert [word for word, _ in example.value] == _value_words(values)
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
    assert ENCODERS[example.kernel](_columns(block), **example.parameters) == (index, values)
    flags = "first final tile_end segment_end job_end exact"
    assert _header(_codes()[example.kernel], *block.shape, flags) == header.pack()


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
        assert _entry_words(entries, kernel.entry_bits) == [word], comment


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_what_stands_behind_the_words_of_an_example(example: Example):
    block = MATRICES[example.matrix]
    kernel = KERNELS[example.kernel](**example.parameters)
    _check_index(kernel, len(block), example.index)
    _check_values(example.value, len(_product(kernel, block)[1]))


def test_segment_of_several_blocks():
    example = _named("segment, matrix A")
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
        own, stored = ENCODERS[name](_columns(block))
        words += [_header(_codes()[name], *block.shape, " ".join([*flags, "exact"])), *own]
        values += stored
    assert example.stream == words
    assert [word for word, _ in example.value] == _value_words(values)
    _check_values(example.value, len(values))
    at = 0
    for name, block in parts:
        count = len(ENCODERS[name](_columns(block))[0])
        _check_index(formats[name], len(block), example.index[at : at + count])
        at += count
    assert at == len(example.index)


def _idle_engine() -> EngineStream:
    """Two k tiles, of 10 and 8 rows, for an engine without columns."""
    parts = [[Part("bitmap", np.zeros((rows, 1), np.int8))] for rows in (10, 8)]
    return encode_stream({"bitmap": KERNELS["bitmap"]()}, [parts], [np.array([-1])])


def test_block_for_an_engine_without_columns():
    example = _named("idle\n")
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
                        words += _value_words([int(value) for value in rows])
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
    example = _named("operand, ")
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
            encoded = ENCODERS[name](_columns(block), **settings)
            assert encoded == _product(kernel, block), (depth, density)


# What docs/array.md says of the streams, as naive loops.


def _plan(rng: np.random.Generator, shape: ArrayShape) -> tuple[Plan, np.ndarray, np.ndarray]:
    """Two segments by hand: 7 columns on 4 engines, of which two stay without work in the second.

    Returns:
        the plan, activations (9, 40) and weights (40, 7).
    """
    weights = rng.integers(-128, 128, (40, 7)).astype(np.int8)
    weights[rng.random(weights.shape) < 0.6] = 0
    activations = rng.integers(-128, 128, (9, 40)).astype(np.int8)
    dealt = [[[0, 4], [1]], [[5], [6]], [[2], []], [[3], []]]
    bounds = np.array([0, 16, 32, 40])
    formats = {name: KERNELS[name].configured(shape) for name in shape.kernels}
    streams = []
    for engine, segments in enumerate(dealt):
        names = ("bitmap", "band", "runlength") if engine % 2 else ("dense", "raw", "block")
        encoded, columns = [], []
        for own in segments:
            held = weights[:, own] if own else np.zeros((40, 1), np.int8)
            tiles = zip(names, bounds, bounds[1:], strict=False)
            encoded.append([[Part(name, held[low:high])] for name, low, high in tiles])
            columns.append(np.array(own or [-1]))
        streams.append(encode_stream(formats, encoded, columns))
    plan = Plan(
        shape=shape, rows=9, depth=40, outputs=7, kept=np.arange(40), bounds=bounds,
        streams=streams, segments=2, replay=True,
    )  # fmt: skip
    return plan, activations, weights


WIDTHS = [SHAPE, *(ArrayShape(**{**SHAPE.__dict__, **sizes}) for sizes in (
    {"data_bits": 64, "lanes": 16}, {"data_bits": 64}, {"data_bits": 512, "lanes": 2},
))]  # fmt: skip


@pytest.mark.parametrize("shape", WIDTHS, ids=lambda s: f"{s.data_bits} bits, {s.lanes} lanes")
def test_weight_beats(shape: ArrayShape, rng: np.random.Generator):
    plan, _, _ = _plan(rng, shape)
    for group in range(2):
        data, targets = plan.weight_beats(group)
        rings: dict[int, list[int]] = {}
        for beat, target in zip(data, targets, strict=True):
            words = [
                int.from_bytes(beat[i : i + 8].tobytes(), "little") for i in range(0, len(beat), 8)
            ]
            assert len(words) == shape.data_bits // 64
            rings.setdefault(int(target), []).extend(words)
        for engine in range(2):
            stream = plan.streams[2 * group + engine]
            for ring, words in enumerate((stream.index.tolist(), stream.values.tolist())):
                got = rings.pop(2 * engine + ring, [])
                assert got[: len(words)] == words
                assert not any(got[len(words) :])
                assert len(got) - len(words) < shape.data_bits // 64
        assert not rings


@pytest.mark.parametrize("shape", WIDTHS, ids=lambda s: f"{s.data_bits} bits, {s.lanes} lanes")
def test_activation_beats(shape: ArrayShape, rng: np.random.Generator):
    plan, activations, _ = _plan(rng, shape)
    (job,) = plan.jobs
    data, last = plan.activation_beats(activations, job)
    tiles = np.split(data, np.flatnonzero(last) + 1)
    assert not len(tiles.pop())
    for m_tile in range(len(job)):
        for low, high in ((0, 16), (16, 32), (32, 40)):
            stream = [int(byte) for byte in tiles.pop(0).reshape(-1).view(np.int8)]
            at = 0
            for k in range(low, high):
                for lane in range(shape.lanes):
                    token = m_tile * shape.lanes + lane
                    assert stream[at] == (int(activations[token, k]) if token < 9 else 0)
                    at += 1
            assert not any(stream[at:])
            assert len(stream) - at < shape.data_bits // 8
    assert not tiles


@pytest.mark.parametrize("shape", WIDTHS, ids=lambda s: f"{s.data_bits} bits, {s.lanes} lanes")
def test_results(shape: ArrayShape, rng: np.random.Generator):
    plan, activations, weights = _plan(rng, shape)
    (job,) = plan.jobs
    exact = activations.astype(int) @ weights.astype(int)
    arrived = []
    idle = 0
    for group, found in enumerate(expected_results(plan, activations, job)):
        arrived.append((found.data, found.engines))
        at = 0
        for engine in range(2):
            for columns in plan.streams[2 * group + engine].columns:
                for m_tile in range(len(job)):
                    for column in columns:
                        assert found.engines[at] == engine
                        for lane in range(shape.lanes):
                            token = m_tile * shape.lanes + lane
                            real = column >= 0 and token < 9
                            assert found.data[at, lane] == (exact[token, column] if real else 0)
                        idle += column < 0
                        at += 1
        assert at == len(found.data)
    assert idle == 2 * len(job)
    assert np.array_equal(plan.collect(job, arrived), exact)
