"""Block memories and what is built on them."""

from .queue import Queue
from .registered import RegisteredMemory
from .ring import ReplayRing
from .two_width import TwoWidthMemory

__all__ = ["Queue", "RegisteredMemory", "ReplayRing", "TwoWidthMemory"]
