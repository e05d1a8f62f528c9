"""Event detection at run time: raw INT8 words in, events of the elements that matter out."""

from .array import DetectorArray
from .occupancy import RowOccupancy, occupancy_word
from .scan import DetectorScan, detected, exceeds, raw_word
from .unit import DetectorUnit

__all__ = [
    "DetectorArray",
    "DetectorScan",
    "DetectorUnit",
    "RowOccupancy",
    "detected",
    "exceeds",
    "occupancy_word",
    "raw_word",
]
