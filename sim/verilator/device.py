"""The verilated array as an object: registers and streams on numpy memory."""

import ctypes
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from golden.errors import CheckFailed
from golden.program.plan import Plan
from golden.shape import ArrayShape
from rtl_gen.top.registers import registers_of

from .simulated import SimulatedTop

__all__ = ["ArrayDevice"]


class _Stream(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("side", ctypes.c_void_p),
        ("beats", ctypes.c_uint64),
        ("repeats", ctypes.c_uint64),
    )


class _Sink(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("engine", ctypes.c_void_p),
        ("capacity", ctypes.c_uint64),
        ("beats", ctypes.c_uint64),
    )


_STATUS = {
    1: "timeout: no stream moved for {limit} cycles",
    2: "more results arrived than the plan expects",
}


class ArrayDevice(SimulatedTop):
    """One simulated array.

    Attributes:
        cycles, events: sums of the array's own counters over the jobs run so far.
        seconds: wall time spent in moving streams.
    """

    def __init__(self, shape: ArrayShape, library: Path) -> None:
        super().__init__(library, registers_of(True))
        self.shape = shape
        self.cycles = 0
        self.events = 0
        self.seconds = 0.0

    def wait(self, cycles: int) -> None:
        """Let clock cycles pass."""
        self._library.sf_wait(self._handle, ctypes.c_uint64(cycles))

    def pace(self, idle: int, stall: int, seed: int) -> None:
        """From now on streams idle and results stall for so many of a thousand cycles."""
        self._library.sf_pace(
            self._handle, ctypes.c_uint32(idle), ctypes.c_uint32(stall), ctypes.c_uint64(seed)
        )

    def matmul(
        self,
        plan: Plan,
        activations: np.ndarray,
        progress: Callable[[int, int], None] | None = None,
        limit: int = 100_000,
    ) -> np.ndarray:
        """Run a planned product.

        Args:
            plan: for this array's shape.
            activations: int8 (M, K).
            progress: called with (jobs done, jobs).
            limit: cycles without any stream moving after which the run fails.

        Returns:
            int32 (M, N).

        Raises:
            CheckFailed: timeout, an error of the array, or missing or surplus results.
        """
        weights = [plan.weight_beats(g) for g in range(self.shape.groups)]
        rows = []
        for number, job in enumerate(plan.jobs):
            rows.append(self.run_job(plan, job, activations, weights, limit=limit))
            if progress:
                progress(number + 1, len(plan.jobs))
        return np.concatenate(rows)

    def run_job(
        self,
        plan: Plan,
        job: range,
        activations: np.ndarray,
        weights: Sequence[tuple[np.ndarray, np.ndarray]],
        operand: np.ndarray | None = None,
        limit: int = 100_000,
    ) -> np.ndarray:
        """Run one job of a product.

        Args:
            plan: of the product.
            job: its tiles of tokens.
            activations: int8 (M, K).
            weights: per group, beats and targets.
            operand: uint64 (words,), for the operand stream; None: there is none.
            limit: cycles without any stream moving after which the run fails.

        Returns:
            int32 (rows of the job, N).

        Raises:
            CheckFailed: as `matmul`.
        """
        shape = self.shape
        beats_per_column = shape.drain_cycles
        data, last = plan.activation_beats(activations, job)
        side = last.astype(np.uint8)
        source = _Stream(data.ctypes.data, side.ctypes.data, len(data), plan.segments)
        sources = (_Stream * shape.groups)(
            *(_Stream(d.ctypes.data, t.ctypes.data, len(d), 1) for d, t in weights)
        )
        words = np.zeros(0, np.uint64) if operand is None else np.ascontiguousarray(operand)
        ends = (np.arange(len(words)) == len(words) - 1).astype(np.uint8)
        feed = _Stream(words.ctypes.data, ends.ctypes.data, len(words), 1)
        buffers = []
        for g in range(shape.groups):
            streams = plan.streams[g * shape.group : (g + 1) * shape.group]
            columns = sum(len(c) for s in streams for c in s.columns) * len(job)
            beats = columns * beats_per_column
            buffers.append(
                (np.empty((beats, shape.result_bits // 8), np.uint8), np.empty(beats, np.uint8))
            )
        sinks = (_Sink * shape.groups)(
            *(_Sink(d.ctypes.data, e.ctypes.data, len(d), 0) for d, e in buffers)
        )
        self.write("M_TILES", len(job))
        self.write("CONTROL", 1)
        started = time.perf_counter()
        status = self._library.sf_stream(
            self._handle,
            ctypes.byref(source),
            sources,
            ctypes.byref(feed),
            sinks,
            ctypes.c_uint64(limit),
        )
        self.seconds += time.perf_counter() - started
        self.check("array", _STATUS[status].format(limit=limit) if status else None)
        self.cycles += self.counter("CYCLES")
        self.events += self.counter("EVENTS")
        results = [
            (
                d.view("<i4").reshape(-1, shape.lanes),
                np.ascontiguousarray(e[::beats_per_column]),
            )
            for d, e in buffers
        ]
        try:
            return plan.collect(job, results)
        except ValueError as error:
            raise CheckFailed(f"results: {error}") from error
