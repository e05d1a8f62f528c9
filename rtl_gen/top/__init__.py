"""Tops: what a user instantiates."""

from .array_top import ArrayTop
from .registers import REGISTERS, SELECTOR_REGISTERS, Register

__all__ = ["REGISTERS", "SELECTOR_REGISTERS", "ArrayTop", "Register"]
