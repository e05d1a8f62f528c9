"""How a matrix product of any size runs on an array: tiles, segments, streams.

The plan is the loop nest made concrete::

    for job:                      # at most MAX_REPLAYS tiles of tokens, or 1 if W is streamed
      for segment:                # columns whose compressed weights the rings hold at once
        for m_tile:               # lanes; weights are replayed from the rings
          for k_tile:             # one activation tile
            engines run their block of (segment, k_tile)

Engine-level words, beats and expected results follow from it; the cycle model, the harness and
the cocotb benches all read the same plan.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..shape import ArrayShape
from .beats import Run, runs_of
from .streams import EngineStream

__all__ = ["MAX_REPLAYS", "EngineStream", "Plan"]

MAX_REPLAYS = 255
"""Tiles of tokens in one job: the array's replay counter has eight bits."""


@dataclass(frozen=True)
class Plan:
    """Everything that is the same for all jobs of one product.

    Attributes:
        shape: the array.
        rows, outputs: M and N.
        depth: rows of k that are sent, those that were dropped not counted.
        kept: int64 (depth,), the rows of k that are sent.
        bounds: int64 (k tiles + 1,), first of the sent rows of each k tile, then ``depth``.
        streams: one per engine.
        segments: turns in which the columns are in the rings.
        replay: the rings keep the weights for all tiles of tokens of a job.
        k_split: parts that each column's rows were cut into.
        predicted: cycles of the whole product as `golden.planner.makespan` predicts them.
        predicted_start: the same before annealing.
    """

    shape: ArrayShape
    rows: int
    depth: int
    outputs: int
    kept: np.ndarray = field(repr=False)
    bounds: np.ndarray = field(repr=False)
    streams: list[EngineStream] = field(repr=False)
    segments: int
    replay: bool
    k_split: int = 1
    predicted: int = 0
    predicted_start: int = 0

    @property
    def kernel_blocks(self) -> dict[str, int]:
        """How many parts each kernel holds; those of dummy columns are not counted."""
        counts = Counter(
            kernel
            for stream in self.streams
            for kernel, tile in zip(stream.kernels, stream.tiles, strict=True)
            if stream.columns[tile // self.k_tiles][0] >= 0
        )
        return {name: counts[name] for name in self.shape.kernels if counts[name]}

    @property
    def kernel(self) -> str:
        """Name of the kernel that holds every block, or ``mixed``."""
        names = list(self.kernel_blocks)
        return names[0] if len(names) == 1 else "mixed"

    @property
    def k_tiles(self) -> int:
        """Activation tiles per tile of tokens."""
        return len(self.bounds) - 1

    @property
    def m_tiles(self) -> int:
        """Tiles of tokens in the whole product."""
        return -(-self.rows // self.shape.lanes)

    @property
    def jobs(self) -> list[range]:
        """Tiles of tokens of each job."""
        step = MAX_REPLAYS if self.replay else 1
        return [range(a, min(a + step, self.m_tiles)) for a in range(0, self.m_tiles, step)]

    @property
    def weight_bytes(self) -> int:
        """Bytes of index and value words, headers and padding included."""
        return 8 * sum(len(s.index) + len(s.values) for s in self.streams)

    def tile_rows(self, k_tile: int) -> int:
        """Rows of activation tile ``k_tile`` of each tile of tokens."""
        return int(self.bounds[k_tile + 1] - self.bounds[k_tile])

    def tile_beats(self, k_tile: int) -> int:
        """Beats that carry activation tile ``k_tile``."""
        shape = self.shape
        return -(-self.tile_rows(k_tile) // shape.rows_per_beat) * shape.beats_per_row

    def activation_beats(
        self, activations: np.ndarray, m_tiles: range
    ) -> tuple[np.ndarray, np.ndarray]:
        """Beats of one job, for one segment, in stream order.

        Args:
            activations: int8 (M, K).
            m_tiles: tiles of tokens of the job.

        Returns:
            uint8 (beats, activation_bits / 8), and bool (beats,), true on the last beat of a tile.
            The same beats are sent again for every segment.
        """
        shape = self.shape
        width = shape.activation_bits
        parts, lasts = [], []
        for m_tile in m_tiles:
            rows = activations[m_tile * shape.lanes : (m_tile + 1) * shape.lanes, self.kept]
            for k_tile in range(self.k_tiles):
                low = self.bounds[k_tile]
                depth = self.tile_rows(k_tile)
                beats = self.tile_beats(k_tile)
                tile = np.zeros((beats * width // shape.row_bits, shape.lanes), np.int8)
                tile[:depth, : len(rows)] = rows[:, low : low + depth].T
                parts.append(tile.reshape(beats, width // 8).view(np.uint8))
                last = np.zeros(beats, bool)
                last[-1] = True
                lasts.append(last)
        return np.concatenate(parts), np.concatenate(lasts)

    def weight_beats(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Beats of one job's weight stream.

        Returns:
            uint8 (beats, data_bits / 8) and uint8 (beats,), the target ``2 * engine + values``.
        """
        runs = self._weight_runs(group)
        first = group * self.shape.group
        rings = [
            self._in_beats(words)
            for stream in self.streams[first : first + self.shape.group]
            for words in (stream.index, stream.values)
        ]
        data = np.concatenate([rings[to][run.low : run.high] for to, run in runs])
        target = self._targets(runs)
        return np.ascontiguousarray(data).view(np.uint8).reshape(len(data), -1), target

    def weight_targets(self, group: int) -> np.ndarray:
        """Targets of one job's weight stream alone, as `weight_beats` returns them."""
        return self._targets(self._weight_runs(group))

    @staticmethod
    def _targets(runs: Sequence[tuple[int, Run]]) -> np.ndarray:
        targets = np.array([to for to, _ in runs], np.uint8)
        return np.repeat(targets, [run.high - run.low for _, run in runs])

    def _weight_runs(self, group: int) -> list[tuple[int, Run]]:
        """A group's runs in the order of its weight stream, each with its target."""
        shape = self.shape
        found = [
            (2 * engine + run.ring, run)
            for engine in range(shape.group)
            for run in runs_of(shape, self.streams[group * shape.group + engine], self.replay)
        ]
        # Engines may have different numbers of parts to a tile: keep tiles together.
        return sorted(found, key=lambda it: (it[1].tile, it[1].part, it[1].turn, it[0]))

    def _in_beats(self, data: np.ndarray) -> np.ndarray:
        """Words as uint64 (beats, words of a beat), the last beat padded with zeros."""
        words = self.shape.words_per_beat
        padded = np.zeros(-(-len(data) // words) * words, np.uint64)
        padded[: len(data)] = data
        return padded.reshape(-1, words)

    def collect(self, job: range, results: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Put the results of one job in their places; k parts of a column add up modulo 2^32.

        Args:
            job: tiles of tokens of the job.
            results: per group, int32 (columns, lanes) and the engine of each column, in the
                order of arrival.

        Returns:
            int32 (rows of the job, N).

        Raises:
            ValueError: the number of columns of an engine is not what the plan says.
        """
        shape = self.shape
        out = np.zeros((self.outputs, len(job) * shape.lanes), np.uint32)
        for group, (data, engines) in enumerate(results):
            for engine in range(shape.group):
                stream = self.streams[group * shape.group + engine]
                mine = data[engines == engine]
                expected = sum(len(c) for c in stream.columns) * len(job)
                if len(mine) != expected:
                    raise ValueError(
                        f"group {group} engine {engine}: {len(mine)} columns, expected {expected}"
                    )
                at = 0
                for columns in stream.columns:
                    size = len(columns) * len(job)
                    part = mine[at : at + size].reshape(len(job), len(columns), shape.lanes)
                    at += size
                    real = columns >= 0
                    sums = part[:, real].transpose(1, 0, 2).reshape(-1, len(job) * shape.lanes)
                    # An engine may hold several parts of a column.
                    np.add.at(out, columns[real], sums.astype(np.int32).view(np.uint32))
        rows = min(self.rows, job.stop * shape.lanes) - job.start * shape.lanes
        return np.ascontiguousarray(out.view(np.int32).T[:rows])
