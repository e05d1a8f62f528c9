"""docs/targets.md says what the records say, and its examples load."""

import re
from pathlib import Path

import pytest

from constraints.devices import parse_devices
from constraints.families import FAMILIES
from constraints.family import Family
from flows.synth_targets import TARGETS, command_for, totals
from golden.errors import CheckFailed
from golden.numerics.mac_kinds import MAC_KINDS

MANUAL = (Path(__file__).parents[2] / "docs" / "targets.md").read_text()


def block(language: str) -> str:
    (text,) = re.findall(rf"```{language}\n(.*?)```", MANUAL, re.DOTALL)
    return text


def test_the_table_is_the_registry():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", MANUAL, re.MULTILINE)
    found = {name: [cell.strip(" `") for cell in rest.split("|")] for name, rest in rows}
    expected = {}
    for name, synthesis in TARGETS.items():
        family = FAMILIES[name]
        macs = ", ".join(f"`{mac}` {count}" for mac, count in family.macs.items()).strip("`")
        router = family.place_and_route.program if family.place_and_route else ""
        expected[name] = [family.title, macs, synthesis.dsp_unit, router, family.part]
    assert found == expected


def test_the_example_of_a_part_loads():
    ((name, part),) = parse_devices(block("yaml")).items()
    assert part.name == name
    assert part.technology is FAMILIES["ecp5"]
    assert part.block_rams == 108
    assert part.nextpnr_arguments == ("--45k", "--package", "CABGA256", "--speed", "8")


def test_the_example_of_a_family_loads():
    names: dict[str, object] = {}
    exec(block("python"), names)
    family = names["FAMILY"]
    assert isinstance(family, Family)
    assert set(family.macs) <= set(MAC_KINDS)
    synthesis, router = family.synthesis, family.place_and_route
    assert synthesis is not None
    assert router is not None
    assert router.fields == ("size", "speed", "package")
    assert command_for(synthesis, []) == "synth_lattice -family xo2"
    counted = totals(synthesis, {"LUT4": 3, "TRELLIS_DPR16X4": 2, "DP8KC": 1})
    assert (counted["lut"], counted["lutram"], counted["bram"]) == (3, 8, 1)
    with pytest.raises(CheckFailed, match="'EHXPLLJ' has no class"):
        totals(synthesis, {"EHXPLLJ": 1})
