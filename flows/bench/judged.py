"""Mutants that change nothing anyone can see, as ``judged.yaml`` lists them with reasons.

A judgement is kept by content: the module and the lines of Verilog that the mutation takes away
and adds, under names that follow from neighbouring names alone.  It speaks of a mutant exactly
as long as those lines are the same.
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import yaml

__all__ = ["Judged", "change_of", "judged_mutants"]


def change_of(before: str, after: str) -> list[str]:
    """Lines that one text of a module loses (``- ``) and gains (``+ ``), declarations left out."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
    words = [f"{line[0]} {line[1:].strip()}" for line in changed]
    return [line for line in words if not line[2:].startswith("wire ")]


@dataclass(frozen=True)
class Judged:
    """Judgements and which of them no longer speak of the Verilog.

    Attributes:
        entries: module, change and reason of each.
        stale: the entries whose lines their module no longer has.
    """

    entries: list[dict]
    stale: list[dict] = field(default_factory=list)

    def reason(self, module: str, change: list[str]) -> str | None:
        """Why a mutant is equivalent, None where it was not judged so."""
        for entry in self.entries:
            if entry["module"] == module and entry["change"] == change:
                return entry["reason"]
        return None


def judged_mutants(modules: Iterable[Path]) -> Judged:
    """The judgements, held to the modules' Verilog, a file each named by its module.

    Judgements of modules that are not given are neither held to anything nor stale.
    """
    text = files("flows.bench").joinpath("judged.yaml").read_text("utf-8")
    entries = yaml.safe_load(text) or []
    lines = {
        path.stem: {line.strip() for line in path.read_text("utf-8").splitlines()}
        for path in modules
    }
    stale = [
        entry
        for entry in entries
        if entry["module"] in lines
        and not {line[2:] for line in entry["change"] if line[0] == "-"} <= lines[entry["module"]]
    ]
    return Judged(entries, stale)
