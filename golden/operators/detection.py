"""Run-time event detection: the events of raw INT8 vectors, and the cycles to find them.

A detector unit reads a vector W bytes (one *word*) at a time.  An element is an event if its
magnitude exceeds a threshold, 0 to 128; 0 keeps every non-zero and 128 keeps nothing, since
|-128| is 128.  Events leave lowest row first.  ``last`` marks the event that closes a vector;
where the last word has none, a close token takes its place, as in the bitmap kernel.

The cycle model repeats what the registers of `rtl_gen.detect` do, cycle by cycle, on counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from ..errors import BadInput
from ..shape import is_power_of_two

__all__ = [
    "CLUSTER",
    "WIDTHS",
    "DetectionCount",
    "DetectorShape",
    "Events",
    "RawWords",
    "array_cycles",
    "check_detector",
    "check_threshold",
    "detect",
    "detect_naive",
    "raw_words",
    "unit_cycles",
]

CLUSTER = 64
"""Units of the largest cluster."""

WIDTHS = (1, 2, 4, 8, 16)
"""Bytes that a unit can scan per cycle."""

_MAX_THRESHOLD = 128
"""Largest magnitude of an INT8 element, which nothing exceeds."""


def _refuse(field: str, rule: str, value: object) -> BadInput:
    return BadInput(f"detector: {field}: must {rule}, got {value!r}")


def _integer(field: str, value: object, least: int, most: int) -> int:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if whole and least <= int(value) <= most:
        return int(value)
    raise _refuse(field, f"be an integer, {least} to {most}", value)


def check_detector(*, width: int, k_bits: int = 16, queue: int = 8, units: int = 1) -> None:
    """Check the parameters of a unit or cluster.

    Raises:
        BadInput: ``width`` is not of ``WIDTHS``, ``k_bits`` is below log2(width) or 1 or above
            16, ``queue`` is no power of two from 2 to 64, ``units`` not 1 to ``CLUSTER``.
    """
    if isinstance(width, bool) or width not in WIDTHS:
        raise _refuse("width", f"be one of {', '.join(map(str, WIDTHS))}", width)
    _integer("k_bits", k_bits, max(1, (width - 1).bit_length()), 16)
    _integer("queue", queue, 2, 64)
    if not is_power_of_two(queue):
        raise _refuse("queue", "be a power of two, 2 to 64", queue)
    _integer("units", units, 1, CLUSTER)


def check_threshold(threshold: int) -> int:
    """The threshold as an integer; `BadInput` unless it is one, 0 to 128."""
    return _integer("threshold", threshold, 0, _MAX_THRESHOLD)


@dataclass(frozen=True, kw_only=True)
class DetectorShape:
    """Dimensions of an event-detection array.

    Parameters:
        units: detector units, 1 to ``CLUSTER``.
        width: W, bytes that a unit scans per cycle.
        k_bits: bits of a row number.
        queue: events that a unit's queue holds.

    Raises:
        BadInput: a parameter breaks a rule of `check_detector`.
    """

    units: int
    width: int
    k_bits: int
    queue: int

    def __post_init__(self) -> None:
        check_detector(width=self.width, k_bits=self.k_bits, queue=self.queue, units=self.units)

    @property
    def rows(self) -> int:
        """Rows of the longest vector."""
        return 1 << self.k_bits


@dataclass(frozen=True)
class RawWords:
    """What a unit reads: ``data`` int8 (words, W), ``keep`` bool (words, W), ``last`` (words,)."""

    data: np.ndarray
    keep: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class Events:
    """Events in order: ``k`` int64, ``value`` int8, ``valued`` and ``last`` bool, all 1-D.

    A close token has ``valued`` low and ``value`` 0; its ``k`` is the first row of its word.
    """

    k: np.ndarray
    value: np.ndarray
    valued: np.ndarray
    last: np.ndarray


def _checked_vectors(vectors: Sequence[np.ndarray] | np.ndarray) -> list[np.ndarray]:
    checked = [np.asarray(vector) for vector in vectors]
    for number, vector in enumerate(checked):
        if vector.dtype != np.int8 or vector.ndim != 1:
            found = f"{vector.dtype} of {vector.ndim} dimensions"
            raise BadInput(f"detector: vectors[{number}]: must be int8 of 1 dimension, got {found}")
    return checked


def raw_words(vectors: Sequence[np.ndarray] | np.ndarray, width: int) -> RawWords:
    """Cut int8 vectors, each 1-D and of any length, into words; an empty vector takes one."""
    check_detector(width=width)
    checked = _checked_vectors(vectors)
    counts = [max(1, -(-vector.size // width)) for vector in checked]
    data = np.zeros((sum(counts), width), np.int8)
    keep = np.zeros((sum(counts), width), bool)
    last = np.zeros(sum(counts), bool)
    start = 0
    for vector, count in zip(checked, counts, strict=True):
        data.reshape(-1)[start * width :][: vector.size] = vector
        keep.reshape(-1)[start * width :][: vector.size] = True
        start += count
        last[start - 1] = True
    return RawWords(data, keep, last)


def detect_naive(
    vectors: Sequence[np.ndarray] | np.ndarray, threshold: int, width: int
) -> list[tuple[int, int, bool, bool]]:
    """Events as tuples ``(k, value, valued, last)``: the specification, in plain loops."""
    events = []
    for vector in vectors:
        rows = len(vector)
        tail = (rows - 1) // width * width if rows else 0
        found = [(k, int(vector[k])) for k in range(rows) if abs(int(vector[k])) > threshold]
        closed_by_event = bool(found) and found[-1][0] >= tail
        for k, value in found:
            events.append((k, value, True, closed_by_event and k == found[-1][0]))
        if not closed_by_event:
            events.append((tail, 0, False, True))
    return events


def detect(words: RawWords, threshold: int) -> Events:
    """Events of a run of words; the first word opens a vector."""
    limit = check_threshold(threshold)
    count, width = words.data.shape
    mask = words.keep & (np.abs(words.data.astype(np.int16)) > limit)
    # Rows count from the word behind the latest one that closed a vector.
    index = np.arange(count)
    opens = np.concatenate(([True], words.last[:-1])) if count else np.zeros(0, bool)
    first_row = (index - np.maximum.accumulate(np.where(opens, index, 0))) * width
    token = words.last & ~mask.any(axis=1)
    slots = mask.copy()
    slots[:, 0] |= token
    word, column = np.nonzero(slots)
    valued = ~token[word]
    closing = words.last[word]
    closing[:-1] &= word[1:] != word[:-1]
    value = np.where(valued, words.data[word, column], 0).astype(np.int8)
    return Events(first_row[word] + column, value, valued, closing)


@dataclass(frozen=True)
class DetectionCount:
    """Result of the cycle model; each array has one entry per unit.

    Attributes:
        unit_cycles: cycles from the one that accepts a unit's first word to the one that takes
            its last event, both included; 0 for a unit without vectors.
        events: valued events.
        tokens: close tokens.
        words: words read.
        empty_words: words without an event, including those that became close tokens.
    """

    unit_cycles: np.ndarray
    events: np.ndarray
    tokens: np.ndarray
    words: np.ndarray
    empty_words: np.ndarray

    @property
    def cycles(self) -> int:
        """Cycles until the slowest unit is done."""
        return int(self.unit_cycles.max(initial=0))

    @property
    def cluster_cycles(self) -> np.ndarray:
        """Cycles until the slowest unit of each cluster of ``CLUSTER`` is done."""
        starts = np.arange(0, self.unit_cycles.size, CLUSTER)
        return np.maximum.reduceat(self.unit_cycles, starts)


@numba.njit(cache=True, nogil=True)
def _run_units(
    flat: np.ndarray,
    lengths: np.ndarray,
    first_vector: np.ndarray,
    threshold: int,
    width: int,
    depth: int,
    ready: np.ndarray,
) -> np.ndarray:
    """Per unit: cycles, events, tokens, words, empty words; int64 (units, 5)."""
    units = len(first_vector) - 1
    counts = np.zeros((units, 5), np.int64)
    most = 0
    for u in range(units):
        words = 0
        for v in range(first_vector[u], first_vector[u + 1]):
            words += max(1, (lengths[v] + width - 1) // width)
        most = max(most, words)
    slots = np.zeros(most, np.int64)
    byte = 0
    for u in range(units):
        words = 0
        total = 0
        for v in range(first_vector[u], first_vector[u + 1]):
            end = byte + lengths[v]
            while True:
                stop = min(byte + width, end)
                found = 0
                while byte < stop:
                    found += abs(np.int64(flat[byte])) > threshold
                    byte += 1
                counts[u, 1] += found
                counts[u, 4] += found == 0
                if found == 0 and byte == end:
                    counts[u, 2] += 1
                    found = 1
                slots[words] = found
                words += 1
                total += found
                if byte == end:
                    break
        counts[u, 3] = words
        # Registers: slots in the next and in the held word, events in the queue.
        following = held = level = 0
        read = taken = cycle = 0
        while taken < total:
            space = level < depth
            take = level > 0 and ready[cycle % len(ready)]
            push = held > 0 and space
            load = held == 0 or (space and held == 1)
            accept = following == 0 or load
            if load:
                held = following
            elif push:
                held -= 1
            if accept:
                following = 0
                if read < words:
                    following = slots[read]
                    read += 1
            level += push
            level -= take
            taken += take
            cycle += 1
        counts[u, 0] = cycle
    return counts


def _count(
    flat: np.ndarray, lengths: np.ndarray, first: np.ndarray, threshold: int, *rest: object
) -> DetectionCount:
    counts = _run_units(flat, lengths, first, check_threshold(threshold), *rest)
    return DetectionCount(*(counts[:, i].copy() for i in range(5)))


def unit_cycles(
    vectors: Sequence[np.ndarray] | np.ndarray,
    threshold: int,
    *,
    width: int,
    queue: int = 8,
    ready: np.ndarray | None = None,
) -> DetectionCount:
    """Exact cycles of one unit whose input never waits.

    Args:
        vectors: int8 vectors, 1-D each.
        threshold: 0 to 128.
        width: W, bytes per cycle.
        queue: depth of the event queue.
        ready: bool, whether the output takes an event in a cycle, repeated without end and
            starting with the cycle that accepts the first word; always without it.

    Raises:
        BadInput: parameters that no unit has, or a pattern that never takes an event.
    """
    check_detector(width=width, queue=queue)
    checked = _checked_vectors(vectors)
    pattern = np.ones(1, bool) if ready is None else np.asarray(ready, bool)
    if pattern.ndim != 1 or not pattern.any():
        raise _refuse("ready", "be 1-D and true somewhere", pattern)
    lengths = np.array([vector.size for vector in checked], np.int64)
    flat = np.concatenate([np.zeros(0, np.int8), *checked])
    first = np.array([0, len(checked)], np.int64)
    return _count(flat, lengths, first, threshold, width, queue, pattern)


def array_cycles(
    operand: np.ndarray | Sequence[Sequence[np.ndarray]],
    threshold: int,
    *,
    width: int,
    queue: int = 8,
) -> DetectionCount:
    """Exact cycles of any number of units whose inputs and outputs never wait.

    Args:
        operand: int8 (units, vectors, K), or per unit a sequence of int8 vectors, 1-D each.
        threshold, width, queue: as for `unit_cycles`.
    """
    check_detector(width=width, queue=queue)
    if isinstance(operand, np.ndarray):
        if operand.ndim != 3 or operand.dtype != np.int8:
            found = f"{operand.dtype} of {operand.ndim} dimensions"
            raise BadInput(f"detector: operand: must be int8 of 3 dimensions, got {found}")
        units, vectors, depth = operand.shape
        lengths = np.full(units * vectors, depth, np.int64)
        first = np.arange(units + 1, dtype=np.int64) * vectors
        flat = np.ascontiguousarray(operand).reshape(-1)
    else:
        checked = [_checked_vectors(vectors) for vectors in operand]
        lengths = np.array([v.size for vectors in checked for v in vectors], np.int64)
        first = np.cumsum([0, *(len(vectors) for vectors in checked)], dtype=np.int64)
        flat = np.concatenate([np.zeros(0, np.int8), *(v for vs in checked for v in vs)])
    return _count(flat, lengths, first, threshold, width, queue, np.ones(1, bool))
