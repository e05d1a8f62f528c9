"""The performance table: lines through measurements, table memory, files that are refused."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import KERNELS, STORED
from golden.selector.table import (
    BINS,
    DENSITIES,
    Line,
    PerformanceTable,
    Point,
    density_bin,
    load_table,
)
from tests.golden.plans import BY_NUMBER

HASH = "0123456789abcdef" * 4
SHAPES = ((16, 4), (64, 3))
BLOCKS = 8


def cycles_of(kernel: str, depth: int, columns: int, step: int) -> Fraction:
    """A made-up array: cycles that are linear where the kernel's are."""
    size = depth * columns
    count = size * DENSITIES[step]
    return {
        "dense": size + 1,
        "bitmap": 4 * columns + Fraction(5, 4) * count,
        "runlength": 4 * columns + count + 3 * (step % 2),
        "nm": Fraction(size, 2) + 2,
        "block": 2 * columns + count,
        "band": 2 * columns + count,
    }[kernel]


def make_table(shapes=SHAPES, kernels=STORED, **fields) -> PerformanceTable:
    points = []
    for kernel in kernels:
        for depth, columns in shapes:
            for step in range(BINS):
                there = kernel != "nm" or step < BINS - 1
                count = int(depth * columns * DENSITIES[step])
                points.append(
                    Point(
                        kernel=kernel,
                        depth=depth,
                        columns=columns,
                        step=step,
                        feasible=there,
                        blocks=BLOCKS * there,
                        cycles=int(BLOCKS * cycles_of(kernel, depth, columns, step)) * there,
                        events=BLOCKS * 4 * count * there,
                        weight_bytes=4 * (8 + count) * there,
                    )
                )
    given = {
        "config_hash": HASH,
        "source": "invented",
        "tools": {"none": "0"},
        "seed": 1,
        "lanes": 4,
        "engines": 4,
    }
    return PerformanceTable(**(given | fields), points=tuple(points))


@pytest.fixture(scope="module")
def table() -> PerformanceTable:
    return make_table()


def naive_bin(count: int, size: int) -> int:
    for number, density in enumerate(DENSITIES):
        if Fraction(count, size) <= density:
            return number
    return BINS - 1


@pytest.mark.parametrize("size", [64, 1, 7, 192, 1021])
def test_bins_hold_what_lies_below_their_end(size: int):
    counts = np.arange(size + 1)
    expected = [naive_bin(count, size) for count in range(size + 1)]
    assert density_bin(counts, size).tolist() == expected
    assert set(expected) <= set(range(BINS))
    if size >= 64:
        assert set(expected) == set(range(BINS))


def test_lines_pass_through_both_measurements(table):
    checked = 0
    for kernel in table.kernels:
        for shape in table.shapes:
            for place in range(BINS):
                line = table.cost(kernel, place, shape)
                if not line.feasible:
                    assert (kernel, place) == ("nm", BINS - 1)
                    continue
                for step in {place, max(0, place - 1)}:
                    count = int(shape[0] * shape[1] * DENSITIES[step])
                    point = table.point(kernel, step, shape)
                    exact = Fraction(point.cycles, point.blocks)
                    found = Fraction(line.base + line.slope * count, 256)
                    # Half a unit for the base, half a unit of slope per count at the lower end.
                    assert abs(found - exact) <= Fraction(count + 2, 256)
                    checked += 1
    assert checked > 100


def test_linear_kernels_lose_nothing(table):
    for place in range(2, BINS):
        assert table.cost("bitmap", place, (64, 3)).slope == 320
        assert table.cost("dense", place, (64, 3)) == Line(193 * 256, 0, True)


def test_table_memory_holds_every_line(table):
    rom = table.rom_image()
    assert rom.dtype == np.uint64
    assert len(rom) == 128
    seen = 0
    for number, shape in enumerate(table.shapes):
        for code in range(8):
            for place in range(BINS):
                word = int(rom[number * 64 + code * 8 + place])
                if BY_NUMBER.get(code) not in STORED:
                    assert word == 0
                    continue
                line = table.cost(BY_NUMBER[code], place, shape)
                slope = word & 0x3FFFF
                base = word >> 18 & 0xFFFFFFFF
                slope -= (slope >> 17) << 18
                base -= (base >> 31) << 32
                assert (base, slope, word >> 50) == (line.base, line.slope, line.feasible)
                seen += 1
    assert seen == 2 * len(STORED) * 8


def test_lines_pack_their_extremes():
    line = Line(-(1 << 31), -(1 << 17), True)
    assert line.pack() == 1 << 17 | 1 << 49 | 1 << 50
    assert Line(-1, -1, False).pack() == (1 << 50) - 1


def test_missing_kernels_are_infeasible_in_memory():
    rom = make_table(kernels=("bitmap",)).rom_image().reshape(2, 8, BINS)
    assert (rom[:, KERNELS["bitmap"].number] != 0).all()
    assert np.count_nonzero(rom) == 2 * BINS


def test_energy_is_the_documented_sum(table):
    # 64 x 3 at 1/2: 96 events of 4 lanes, 8 + 96 bytes, 3 columns of 4 words.
    assert table.energy_proxy("bitmap", BINS - 2, (64, 3)) == 96 * 4 + (8 + 96) * 4 + 12 * 33
    assert table.block_bytes("bitmap", BINS - 2, (64, 3)) == 104
    assert np.isnan(table.energy_proxy("nm", BINS - 1, (64, 3)))


@pytest.mark.parametrize(
    ("shape", "number"), [((16, 4), 0), ((64, 3), 1), ((4096, 1), 1), ((8, 8), 0), ((50, 2), 1)]
)
def test_the_nearest_shape(table, shape: tuple[int, int], number: int):
    assert table.nearest_shape(*shape) == number


def test_a_steep_line_is_refused(tmp_path):
    document = make_table().model_dump(mode="json")
    at = next(n for n, p in enumerate(document["points"]) if p["kernel"] == "dense" and p["step"])
    document["points"][at]["cycles"] = 10_000 * BLOCKS
    path = written(tmp_path / "steep.json", document)
    rule = "slope: must fit 18 signed bits in 1/256 cycles, got .* for dense, bin 1, 16 x 4"
    with pytest.raises(BadInput, match=f"^{path}: performance table: {rule}"):
        load_table(path, HASH)


def test_an_unknown_place_is_refused(table):
    with pytest.raises(BadInput, match=r"must be a kernel of dense.*got \('dense', 5, 5, 0\)"):
        table.cost("dense", 0, (5, 5))


def written(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_a_file_comes_back_as_it_was(tmp_path, table):
    document = table.model_dump(mode="json")
    path = written(tmp_path / "t.json", document)
    assert load_table(path, HASH) == table
    # The report of the benchmark holds the table.
    assert load_table(written(path, {"table": document, "bars": []}), HASH) == table


def broken_files() -> dict:
    good = make_table().model_dump(mode="json")
    text = json.dumps(good)
    unknown = json.loads(text)
    unknown["points"][3]["kernel"] = "fast"
    few = json.loads(text) | {"points": good["points"][:-1]}
    twice = json.loads(text) | {"points": [*good["points"], good["points"][0]]}
    negative = json.loads(text)
    negative["points"][0]["cycles"] = -1
    typed = json.loads(text) | {"lanes": "4"}
    nothing = json.loads(text)
    nothing["points"][0]["blocks"] = 0
    return {
        "truncated": (text[: len(text) // 2], "file: must be whole JSON, got "),
        "empty": ("", "file: must be whole JSON, got "),
        "unknown kernel": (unknown, "points.3.kernel: must be one of dense, .*, got 'fast'"),
        "missing point": (few, "points: must hold all steps of every shape, lacks band 64 x 3"),
        "point twice": (twice, "points: must hold each kernel, depth, columns and step once"),
        "negative": (negative, "points.0.cycles: must be greater than or equal to 0, got -1"),
        "wrong type": (typed, "lanes: must be a valid integer, got '4'"),
        "no blocks": (nothing, "points.0: must hold blocks, cycles and weight_bytes above 0"),
        "a list": ([1, 2], "must be an object, got"),
        "no format": ({**good, "format": "other"}, "format: must be 'sparsefuse perf.*'other'"),
        "extra key": ({**good, "surplus": 1}, "surplus: .*not permitted, got 1"),
        "hash": ({**good, "config_hash": "ab" * 32}, f"config_hash: must be .*{HASH}, got abab"),
    }


@pytest.mark.parametrize("case", sorted(broken_files()))
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, case: str):
    document, message = broken_files()[case]
    path = written(tmp_path / "table.json", document)
    with pytest.raises(BadInput, match=message) as caught:
        load_table(path, HASH)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_missing_or_binary_file_is_refused(tmp_path):
    with pytest.raises(BadInput, match="file: must be readable, got No such file"):
        load_table(tmp_path / "none.json", HASH)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="file: must be whole JSON"):
        load_table(tmp_path / "binary", HASH)
