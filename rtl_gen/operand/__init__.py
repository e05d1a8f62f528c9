"""Run-time operands: from raw bytes to blocks with headers in the engines' rings."""

from .feeder import OperandFeeder
from .packer import BeatPacker

__all__ = ["BeatPacker", "OperandFeeder"]
