"""The tops that a configuration can ask for, by the value of ``interface.top``."""

from collections.abc import Mapping
from types import MappingProxyType

from rtl_gen.derive import Derived
from rtl_gen.derive_detect import DerivedDetector
from rtl_gen.design import Design

__all__ = ["TOPS", "UNBUILT"]

TOPS: Mapping[str, type[Design]] = MappingProxyType(
    {design.top: design for design in (Derived, DerivedDetector)}
)

UNBUILT: Mapping[str, str] = MappingProxyType(
    {"system": "this version generates no system with a memory master and programs"}
)
"""Names that are known but not generated yet, and why."""
