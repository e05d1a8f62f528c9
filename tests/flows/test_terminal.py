"""Tables: nothing wider than the terminal, no word broken, every cell shown."""

import ast
from pathlib import Path

import numpy as np
import pytest

from flows import terminal
from flows.terminal import print_paths, print_table, table_lines

FOLDER = Path(terminal.__file__).parent


def words(*cells: object) -> list[str]:
    return [word for cell in cells for word in str(cell).split()]


def test_a_table_that_fits_is_a_plain_one():
    lines = table_lines(("mask", "cycles"), [("random", 12), ("2:4", "3,456")], 80)
    assert lines == [
        "mask    cycles",
        "──────────────",
        "random      12",
        "2:4      3,456",
    ]


def test_columns_wrap_at_blanks_alone():
    header = ("mask of the weights", "speed-up per LUT")
    lines = table_lines(header, [("clustered 50 %", "12.34"), ("random", "5.6")], 20)
    assert lines == [
        "mask of     speed-up",
        "the          per LUT",
        "weights",
        "────────────────────",
        "clustered      12.34",
        "50 %",
        "random           5.6",
    ]


def test_a_long_name_stands_above_its_row():
    row = ("encoder.layer.3.attention.self.query", "98.7%", "123,456")
    lines = table_lines(("layer", "share", "cycles"), [row], 40)
    assert lines == [
        "layer",
        "  share   cycles",
        "────────────────",
        "encoder.layer.3.attention.self.query",
        "  98.7%  123,456",
    ]


def test_a_name_that_would_become_a_tower_stands_above_its_row():
    header = ("what the case is about", "first", "second")
    lines = table_lines(header, [("one two three four five six", "1" * 9, "2" * 9)], 30)
    assert lines == [
        "what the case is about",
        "      first     second",
        "──────────────────────",
        "one two three four five six",
        "  111111111  222222222",
    ]


def test_what_fits_no_column_stands_behind_its_name():
    row = ("a", "x" * 30, "", "z" * 50)
    assert table_lines(("what", "first", "second", "third"), [row], 40) == [
        "what: a",
        "  first: " + "x" * 30,
        "  third:",
        "    " + "z" * 50,
    ]


def test_a_table_without_names_has_no_line_for_them():
    assert table_lines(("", ""), [("layer", "one"), ("FF", 3)], 80) == ["layer  one", "FF       3"]
    assert table_lines(("a", "b"), [], 80) == ["a  b", "────"]


@pytest.mark.parametrize("width", [20, 40, 80, 132])
def test_no_word_is_ever_broken(width: int, rng: np.random.Generator):
    def cell(limit: int) -> str:
        sizes = rng.integers(1, limit, rng.integers(0, 5))
        return " ".join("".join(rng.choice(list("abc-/_."), size)) for size in sizes)

    for _ in range(200):
        columns, limit = int(rng.integers(1, 12)), int(rng.integers(2, 40))
        header = [cell(limit) for _ in range(columns)]
        rows = [[cell(limit) for _ in range(columns)] for _ in range(rng.integers(0, 4))]
        lines = table_lines(header, rows, width)
        cells = [word for row in rows for word in words(*row)]
        shown = words(*lines)
        for word in cells:
            assert word in shown
        for line in lines:
            longest = max(map(len, words(line)), default=0)
            assert len(line) <= max(width, longest + 4), line


def test_paths_are_never_broken(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    path = "/home/someone/" + "/".join(["a folder"] * 12) + "/sparsefuse.v"
    print_paths({"Verilog": path})
    print_table("A title of several words that is wider than the terminal is", ("a", "b"), [])
    out = capsys.readouterr().out
    assert f"Verilog: {path}\n" in out
    assert "A title of several words that is wider\nthan the terminal is\n" in out


def test_all_tables_are_laid_out_here():
    users = [
        path.name
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "rich.table"
    ]
    assert users == []
