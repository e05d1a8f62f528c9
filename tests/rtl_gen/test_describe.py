"""The register map as documentation: its cells, and the values that the hardware has."""

import re
from typing import Any, cast

import pytest

from flows.build import open_device
from rtl_gen.config import derive, load
from rtl_gen.top.array_top import ArrayTop
from rtl_gen.top.describe import c_header, register_markdown
from rtl_gen.top.registers import registers_of


def cells(line: str) -> list[str]:
    """Cells of a row of a Markdown table, as a reader of Markdown splits it."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@pytest.mark.parametrize("selector", [False, True])
def test_every_row_has_the_cells_of_its_header(selector: bool):
    registers = registers_of(selector)
    text = register_markdown(registers, {"VERSION": 0x1_0000})
    rows = [cells(line) for line in text.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [5] * (len(registers) + 2)
    assert [row[1] for row in rows[2:]] == [register.name for register in registers]
    version = next(row for row in rows if row[1] == "VERSION")
    assert version[3] == "constant 0x10000"
    assert version[4] == r"Interface version, major << 16 \| minor."
    tiles = next(row for row in rows if row[1] == "M_TILES")
    assert tiles[3] == "0x1"


def test_constants_are_what_the_hardware_answers():
    derived = derive(load("test"))
    top = ArrayTop(derived.shape, int(derived.config_hash[:8], 16))
    # Asked for its constants alone: Amaranth warns of parts that are never elaborated.
    cast(Any, top)._MustUse__silence = True
    assert top.constants["CONFIG_HASH"] == int(derived.config_hash[:8], 16)
    with open_device(derived) as device:
        for name, value in top.constants.items():
            assert device.read(name) == value, name
        text = register_markdown(registers_of(False), top.constants)
        for line in text.splitlines()[6:]:
            row = cells(line)
            assert int(row[3].removeprefix("constant "), 16) == device.read(row[1]), row[1]


def test_the_header_names_the_top():
    assert "sparsefuse array top" in c_header("array", registers_of(False))
