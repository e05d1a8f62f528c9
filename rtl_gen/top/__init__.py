"""Tops: what a user instantiates."""

from .array_top import ArrayTop
from .detect_registers import DETECT_REGISTERS
from .detect_top import DetectTop
from .registers import REGISTERS, SELECTOR_REGISTERS, Register

__all__ = [
    "DETECT_REGISTERS",
    "REGISTERS",
    "SELECTOR_REGISTERS",
    "ArrayTop",
    "DetectTop",
    "Register",
]
