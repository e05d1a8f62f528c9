"""Reference model of the detect top: from the words that were accepted to the events that follow.

It is fed by monitors, so a driver that sends something else than the bench meant shows.
"""

from dataclasses import dataclass

import numpy as np

from golden.operators.detection import DetectorShape, RawWords, detect
from golden.operators.detection_job import pack_events

__all__ = ["DetectModel", "Expected"]

Beat = tuple[int, int]
"""TDATA and TLAST of an event."""


@dataclass(frozen=True)
class Expected:
    """What a job must give.

    Attributes:
        events: per unit the beats of its event stream.
        found, words, empty_words: over all units, as the counters show them.
        vectors: that were closed.
    """

    events: list[list[Beat]]
    found: int
    words: int
    empty_words: int
    vectors: int


class DetectModel:
    """Collects accepted words; `finish` computes the job that they made up."""

    def __init__(self, shape: DetectorShape) -> None:
        self.shape = shape
        self.clear()

    def clear(self) -> None:
        """Forget everything, as ``CONTROL.reset`` does."""
        self._words: list[list[tuple[int, int, int]]] = [[] for _ in range(self.shape.units)]

    def word(self, unit: int, data: int, keep: int, last: int) -> None:
        """Take one word of a unit."""
        self._words[unit].append((data, keep, last))

    def finish(self, threshold: int) -> Expected:
        """Compute the job that was made up by everything seen since the last one."""
        width = self.shape.width
        events: list[list[Beat]] = []
        found = empty = vectors = 0
        for words in self._words:
            raw = RawWords(
                np.array([list(data.to_bytes(width, "little")) for data, *_ in words], np.uint8)
                .reshape(-1, width)
                .view(np.int8),
                np.array(
                    [[keep >> i & 1 for i in range(width)] for _, keep, _ in words], bool
                ).reshape(-1, width),
                np.array([last for *_, last in words], bool),
            )
            mine = detect(raw, threshold)
            beats = zip(pack_events(mine).tolist(), mine.last.astype(int).tolist(), strict=True)
            events.append(list(beats))
            found += int(mine.valued.sum())
            exceeds = np.abs(raw.data.astype(np.int16)) > threshold
            empty += int((~(raw.keep & exceeds).any(axis=1)).sum())
            vectors += int(raw.last.sum())
        words = sum(map(len, self._words))
        self.clear()
        return Expected(events, found, words, empty, vectors)
