"""A matrix through the event-detection array: cut into vectors, dealt to units, joined again.

The top has a stream of words and a stream of events for each unit; which vector goes to which unit
is the host's affair.  This file says how ours deals them, and what an event looks like on its
stream (`EVENT_FIELDS`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import BadInput
from .detection import (
    DetectionCount,
    DetectorShape,
    Events,
    RawWords,
    array_cycles,
    check_threshold,
    raw_words,
)

__all__ = [
    "EVENT_FIELDS",
    "DetectionJob",
    "Found",
    "found",
    "found_naive",
    "pack_events",
    "unpack_events",
]

EVENT_FIELDS = (("k", 0, 16), ("value", 16, 8), ("valued", 24, 1))
"""Field, lowest bit and width in a 32-bit event; the other bits are 0, ``last`` is TLAST."""


@dataclass(frozen=True)
class Found:
    """Elements of a matrix whose magnitude exceeds a threshold, by row, then by column.

    Attributes:
        row, column: int64 (events,).
        value: int8 (events,).
    """

    row: np.ndarray
    column: np.ndarray
    value: np.ndarray


def found_naive(operand: np.ndarray, threshold: int) -> list[tuple[int, int, int]]:
    """Events of an int8 matrix as ``(row, column, value)``: the specification, in plain loops."""
    return [
        (row, column, int(value))
        for row, elements in enumerate(operand)
        for column, value in enumerate(elements)
        if abs(int(value)) > threshold
    ]


def found(operand: np.ndarray, threshold: int) -> Found:
    """The same in numpy; ``operand`` is int8 (rows, columns)."""
    limit = check_threshold(threshold)
    row, column = np.nonzero(np.abs(operand.astype(np.int16)) > limit)
    return Found(row, column, operand[row, column])


def pack_events(events: Events) -> np.ndarray:
    """Events as the top's streams carry them, uint32 (events,)."""
    fields = {
        "k": events.k.astype(np.uint32),
        "value": events.value.view(np.uint8).astype(np.uint32),
        "valued": events.valued.astype(np.uint32),
    }
    packed = np.zeros(len(events.k), np.uint32)
    for name, low, _ in EVENT_FIELDS:
        packed |= fields[name] << np.uint32(low)
    return packed


def unpack_events(packed: np.ndarray, last: np.ndarray) -> Events:
    """Events of a stream's beats.

    Args:
        packed: uint32 (events,).
        last: bool (events,), TLAST of each.

    Raises:
        ValueError: a bit outside `EVENT_FIELDS` is set.
    """
    known = sum(((1 << width) - 1) << low for _, low, width in EVENT_FIELDS)
    if (packed & np.uint32(~known & 0xFFFF_FFFF)).any():
        raise ValueError("an event has bits outside its fields")
    k, value, valued = (packed >> low & (1 << width) - 1 for _, low, width in EVENT_FIELDS)
    return Events(
        k.astype(np.int64), value.astype(np.uint8).view(np.int8), valued.astype(bool), last
    )


@dataclass(frozen=True)
class DetectionJob:
    """How a matrix goes through an event-detection array.

    Each row is cut into vectors of one length and a shorter last one: as few as
    ``shape.rows`` allows, or as many as it takes to give each unit one, a word at least.  The
    vectors, in the order of the matrix, go to the units in turn.

    Parameters:
        shape: of the array.
        operand: int8 (R, C), neither of them 0.

    Raises:
        BadInput: the operand is no such matrix.
    """

    shape: DetectorShape
    operand: np.ndarray

    def __post_init__(self) -> None:
        operand = self.operand
        if operand.dtype != np.int8 or operand.ndim != 2 or not operand.size:
            raise BadInput(
                "detection: operand: must be int8 of 2 dimensions and not empty, got "
                f"{operand.dtype} of shape {operand.shape}"
            )

    @property
    def length(self) -> int:
        """Elements of a vector, whole words; the last one of a row may hold fewer."""
        shape, (rows, columns) = self.shape, self.operand.shape
        words = -(-columns // shape.width)
        wanted = max(-(-columns // shape.rows), -(-shape.units // rows))
        return -(-words // min(words, wanted)) * shape.width

    @property
    def per_row(self) -> int:
        """Vectors of a row."""
        return -(-self.operand.shape[1] // self.length)

    @property
    def vectors(self) -> int:
        """Vectors of the job."""
        return len(self.operand) * self.per_row

    def dealt(self) -> list[list[np.ndarray]]:
        """Per unit the vectors that it gets, int8 and 1-D, in order."""
        length = self.length
        cut = [
            row[start : start + length]
            for row in self.operand
            for start in range(0, self.operand.shape[1], length)
        ]
        return [cut[unit :: self.shape.units] for unit in range(self.shape.units)]

    def words(self) -> list[RawWords]:
        """Per unit what its stream of words carries."""
        return [raw_words(vectors, self.shape.width) for vectors in self.dealt()]

    def count(self, threshold: int) -> DetectionCount:
        """Exact cycles, events and words, with a host that never waits."""
        shape = self.shape
        return array_cycles(self.dealt(), threshold, width=shape.width, queue=shape.queue)

    def gather(self, events: Sequence[Events]) -> Found:
        """Join the events of all units.

        Raises:
            ValueError: a unit closed another number of vectors than it got, or a row number is
                not one of its vector.
        """
        units, per_row, length = self.shape.units, self.per_row, self.length
        parts = []
        for unit, mine in enumerate(events):
            sent = len(range(unit, self.vectors, units))
            closed = int(mine.last.sum())
            if closed != sent or (len(mine.last) and not mine.last[-1]):
                raise ValueError(f"unit {unit}: {sent} vectors sent, {closed} closed")
            # Vectors closed before an event, counted from the unit's first.
            number = np.cumsum(mine.last) - mine.last
            row, part = np.divmod(unit + number * units, per_row)
            column = part * length + mine.k
            if (mine.k >= length).any() or (column >= self.operand.shape[1]).any():
                raise ValueError(f"unit {unit}: an event has a row number outside its vector")
            parts.append((row[mine.valued], column[mine.valued], mine.value[mine.valued]))
        row, column, value = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        order = np.lexsort((column, row))
        return Found(row[order], column[order], value[order])
