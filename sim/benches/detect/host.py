"""The host's side of one detect top: drivers, monitors, model and scoreboard."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from golden.operators.detection import DetectorShape, RawWords, raw_words
from rtl_gen.top.detect_registers import DETECT_ERRORS, DETECT_REGISTERS

from ..monitor import StreamMonitor
from ..top_host import TopHost
from .model import Beat, DetectModel

__all__ = ["ERROR_BITS", "SETTINGS", "DetectHost", "Settings"]

ERROR_BITS = {name: 1 << low for name, _, low, _ in DETECT_ERRORS}
"""Bits of the register ERROR by name."""

_START = 1
_SETTLE_CYCLES = 40


@dataclass(frozen=True)
class Settings:
    """What a run of the benches was asked for, read from ``bench.json`` in the working folder."""

    shape: DetectorShape
    config_hash: int
    seed: int

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """Read the file that `sim.benches.run` wrote."""
        fields = json.loads(path.read_text("utf-8"))
        return cls(DetectorShape(**fields["shape"]), fields["config_hash"], fields["seed"])


SETTINGS = Settings.read(Path("bench.json"))


class DetectHost(TopHost):
    """Drives one detect top.

    Attributes:
        shape: of the array.
        model: what the monitors of the word streams feed.
        jobs_checked: jobs that were held to the model.
    """

    def __init__(self, dut: Any, bench: str) -> None:
        super().__init__(dut, bench, SETTINGS.seed, DETECT_REGISTERS)
        self.shape = shape = SETTINGS.shape
        self.model = DetectModel(shape)
        self.jobs_checked = 0
        self._threshold = 0
        self._seen: list[list[Beat]] = [[] for _ in range(shape.units)]
        units = range(shape.units)
        self.sources = [
            AxiStreamSource(AxiStreamBus.from_prefix(dut, f"s_axis_words_{u}"), dut.clk)
            for u in units
        ]
        # One "byte" is a whole event.
        self.sinks = [
            AxiStreamSink(
                AxiStreamBus.from_prefix(dut, f"m_axis_events_{u}"), dut.clk, byte_lanes=1
            )
            for u in units
        ]
        self.monitors = [
            StreamMonitor(
                dut,
                f"s_axis_words_{u}",
                ("tdata", "tkeep", "tlast"),
                lambda data, keep, last, u=u: self.model.word(u, data, keep, last),
            )
            for u in units
        ]
        self.monitors += [
            StreamMonitor(
                dut,
                f"m_axis_events_{u}",
                ("tdata", "tlast"),
                lambda data, last, u=u: self._seen[u].append((data, last)),
            )
            for u in units
        ]

    @property
    def event_monitors(self) -> list[StreamMonitor]:
        """Monitors of the event streams."""
        return self.monitors[self.shape.units :]

    def forget(self) -> None:
        self.model.clear()
        self._seen[:] = [[] for _ in range(self.shape.units)]

    async def start(self, vectors: int, threshold: int, *, watchdog: int = 0) -> None:
        """Program and start a job."""
        await self.write("WATCHDOG", watchdog)
        await self.write("VECTORS", vectors)
        await self.write("THRESHOLD", threshold)
        self._threshold = threshold
        await self.write("CONTROL", _START)

    def send(self, unit: int, words: RawWords) -> None:
        """Queue a unit's words, one packet per vector."""
        bounds = np.concatenate(([0], np.flatnonzero(words.last) + 1))
        for first, end in pairwise(bounds.tolist()):
            data = words.data[first:end].reshape(-1).view(np.uint8)
            keep = words.keep[first:end].reshape(-1).astype(int)
            self.sources[unit].send_nowait(
                AxiStreamFrame(bytearray(data.tobytes()), tkeep=keep.tolist())
            )

    async def job(
        self, dealt: Sequence[Sequence[np.ndarray]], threshold: int, *, early: int = 0
    ) -> None:
        """Run a job of int8 vectors per unit and hold it to the model.

        Words are offered ``early`` cycles before the start.
        """
        await self.job_of_words(
            [raw_words(vectors, self.shape.width) for vectors in dealt], threshold, early=early
        )

    async def job_of_words(
        self, words: Sequence[RawWords], threshold: int, *, early: int = 0
    ) -> None:
        """The same for words, whatever bytes they keep."""
        vectors = sum(int(raw.last.sum()) for raw in words)
        if early:
            self._offer(words)
            await self.cycles(early)
            taken = [monitor.beats for monitor in self.monitors]
            await self.cycles(2)
            assert [m.beats for m in self.monitors] == taken, "words were taken before the start"
        await self.start(vectors, threshold)
        if not early:
            self._offer(words)
        await self.wait_done(2000 + 40 * sum(raw.data.size for raw in words))
        await self.check_job()

    def _offer(self, words: Sequence[RawWords]) -> None:
        for unit, raw in enumerate(words):
            self.send(unit, raw)

    async def check_job(self) -> None:
        """Scoreboard: hold one finished job to the model."""
        await self.cycles(_SETTLE_CYCLES)
        self.check_quiet()
        expected = self.model.finish(self._threshold)
        for unit, (seen, wanted) in enumerate(zip(self._seen, expected.events, strict=True)):
            for number, (got, right) in enumerate(zip(seen, wanted, strict=False)):
                assert got == right, (
                    f"unit {unit} event {number}: {_shown(got)}, model says {_shown(right)}"
                )
            assert len(seen) == len(wanted), (
                f"unit {unit}: {len(seen)} events, model says {len(wanted)}"
            )
            sink = self.sinks[unit]
            closed = sum(last for _, last in seen)
            assert sink.count() == closed, f"unit {unit}: sink {sink.count()}, monitor {closed}"
            sink.clear()
        counts = {
            "EVENTS": expected.found,
            "WORDS": expected.words,
            "EMPTY_WORDS": expected.empty_words,
        }
        for name, wanted in counts.items():
            got = await self.counter(name)
            assert got == wanted, f"{name} {got}, model {wanted}"
        assert await self.read("VECTORS") == expected.vectors
        error = await self.read("ERROR")
        assert not error & ~ERROR_BITS["bad_start"], f"ERROR is {error:#x} after a job"
        self.forget()
        self.jobs_checked += 1

    def check_quiet(self) -> None:
        """No word may be left at a source."""
        for monitor, source in zip(self.monitors, self.sources, strict=False):
            assert source.idle(), f"{monitor.name}: {source.count()} vectors were not accepted"

    async def finish(self, jobs: int) -> None:
        """End of a bench: queues empty, nothing more arrives, exactly ``jobs`` jobs checked."""
        before = [monitor.beats for monitor in self.monitors]
        await self.cycles(2 * _SETTLE_CYCLES)
        assert [monitor.beats for monitor in self.monitors] == before, "beats after the last job"
        self.check_quiet()
        assert all(sink.empty() for sink in self.sinks), "events left in a sink"
        assert not any(self._seen), "events that no job accounts for"
        assert self.registers.idle(), "a register access is still open"
        assert self.jobs_checked == jobs, f"{self.jobs_checked} jobs checked, {jobs} planned"


def _shown(beat: Beat) -> str:
    return f"{beat[0]:#010x} last {beat[1]}"
