"""The host's side of one array top: drivers, monitors, model and scoreboard."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cocotbext.axi import AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from golden.formats import KERNELS
from golden.program.plan import Plan
from golden.shape import ArrayShape
from rtl_gen.top.registers import registers_of

from .model import ArrayModel
from .monitor import StreamMonitor
from .top_host import TopHost

__all__ = ["BAD_HEADER", "BAD_START", "LONG_TILE", "SETTINGS", "WATCHDOG", "Host", "Settings"]

BAD_HEADER, LONG_TILE, WATCHDOG, BAD_START = 1, 2, 4, 8
"""Bits of the register ERROR."""

_START = 1
_SETTLE_CYCLES = 40


@dataclass(frozen=True)
class Settings:
    """What a run of the benches was asked for, read from ``bench.json`` in the working folder."""

    shape: ArrayShape
    config_hash: int
    seed: int

    @classmethod
    def read(cls, path: Path) -> "Settings":
        """Read the file that `sim.benches.run` wrote."""
        fields = json.loads(path.read_text("utf-8"))
        shape = fields["shape"] | {"kernels": tuple(fields["shape"]["kernels"])}
        return cls(ArrayShape(**shape), fields["config_hash"], fields["seed"])


SETTINGS = Settings.read(Path("bench.json"))


class Host(TopHost):
    """Drives one array top.

    Attributes:
        activations, weights, results: cocotbext-axi drivers, the last two one per group; the
            monitors have the same order.
        model: what the monitors of the input streams feed.
    """

    def __init__(self, dut: Any, bench: str) -> None:
        super().__init__(dut, bench, SETTINGS.seed, registers_of(True))
        self.shape = shape = SETTINGS.shape
        self.model = ArrayModel(shape)
        self._seen: list[list[list[int]]] = []
        self._open: list[list[tuple[int, int]]] = []
        self._clear()
        self.jobs_checked = 0

        def bus(prefix: str) -> AxiStreamBus:
            return AxiStreamBus.from_prefix(dut, prefix)

        groups = range(shape.groups)
        # One "byte" is a whole beat: the models handle a beat at a time.
        self.activations = AxiStreamSource(bus("s_axis_activations"), dut.clk, byte_lanes=1)
        self.weights = [
            AxiStreamSource(bus(f"s_axis_weights_{g}"), dut.clk, byte_lanes=1) for g in groups
        ]
        self.results = [
            AxiStreamSink(bus(f"m_axis_results_{g}"), dut.clk, byte_lanes=1) for g in groups
        ]
        if shape.operand:
            # These benches send stored weights.
            dut.s_axis_operand_tvalid.value = 0
        self.sources, self.sinks = [self.activations, *self.weights], self.results
        model = self.model
        self.monitors = [
            StreamMonitor(dut, "s_axis_activations", ("tdata", "tlast"), model.activation_beat)
        ]
        self.monitors += [
            StreamMonitor(
                dut,
                f"s_axis_weights_{g}",
                ("tdest", "tdata"),
                lambda target, data, g=g: model.weight_beat(g, target, data),
            )
            for g in groups
        ]
        self.monitors += [
            StreamMonitor(
                dut,
                f"m_axis_results_{g}",
                ("tdata", "tid", "tlast"),
                lambda data, engine, last, g=g: self._result_beat(g, data, engine, last),
            )
            for g in groups
        ]

    @property
    def result_monitors(self) -> list[StreamMonitor]:
        """Monitors of the result streams."""
        return self.monitors[1 + self.shape.groups :]

    def send_activations(self, plan: Plan, activations: np.ndarray, job: range) -> None:
        """Queue all activation tiles of a job, once per segment."""
        data, last = plan.activation_beats(activations, job)
        tiles = np.split(data, np.flatnonzero(last)[:-1] + 1)
        for _ in range(plan.segments):
            for tile in tiles:
                self.activations.send_nowait(AxiStreamFrame(_integers(tile)))

    def send_weights(self, plan: Plan, group: int, change: dict[int, int] | None = None) -> None:
        """Queue a group's weights; ``change`` replaces beats by number."""
        data, target = plan.weight_beats(group)
        beats = _integers(data)
        for number, beat in (change or {}).items():
            beats[number] = beat
        self.weights[group].send_nowait(AxiStreamFrame(beats, tdest=target.tolist()))

    def _result_beat(self, group: int, data: int, engine: int, last: int) -> None:
        column = self._open[group]
        column.append((engine, data))
        complete = len(column) == self.shape.drain_cycles
        assert bool(last) == complete, f"group {group}: TLAST {last} on beat {len(column)}"
        assert engine == column[0][0], f"group {group}: TID changed inside a column"
        if complete:
            size = self.shape.result_bits // 8
            raw = b"".join(beat.to_bytes(size, "little") for _, beat in column)
            self._seen[group].append([engine, *np.frombuffer(raw, "<i4").tolist()])
            column.clear()

    def forget(self) -> None:
        self.model.clear()
        self._clear()

    def _clear(self) -> None:
        self._seen = [[] for _ in range(self.shape.groups)]
        self._open = [[] for _ in range(self.shape.groups)]

    # Jobs.

    async def product(self, plan: Plan, activations: np.ndarray, *, early: int = 0) -> np.ndarray:
        """Run all jobs of a plan; int32 (M, N).

        Streams begin ``early`` cycles before the start, or as many after it where negative.
        """
        rows = []
        for job in plan.jobs:
            await self.write("M_TILES", len(job))
            if early <= 0:
                await self.write("CONTROL", _START)
                if early:
                    await self.cycles(-early)
            self.send_activations(plan, activations, job)
            for group in range(self.shape.groups):
                self.send_weights(plan, group)
            if early > 0:
                await self.cycles(early)
                await self.write("CONTROL", _START)
            await self.wait_done(_patience(plan))
            rows.append(await self.check_job(plan, job))
        return np.concatenate(rows)

    async def check_job(self, plan: Plan, job: range) -> np.ndarray:
        """Scoreboard: hold one finished job to the model; return its part of the product."""
        # A padding beat may still be on its way: it belongs to this job.
        for _ in range(_SETTLE_CYCLES):
            await self.cycles(2)
            if all(source.idle() for source in self.sources):
                break
        await self.cycles(_SETTLE_CYCLES)
        self.check_quiet()
        expected = self.model.finish(len(job))
        collected = []
        for group, seen in enumerate(self._seen):
            table = np.array(seen, np.int64).reshape(-1, 1 + self.shape.lanes)
            for engine in range(self.shape.group):
                mine = table[table[:, 0] == engine, 1:]
                wanted = expected.columns[group * self.shape.group + engine]
                assert len(mine) == len(wanted), (
                    f"group {group} engine {engine}: {len(mine)} columns, model says {len(wanted)}"
                )
                wrong = np.flatnonzero((mine != wanted).any(axis=1))
                assert not len(wrong), (
                    f"group {group} engine {engine} column {wrong[0]}: {mine[wrong[0]].tolist()}, "
                    f"model says {wanted[wrong[0]].tolist()}"
                )
            sink = self.results[group]
            received = sink.count()
            assert received == len(seen), f"group {group}: sink {received}, monitor {len(seen)}"
            sink.clear()
            collected.append((table[:, 1:].astype(np.int32), table[:, 0]))
        self._clear()
        planned = sum(
            int(KERNELS[kernel].configured(self.shape).steps(block).events.sum())
            for stream in plan.streams
            for kernel, block in zip(stream.kernels, stream.blocks, strict=True)
        )
        events = await self.counter("EVENTS")
        assert events == expected.events == planned * len(job), (
            f"EVENTS {events}, model {expected.events}, plan {planned * len(job)}"
        )
        error = await self.read("ERROR")
        assert not error & ~BAD_START, f"ERROR is {error:#x} after a job"
        self.jobs_checked += 1
        return plan.collect(job, collected)

    def check_quiet(self) -> None:
        """Nothing may be half sent or half received."""
        for monitor, source in zip(self.monitors, self.sources, strict=False):
            assert source.idle(), f"{monitor.name}: {source.count()} frames were not accepted"
        for group, column in enumerate(self._open):
            assert not column, f"group {group}: {len(column)} beats of an open column"

    async def finish(self, jobs: int) -> None:
        """End of a bench: queues empty, nothing more arrives, exactly ``jobs`` jobs checked."""
        before = [monitor.beats for monitor in self.monitors]
        await self.cycles(2 * _SETTLE_CYCLES)
        assert [monitor.beats for monitor in self.monitors] == before, "beats after the last job"
        self.check_quiet()
        assert all(sink.empty() for sink in self.results), "results left in a sink"
        assert not any(self._seen), "results that no job accounts for"
        assert self.registers.idle(), "a register access is still open"
        assert self.jobs_checked == jobs, f"{self.jobs_checked} jobs checked, {jobs} planned"


def _integers(beats: np.ndarray) -> list[int]:
    """Beats, uint8 (beats, bytes), as one integer each."""
    return [int.from_bytes(beat.tobytes(), "little") for beat in beats]


def _patience(plan: Plan) -> int:
    """Polls of STATUS, several cycles each, that no job of this plan needs."""
    beats = sum(len(plan.weight_beats(g)[1]) for g in range(plan.shape.groups))
    tiles = sum(plan.tile_beats(k) + plan.tile_rows(k) for k in range(plan.k_tiles))
    columns = -(-plan.outputs // plan.shape.engines) + plan.segments
    return 2000 + 4 * beats + 4 * tiles * columns * len(plan.jobs[0])
