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
from dataclasses import dataclass, field

import numpy as np

from ..errors import BadInput
from ..operators.matmul import check_operands
from ..planner.choose import Split, built_kernels, kept_rows
from ..planner.grouping import Grouping
from ..planner.layout import BALANCES, Layout, arrange, parts_to_try, tilings
from ..shape import ArrayShape
from .streams import EngineStream

__all__ = ["MAX_REPLAYS", "EngineStream", "Plan", "plan_matmul"]

MAX_REPLAYS = 255
"""Tiles of tokens in one job: the array's replay counter has eight bits."""

_RUN_BEATS = 4  # beats sent to one ring before the stream turns to the next
_WORTH = 0.99  # of the predicted cycles, to be worth more parts or tiles


@dataclass(frozen=True)
class Plan:
    """Everything that is the same for all jobs of one product.

    Attributes:
        shape: the array.
        rows, outputs: M and N.
        depth: rows of k that are sent, those that were dropped not counted.
        kept: int64 (depth,), the rows of k that are sent.
        bounds: int64 (k tiles + 1,), first of the sent rows of each k tile, then ``depth``.
        layout: segments and streams.
    """

    shape: ArrayShape
    rows: int
    depth: int
    outputs: int
    kept: np.ndarray = field(repr=False)
    bounds: np.ndarray = field(repr=False)
    layout: Layout = field(repr=False)

    @property
    def streams(self) -> list[EngineStream]:
        """One stream per engine."""
        return self.layout.streams

    @property
    def segments(self) -> int:
        """Turns in which the columns are in the rings."""
        return self.layout.segments

    @property
    def replay(self) -> bool:
        """Whether the rings keep the weights for all tiles of tokens of a job."""
        return self.layout.replay

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
            uint8 (beats, data_bits / 8), and bool (beats,), true on the last beat of a tile.
            The same beats are sent again for every segment.
        """
        shape = self.shape
        parts, lasts = [], []
        for m_tile in m_tiles:
            rows = activations[m_tile * shape.lanes : (m_tile + 1) * shape.lanes, self.kept]
            for k_tile in range(self.k_tiles):
                low = self.bounds[k_tile]
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
        runs: list[tuple[tuple[int, ...], int, np.ndarray]] = []
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
                target = 2 * engine + ring
                begin = part = 0
                for place, (tile, cut) in enumerate(zip(stream.tiles, cuts, strict=True)):
                    # Engines may have different numbers of parts to a tile: keep tiles together.
                    part = part + 1 if place and tile == stream.tiles[place - 1] else 0
                    end = -(-int(cut) // words)
                    for number, low in enumerate(range(begin, end, _RUN_BEATS)):
                        run = beats[low : min(low + _RUN_BEATS, end)]
                        runs.append(((int(tile), part, number, target), target, run))
                    begin = max(begin, end)
        runs.sort(key=lambda run: run[0])
        target = np.concatenate([np.full(len(run[2]), run[1], np.uint8) for run in runs])
        data = np.concatenate([run[2] for run in runs])
        return np.ascontiguousarray(data).view(np.uint8).reshape(len(data), -1), target

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


def plan_matmul(
    shape: ArrayShape,
    activations: np.ndarray,
    weights: np.ndarray,
    kernel: str = "auto",
    *,
    k_split: int | str = 1,
    balance: str = "anneal",
    seed: int = 0,
    split: Split | None = None,
    grouping: Grouping | None = None,
    drop_weight_rows: bool = True,
    drop_activation_rows: bool = False,
) -> Plan:
    """Plan O = A @ W on an array.

    Args:
        shape: the array.
        activations: int8 (M, K).
        weights: int8 (K, N).
        kernel: name of a kernel of the array for all blocks, or ``auto``: for each block the one
            with the fewest decoder cycles, then the fewest bytes, then the first of
            `golden.planner.choose.ORDER`.
        k_split: parts, held by different engines, that each column's rows are cut into; or
            ``auto``: the number with the least predicted cycles.
        balance: ``lpt``, or ``anneal`` to improve on it; never worse in predicted cycles.
        seed: of the annealing.
        split: divides each block into parts with a kernel each; ``kernel`` then only limits which.
            For parts with scales of their own see `golden.planner.fused.plan_fused`.
        grouping: brings like columns together and ends k tiles where the structure does, for
            fewer stored bytes, instead of ``balance``; one k part only.
        drop_weight_rows: leave out each k whose weights are zero in all columns.
        drop_activation_rows: leave out each k whose activations are zero for all tokens; such a
            plan is good for these activations alone.

    Raises:
        BadInput: operands of wrong type or shape, a kernel the array does not have or that
            cannot hold the weights, ``k_split`` or ``balance`` out of range.
        ValueError: ``split`` returned parts that overlap or do not sum to the block.
    """
    check_operands(activations, weights)
    kernels = built_kernels(shape, kernel)
    outputs = weights.shape[1]
    tried = parts_to_try(shape, outputs, k_split)
    if grouping is not None:
        if 1 not in tried:
            raise BadInput(f"k_split: must be 1 or auto where columns are grouped, got {k_split}")
        tried = [1]
    if balance not in BALANCES:
        raise BadInput(f"balance: must be one of {', '.join(BALANCES)}, got {balance!r}")
    needed = np.ones(len(weights), bool)
    if drop_weight_rows:
        needed &= weights.any(axis=1)
    if drop_activation_rows:
        needed &= activations.any(axis=0)
    kept = kept_rows(kernels, weights, needed, shape.k_tile)
    # Rows that stay only to keep a run whole must still count for nothing.
    sent = np.where(needed[kept][:, None], weights[kept], 0).astype(np.int8)
    m_tiles = -(-activations.shape[0] // shape.lanes)
    found: list[tuple[np.ndarray, Layout]] = []
    for bounds in tilings(shape, len(kept)) if grouping is None else [grouping.bounds(sent)]:
        # What the first tile's load is to a long product is not worth trying.
        load = min(shape.k_tile, len(kept)) * shape.row_bits / shape.data_bits
        if found and load < (1 - _WORTH) * found[-1][1].predicted:
            break
        for parts in tried:
            layout = arrange(
                shape,
                kernels,
                sent,
                bounds,
                m_tiles,
                k_split=parts,
                balance=balance,
                seed=seed,
                split=split,
                grouping=grouping,
            )
            if not found or layout.predicted < _WORTH * found[-1][1].predicted:
                found.append((bounds, layout))
    bounds, layout = found[-1]
    return Plan(
        shape=shape,
        rows=activations.shape[0],
        depth=len(kept),
        outputs=outputs,
        kept=kept,
        bounds=bounds,
        layout=layout,
    )
