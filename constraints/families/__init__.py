"""Device families, one file each; a new one is a file and a line in `FAMILIES`."""

from collections.abc import Mapping
from types import MappingProxyType

from constraints.families import (
    ecp5,
    efinix,
    generic,
    gowin,
    ice40,
    intel,
    nexus,
    xc7,
    xcup,
)
from constraints.family import Family

__all__ = ["FAMILIES"]

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        module.FAMILY.name: module.FAMILY
        for module in (xcup, xc7, ecp5, ice40, nexus, gowin, intel, efinix, generic)
    }
)
"""Records of all families by name, in the order of the documentation."""
