"""On-chip memories: two-width tile memory and the replay ring."""

from .ring import ReplayRing
from .two_width import TwoWidthMemory

__all__ = ["ReplayRing", "TwoWidthMemory"]
