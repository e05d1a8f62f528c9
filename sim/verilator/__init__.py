"""Verilated array as a shared library, driven with numpy memory."""

from .build import build_library, find_compiler, verilator_environment
from .device import ArrayDevice

__all__ = ["ArrayDevice", "build_library", "find_compiler", "verilator_environment"]
