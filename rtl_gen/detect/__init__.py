"""Event detection at run time: raw INT8 words in, events of the elements that matter out."""

from .array import DetectorArray
from .scan import DetectorScan, detected, exceeds, raw_word
from .unit import DetectorUnit

__all__ = [
    "DetectorArray",
    "DetectorScan",
    "DetectorUnit",
    "detected",
    "exceeds",
    "raw_word",
]
