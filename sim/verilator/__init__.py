"""Verilated tops as shared libraries, driven with numpy memory."""

from .build import OPTIMISED, build_library, find_compiler, verilator_environment
from .detector import DetectorDevice, build_detector
from .device import ArrayDevice

__all__ = [
    "OPTIMISED",
    "ArrayDevice",
    "DetectorDevice",
    "build_detector",
    "build_library",
    "find_compiler",
    "verilator_environment",
]
