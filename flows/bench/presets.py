"""The presets that headlines are measured on: as shipped, or with one stated change."""

import math
from collections.abc import Sequence
from typing import Any

from rtl_gen.config import Derived, derive, load, parse

__all__ = ["DENSE", "PRESETS", "cut", "shipped", "with_kernels"]

PRESETS = ("tiny", "edge", "mid", "large")
DENSE = ("dense",)
"""Kernels of hardware that can't make use of zeros."""


def shipped(name: str) -> Derived:
    """A preset as it is shipped."""
    return derive(load(name))


def with_kernels(name: str, kernels: Sequence[str]) -> Derived:
    """A preset with other kernels built in and nothing else changed."""
    document = _document(name)
    document["schedule"]["kernels"] = list(kernels)
    return derive(parse(document, f"{name} with kernels {', '.join(kernels)}"))


def cut(name: str, multipliers: int) -> Derived:
    """A preset with as few engines as have ``multipliers`` lanes in total.

    Each engine keeps its columns; groups become smaller where fewer engines ask for it.
    """
    document = _document(name)
    schedule = document["schedule"]
    unroll, tile = schedule["unroll"], schedule["tile"]
    columns = tile["n"] // unroll["n"]
    engines = -(-multipliers // unroll["m"])
    unroll["n"], tile["n"] = engines, columns * engines
    if schedule["group"] != "auto":
        schedule["group"] = math.gcd(schedule["group"], engines)
    return derive(parse(document, f"{name} cut to {multipliers} multipliers"))


def _document(name: str) -> dict[str, Any]:
    return load(name).model_dump(mode="json")
