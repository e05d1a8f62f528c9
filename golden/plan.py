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

from dataclasses import dataclass, field

import numpy as np

from .balance import assign_columns
from .block import BlockHeader
from .errors import BadInput
from .kernels import KERNELS
from .matmul import check_operands
from .shape import ArrayShape

__all__ = ["MAX_REPLAYS", "EngineStream", "Plan", "plan_matmul"]

MAX_REPLAYS = 255
"""Tiles of tokens in one job: the array's replay counter has eight bits."""

_RUN_BEATS = 4  # beats sent to one ring before the stream turns to the next


@dataclass(frozen=True)
class EngineStream:
    """One engine's words for a whole job.

    Attributes:
        index: uint64 words, headers included.
        values: uint64 words, eight value bytes each.
        index_cuts, values_cuts: words up to the end of each block.
        columns: per segment, the output columns (``-1``: a dummy that keeps an idle engine in
            step with the activation tiles).
        blocks: per (segment, k tile), the int8 block itself.
    """

    index: np.ndarray
    values: np.ndarray
    index_cuts: np.ndarray
    values_cuts: np.ndarray
    columns: list[np.ndarray]
    blocks: list[np.ndarray]


@dataclass(frozen=True)
class Plan:
    """Everything that is the same for all jobs of one product."""

    shape: ArrayShape
    kernel: str
    rows: int
    depth: int
    outputs: int
    replay: bool
    segments: int
    streams: list[EngineStream] = field(repr=False)

    @property
    def k_tiles(self) -> int:
        """Activation tiles per tile of tokens."""
        return -(-self.depth // self.shape.k_tile)

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
        return min(self.shape.k_tile, self.depth - k_tile * self.shape.k_tile)

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
            uint8 (beats, data_bits / 8), and bool (beats,), true on the last beat of a tile.
            The same beats are sent again for every segment.
        """
        shape = self.shape
        parts, lasts = [], []
        for m_tile in m_tiles:
            rows = activations[m_tile * shape.lanes : (m_tile + 1) * shape.lanes]
            for k_tile in range(self.k_tiles):
                low = k_tile * shape.k_tile
                depth = self.tile_rows(k_tile)
                beats = self.tile_beats(k_tile)
                tile = np.zeros((beats * shape.data_bits // shape.row_bits, shape.lanes), np.int8)
                tile[:depth, : len(rows)] = rows[:, low : low + depth].T
                parts.append(tile.reshape(beats, shape.data_bits // 8).view(np.uint8))
                last = np.zeros(beats, bool)
                last[-1] = True
                lasts.append(last)
        return np.concatenate(parts), np.concatenate(lasts)

    def weight_beats(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Beats of one job's weight stream.

        Returns:
            uint8 (beats, data_bits / 8) and uint8 (beats,), the target ``2 * engine + values``.
        """
        shape = self.shape
        words = shape.words_per_beat
        runs: list[tuple[int, int, int, np.ndarray]] = []
        first = group * shape.group
        for engine in range(shape.group):
            stream = self.streams[first + engine]
            for ring, data, cuts in (
                (0, stream.index, stream.index_cuts),
                (1, stream.values, stream.values_cuts),
            ):
                padded = np.zeros(-(-len(data) // words) * words, np.uint64)
                padded[: len(data)] = data
                beats = padded.reshape(-1, words)
                begin = 0
                for block, cut in enumerate(cuts):
                    end = -(-int(cut) // words)
                    for number, low in enumerate(range(begin, end, _RUN_BEATS)):
                        part = beats[low : min(low + _RUN_BEATS, end)]
                        runs.append((block, number, 2 * engine + ring, part))
                    begin = max(begin, end)
        runs.sort(key=lambda run: run[:3])
        target = np.concatenate([np.full(len(run[3]), run[2], np.uint8) for run in runs])
        data = np.concatenate([run[3] for run in runs])
        return np.ascontiguousarray(data).view(np.uint8).reshape(len(data), -1), target

    def collect(self, job: range, results: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Put the results of one job in their places.

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
        out = np.zeros((len(job) * shape.lanes, self.outputs), np.int32)
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
                    rows = part[:, real].transpose(0, 2, 1).reshape(len(job) * shape.lanes, -1)
                    out[:, columns[real]] = rows
        return out[: min(self.rows, job.stop * shape.lanes) - job.start * shape.lanes]


def _encode(
    shape: ArrayShape, kernel_name: str, weights: np.ndarray, columns: list[np.ndarray]
) -> EngineStream:
    """Encode one engine's share, segment by segment, k tile by k tile."""
    kernel = KERNELS[kernel_name].configured(shape)
    depth = weights.shape[0]
    k_tiles = -(-depth // shape.k_tile)
    index: list[np.ndarray] = []
    values: list[np.ndarray] = []
    index_cuts, values_cuts, blocks, filled = [], [], [], []
    index_size = values_size = 0
    for segment, chosen in enumerate(columns):
        chosen = chosen if len(chosen) else np.array([-1])
        filled.append(chosen)
        share = np.where(chosen >= 0, weights[:, chosen], 0).astype(np.int8)
        pending = np.empty(0, np.int8)
        for k_tile in range(k_tiles):
            block = share[k_tile * shape.k_tile : (k_tile + 1) * shape.k_tile]
            words, bytes_ = kernel.encode(block)
            end = k_tile == k_tiles - 1
            header = BlockHeader(
                kernel=kernel.code,
                columns=block.shape[1],
                depth=block.shape[0],
                first=k_tile == 0,
                final=end,
                segment_end=end,
                job_end=end and segment == len(columns) - 1,
            )
            index += [np.array([header.pack()], np.uint64), words]
            index_size += 1 + len(words)
            pending = np.concatenate([pending, bytes_])
            whole = len(pending) if end else len(pending) // 8 * 8
            padded = np.zeros(-(-whole // 8) * 8, np.int8)
            padded[:whole] = pending[:whole]
            values.append(padded.view("<u8").astype(np.uint64))
            values_size += len(values[-1])
            pending = pending[whole:]
            index_cuts.append(index_size)
            # The word that the block shares with the next one must be there for it as well.
            values_cuts.append(values_size + (1 if len(pending) else 0))
            blocks.append(block)
    return EngineStream(
        np.concatenate(index),
        np.concatenate(values),
        np.array(index_cuts),
        np.array(values_cuts),
        filled,
        blocks,
    )


def _largest_segment(stream: EngineStream, k_tiles: int) -> tuple[int, int, int]:
    """Return the most index words of a segment, of a block, and the most value words."""
    index = np.diff(stream.index_cuts, prepend=0)
    values = np.diff(stream.values_cuts[k_tiles - 1 :: k_tiles], prepend=0)
    return int(index.reshape(-1, k_tiles).sum(1).max()), int(index.max()), int(values.max())


def plan_matmul(
    shape: ArrayShape, activations: np.ndarray, weights: np.ndarray, kernel: str = "auto"
) -> Plan:
    """Plan O = A @ W on an array.

    Args:
        shape: the array.
        activations: int8 (M, K).
        weights: int8 (K, N).
        kernel: name of a kernel of the array, or ``auto``: the one with the fewest decoder
            cycles, then the fewest bytes.

    Raises:
        BadInput: operands of wrong type or shape, or a kernel the array does not have.
    """
    check_operands(activations, weights)
    if kernel == "auto":
        plans, refusals = [], []
        for name in shape.kernels:
            try:
                plans.append(plan_matmul(shape, activations, weights, name))
            except BadInput as refusal:
                refusals.append(refusal)
        if not plans:
            raise refusals[0]
        return min(plans, key=lambda plan: (_slots(plan, weights), plan.weight_bytes, plan.kernel))
    if kernel not in shape.kernels:
        known = ", ".join(shape.kernels)
        raise BadInput(f"kernel: must be one this array has ({known}) or auto, got {kernel!r}")
    if not _accepts(shape, kernel, weights):
        raise BadInput(
            f"kernel: {kernel} must be able to hold the weights, they are not "
            f"{shape.nm_n}:{shape.nm_m} sparse"
        )
    depth, outputs = weights.shape
    k_tiles = -(-depth // shape.k_tile)
    costs = _column_costs(shape, kernel, weights)
    beat = shape.words_per_beat
    index_room = shape.index_words - 3 * beat
    values_room = shape.value_words - 3 * beat
    several = activations.shape[0] > shape.lanes
    most = min(shape.columns, -(-outputs // shape.engines))
    # One tile of tokens needs no replay, so the weights may stream through the rings.
    for streamed in (False, True) if several else (True,):
        columns = most
        while columns >= 1:
            segments = -(-outputs // (shape.engines * columns))
            chosen = assign_columns(costs, shape.engines, segments)
            streams = [
                _encode(shape, kernel, weights, [part[e] for part in chosen])
                for e in range(shape.engines)
            ]
            sizes = np.array([_largest_segment(s, k_tiles) for s in streams]).max(axis=0)
            # With several segments the rings hold two, so that one loads while one plays.
            share = 2 if segments > 1 and not streamed and columns > 1 else 1
            fits = sizes[1] * (1 if streamed else share) <= index_room
            if not streamed:
                fits &= sizes[0] * share <= index_room and sizes[2] * share <= values_room
            if fits:
                return Plan(
                    shape=shape,
                    kernel=kernel,
                    rows=activations.shape[0],
                    depth=depth,
                    outputs=outputs,
                    replay=not streamed,
                    segments=segments,
                    streams=streams,
                )
            if columns == 1:
                break
            over = max(
                sizes[1] * share / index_room,
                0 if streamed else sizes[0] * share / index_room,
                0 if streamed else sizes[2] * share / values_room,
            )
            columns = max(1, min(columns - 1, int(columns / over)))
    raise BadInput(
        f"array shape: index_words: must hold one block of {shape.k_tile} rows, "
        f"got {shape.index_words}"
    )


def _column_costs(shape: ArrayShape, kernel: str, weights: np.ndarray) -> np.ndarray:
    costs = np.zeros(weights.shape[1], np.int64)
    for low in range(0, weights.shape[0], shape.k_tile):
        part = weights[low : low + shape.k_tile] != 0
        costs += KERNELS[kernel].configured(shape).column_cycles(part)
    return costs


def _accepts(shape: ArrayShape, kernel: str, weights: np.ndarray) -> bool:
    """Whether every activation tile's rows fit the kernel's format."""
    form = KERNELS[kernel].configured(shape)
    tiles = range(0, weights.shape[0], shape.k_tile)
    return all(form.accepts(weights[low : low + shape.k_tile]) for low in tiles)


def _slots(plan: Plan, weights: np.ndarray) -> int:
    return int(_column_costs(plan.shape, plan.kernel, weights).sum())
