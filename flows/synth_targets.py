"""What ``--target`` may name, and how the cells of a synthesised design are counted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from constraints.families import FAMILIES
from constraints.family import CELL_CLASSES, Family, PlaceAndRoute, Synthesis
from golden.errors import BadInput, CheckFailed

__all__ = ["TARGETS", "command_for", "family_of", "nearest", "router_of", "totals"]

TARGETS: Mapping[str, Synthesis] = MappingProxyType(
    {name: family.synthesis for name, family in FAMILIES.items() if family.synthesis is not None}
)
"""How Yosys maps to each family that it can map to, by the family's name."""


def nearest(name: str, known: list[str]) -> str:
    """Return the known name closest to ``name``; the first one when none is close."""
    return difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]


def family_of(target: str) -> Family:
    """Return the family that ``--target`` names.

    Raises:
        BadInput: there is none, or Yosys can't map to it.
    """
    if target not in TARGETS:
        known = sorted(TARGETS)
        raise BadInput(
            f"synth: target must be one of {', '.join(known)}, not {target!r}; "
            f"the nearest is {nearest(target, known)!r}"
        )
    return FAMILIES[target]


def router_of(target: str) -> PlaceAndRoute:
    """Return how the family that ``--target`` names is placed and routed.

    Raises:
        BadInput: there is no such family, or no open place and route for it.
    """
    router = family_of(target).place_and_route
    if router is None:
        able = [name for name in TARGETS if FAMILIES[name].place_and_route is not None]
        raise BadInput(f"synth: place and route needs target {', '.join(able)}, not {target!r}")
    return router


def command_for(synthesis: Synthesis, sources: Iterable[Path]) -> str:
    """Return the synthesis command that suits the Verilog files of a design."""
    if synthesis.instantiated is None or synthesis.instance_command is None:
        return synthesis.command
    instance = re.compile(rf"^\s*{synthesis.instantiated}\b", re.M)
    found = any(instance.search(source.read_text()) for source in sources)
    return synthesis.instance_command if found else synthesis.command


def totals(synthesis: Synthesis, cells: Mapping[str, int]) -> dict[str, float]:
    """Sum cells by class.

    Returns:
        Every name of :data:`constraints.family.CELL_CLASSES` to its total, in the units of the
        family's record.

    Raises:
        CheckFailed: a cell is in no row, so that no total silently misses it.
    """
    found: dict[str, float] = dict.fromkeys(CELL_CLASSES, 0.0)
    for name, count in cells.items():
        for pattern, kind, units in synthesis.cells:
            if re.fullmatch(pattern, name):
                if kind != "other":
                    found[kind] += units * count
                break
        else:
            raise CheckFailed(
                f"{synthesis.command}: cell {name!r} has no class in the family's record, "
                f"so its {count} instances can't be counted"
            )
    return found
