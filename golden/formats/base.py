"""The interface of a block storage format."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ..shape import ArrayShape

__all__ = ["CHUNK", "Kernel", "Steps"]

CHUNK = 16
"""Rows that a decoder hands to the scanner at once: one 16-bit occupancy mask."""


@dataclass(frozen=True)
class Steps:
    """What a decoder does, cycle by cycle, when nothing holds it back.

    Each array has one entry per decoder step; a step takes one cycle.

    Attributes:
        events: uint8, events that the step hands over (0 with ``push``: a close token).
        push: bool, the step hands something over, so what follows must be ready.
        word: bool, the step consumes an index word.
        last: bool, the step closes a column.
    """

    events: np.ndarray
    push: np.ndarray
    word: np.ndarray
    last: np.ndarray


class Kernel(ABC):
    """One block storage format: encoder, decoder and decoder timing.

    ``scanned``: a step of the decoder may find several rows, which the scanner takes apart; if
    not, a step finds one row at most.  ``carries_values``: the index words hold the values as
    well, and nothing is stored among the value bytes.
    """

    name: str
    code: int
    scanned: bool = False
    carries_values: bool = False

    def configured(self, shape: ArrayShape) -> "Kernel":
        """Return the format with the parameters that an array was built for."""
        return self

    def accepts(self, block: np.ndarray) -> bool:
        """Whether the format can hold an int8 block; most hold any."""
        return True

    @abstractmethod
    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode an int8 block.

        Args:
            block: int8, shape (depth, columns), both >= 1.

        Returns:
            index words (uint64, 1-D) and value bytes (int8, 1-D).
        """

    @abstractmethod
    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        """Inverse of `encode`; returns int8 of shape (depth, columns)."""

    @abstractmethod
    def steps(self, block: np.ndarray) -> Steps:
        """Timing of the decoder on this block, for the cycle model."""

    @abstractmethod
    def column_cycles(self, occupied: np.ndarray) -> np.ndarray:
        """Event slots per column.

        Args:
            occupied: bool, shape (depth, columns).

        Returns:
            int64, shape (columns,).
        """
