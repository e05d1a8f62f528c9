"""Tops: what a user instantiates."""

from .array_top import ArrayTop
from .registers import REGISTERS, Register

__all__ = ["REGISTERS", "ArrayTop", "Register"]
