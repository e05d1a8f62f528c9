"""The verilated detect top as an object: a matrix in, its events out."""

import ctypes
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from golden.errors import CheckFailed
from golden.operators.detection import DetectorShape
from golden.operators.detection_job import DetectionJob, Found, unpack_events
from rtl_gen.top.detect_registers import DETECT_REGISTERS

from .build import OPTIMISED, build_model
from .simulated import SimulatedTop

__all__ = ["DetectorDevice", "build_detector"]

_HARNESS = Path(__file__).with_name("detector.cpp")
_STATUS = {
    1: "timeout: no stream moved for {limit} cycles",
    2: "more events arrived than the words can hold",
}


class _Words(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("keep", ctypes.c_void_p),
        ("last", ctypes.c_void_p),
        ("count", ctypes.c_uint64),
    )


class _Events(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("last", ctypes.c_void_p),
        ("capacity", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
    )


def _glue(shape: DetectorShape) -> str:
    """C++ table of the top's ports, for the harness."""

    def stream(prefix: str, *names: str) -> str:
        ports = (*names, "tlast", "tvalid", "tready")
        return "{" + ", ".join(f"&top->{prefix}_{name}" for name in ports) + "}"

    units = range(shape.units)
    words = ", ".join(stream(f"s_axis_words_{u}", "tdata", "tkeep") for u in units)
    events = ", ".join(stream(f"m_axis_events_{u}", "tdata") for u in units)
    return f"""#include "Vtop.h"
constexpr int kUnits = {shape.units};
constexpr int kWordBytes = {shape.width};
constexpr int kKeepBytes = {-(-shape.width // 8)};
struct WordPort {{ void* data; void* keep; CData* last; CData* valid; CData* ready; }};
struct EventPort {{ void* data; CData* last; CData* valid; CData* ready; }};
struct Ports {{ WordPort words[kUnits]; EventPort events[kUnits]; }};
inline Ports bind(Vtop* top) {{
  return Ports{{{{{words}}}, {{{events}}}}};
}}
"""


def build_detector(
    shape: DetectorShape,
    sources: Sequence[Path],
    cache: Path,
    progress: Callable[[str, int, int], None] | None = None,
    level: str = OPTIMISED,
) -> Path:
    """Verilate and compile a detect top; see `sim.verilator.build.build_model`."""
    glue = _glue(shape)
    return build_model("detect", "sparsefuse", sources, _HARNESS, glue, cache, progress, level)


class DetectorDevice(SimulatedTop):
    """One simulated event-detection array.

    Attributes:
        counters: of the last job, by name: ``CYCLES``, ``EVENTS``, ``WORDS``, ``EMPTY_WORDS``.
        tokens: close tokens of the last job, counted on the streams.
        seconds: wall time spent in moving streams.
    """

    def __init__(self, shape: DetectorShape, library: Path) -> None:
        super().__init__(library, DETECT_REGISTERS)
        self.shape = shape
        self.counters: dict[str, int] = {}
        self.tokens = 0
        self.seconds = 0.0

    def detect(self, job: DetectionJob, threshold: int, limit: int = 100_000) -> Found:
        """Run a job.

        Args:
            job: for this array's shape.
            threshold: 0 to 128.
            limit: cycles without any stream moving after which the run fails.

        Raises:
            CheckFailed: timeout, an error of the array, missing or surplus events, or counters
                that disagree with the streams.
        """
        shape = self.shape
        words = job.words()
        keep_bytes = -(-shape.width // 8)
        # Memory that the harness reads and writes; it must live until the job has ended.
        sent = [
            (
                np.ascontiguousarray(raw.data),
                np.packbits(raw.keep, axis=1, bitorder="little")[:, :keep_bytes].copy(),
                raw.last.astype(np.uint8),
            )
            for raw in words
        ]
        slots = [int(raw.keep.sum() + raw.last.sum()) for raw in words]
        held = [(np.empty(count, np.uint32), np.empty(count, np.uint8)) for count in slots]
        sources = (_Words * shape.units)(
            *(_Words(d.ctypes.data, k.ctypes.data, e.ctypes.data, len(e)) for d, k, e in sent)
        )
        sinks = (_Events * shape.units)(
            *(_Events(d.ctypes.data, e.ctypes.data, len(d), 0) for d, e in held)
        )
        self.write("VECTORS", job.vectors)
        self.write("THRESHOLD", threshold)
        self.write("CONTROL", 1)
        started = time.perf_counter()
        status = self._library.sf_detect(
            self._handle,
            sources,
            sinks,
            ctypes.c_uint64(job.vectors),
            ctypes.c_uint64(limit),
        )
        self.seconds += time.perf_counter() - started
        self.check("detector", _STATUS[status].format(limit=limit) if status else None)
        self.counters = {
            name: self.counter(name) for name in ("CYCLES", "EVENTS", "WORDS", "EMPTY_WORDS")
        }
        counts = [sink.count for sink in sinks]
        try:
            events = [
                unpack_events(data[:count], last[:count].astype(bool))
                for (data, last), count in zip(held, counts, strict=True)
            ]
            found = job.gather(events)
        except ValueError as error:
            raise CheckFailed(f"detector: {error}") from error
        self.tokens = sum(counts) - len(found.value)
        seen = {"EVENTS": len(found.value), "WORDS": sum(len(raw.last) for raw in words)}
        for name, number in seen.items():
            if self.counters[name] != number:
                raise CheckFailed(
                    f"detector: {name} must count what the streams carried, {number}, "
                    f"got {self.counters[name]}"
                )
        return found
