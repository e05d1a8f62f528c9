"""Run-time operands: what an array with a feeder chooses for each block, and what then runs.

For each block of the operand (`golden.program.deal`) the fuse selector chooses a candidate
(`golden.selector.unit`), in the order of the blocks and with what it has learnt from those before.
The block then runs as that kernel says, values below the candidate's threshold cleared. An engine
without columns runs a column of one zero, so that it keeps step with the activation tiles. An
operand that comes again for the next tile of tokens is chosen for again.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ..formats import KERNELS
from ..formats.block_header import BlockHeader
from ..selector.selector import Selector
from ..selector.table import PerformanceTable
from ..selector.unit import UnitParameters, describe_raw
from .deal import Deal, OperandBlock
from .plan import MAX_REPLAYS, Plan
from .streams import EngineStream

__all__ = ["OperandJob", "clear_below", "multiply_naive", "plan_operand"]


def clear_below(block: np.ndarray, threshold: int) -> np.ndarray:
    """An int8 block without its values of ``|x| < 2**threshold``; all stay at threshold 0."""
    kept = np.abs(block.astype(np.int16)) >> threshold != 0
    return np.where(kept, block, 0).astype(np.int8)


@dataclass(frozen=True, kw_only=True)
class OperandJob:
    """One job: tiles of tokens, what was chosen for each block, and what runs.

    Attributes:
        deal: of the operand.
        tokens: tiles of tokens.
        candidates: int64 (blocks,), candidate of each block.
        multiplied: int8 (K, N), the operand as it is multiplied.
        plan: the engines' streams, of which the feeder makes the ring words.
    """

    deal: Deal
    tokens: range
    candidates: np.ndarray = field(repr=False)
    multiplied: np.ndarray = field(repr=False)
    plan: Plan = field(repr=False)


def _chosen(
    deal: Deal,
    parameters: UnitParameters,
    selector: Selector,
    table: PerformanceTable,
    operand: np.ndarray,
    jobs: int,
) -> np.ndarray:
    """Candidates of all blocks of all jobs, int64 (jobs, blocks)."""
    blocks = [block.of(operand) for block in deal.blocks]
    once = describe_raw(table, parameters, np.zeros(len(blocks), np.int64), blocks)
    by_block = ("shape", "empty", "count", "bin", "error", "infeasible")
    again = {name: np.concatenate([getattr(once, name)] * jobs) for name in by_block}
    return selector.run(replace(once, **again)).candidate.reshape(jobs, -1)


def plan_operand(
    deal: Deal,
    parameters: UnitParameters,
    selector: Selector,
    table: PerformanceTable,
    operand: np.ndarray,
    rows: int,
) -> list[OperandJob]:
    """What the array does with an operand, job by job; the selector's state moves on.

    Args:
        deal: of the operand.
        parameters: of the selector.
        selector: as the jobs before left it.
        table: the selector's.
        operand: int8 (K, N).
        rows: M, of the activations.
    """
    m_tiles = -(-rows // deal.shape.lanes)
    step = MAX_REPLAYS if deal.replay else 1
    jobs = [range(a, min(a + step, m_tiles)) for a in range(0, m_tiles, step)]
    chosen = _chosen(deal, parameters, selector, table, operand, len(jobs))
    plans: dict[bytes, tuple[np.ndarray, Plan]] = {}
    found = []
    for tokens, candidates in zip(jobs, chosen, strict=True):
        key = candidates.tobytes()
        if key not in plans:
            plans[key] = _plan(deal, parameters, candidates, operand, rows)
        multiplied, plan = plans[key]
        found.append(
            OperandJob(
                deal=deal,
                tokens=tokens,
                candidates=candidates,
                multiplied=multiplied,
                plan=plan,
            )
        )
    return found


def multiply_naive(
    deal: Deal,
    parameters: UnitParameters,
    selector: Selector,
    table: PerformanceTable,
    activations: np.ndarray,
    operand: np.ndarray,
) -> np.ndarray:
    """The specification of a product with a run-time operand: block after block.

    Args:
        deal: of the operand.
        parameters: of the selector.
        selector: as it stands before; its state moves on.
        table: the selector's.
        activations: int8 (M, K).
        operand: int8 (K, N).

    Returns:
        int32 (M, N).
    """
    tokens = deal.shape.lanes * (MAX_REPLAYS if deal.replay else 1)
    out = np.zeros((len(activations), deal.outputs), np.int32)
    for first in range(0, len(activations), tokens):
        rows = slice(first, first + tokens)
        for block in deal.blocks:
            values = block.of(operand)
            blocks = describe_raw(table, parameters, np.zeros(1, np.int64), [values])
            candidate = parameters.candidates[int(selector.run(blocks).candidate[0])]
            for column in range(block.columns):
                for row in range(block.depth):
                    value = int(values[row, column])
                    if abs(value) >= 1 << candidate.threshold:
                        vector = activations[rows, block.row + row].astype(np.int32)
                        out[rows, block.column + column] += vector * value
    return out


class _Ring:
    """Words of one engine as the feeder writes them: every block from a new beat on."""

    def __init__(self, beat_words: int) -> None:
        self._beat = beat_words
        self.index: list[np.ndarray] = []
        self.values: list[np.ndarray] = []
        self.cuts: list[tuple[int, int]] = []

    def add(self, header: BlockHeader, words: np.ndarray) -> None:
        """Append a block of raw words, or of value words where the header is dense."""
        head = np.array([header.pack()], np.uint64)
        carried = header.kernel == KERNELS["raw"].code
        self.index.append(self._whole(np.concatenate([head, words]) if carried else head))
        self.values.append(self._whole(words[:0] if carried else words))
        self.cuts.append((sum(map(len, self.index)), sum(map(len, self.values))))

    def _whole(self, words: np.ndarray) -> np.ndarray:
        padded = np.zeros(-(-len(words) // self._beat) * self._beat, np.uint64)
        padded[: len(words)] = words
        return padded


def _plan(
    deal: Deal,
    parameters: UnitParameters,
    candidates: np.ndarray,
    operand: np.ndarray,
    rows: int,
) -> tuple[np.ndarray, Plan]:
    """The operand as it is multiplied, and the streams of all engines."""
    shape, tiles = deal.shape, len(deal.bounds) - 1
    multiplied = np.zeros_like(operand)
    held: dict[tuple[int, int, int], tuple[OperandBlock, str, np.ndarray]] = {}
    for block, candidate in zip(deal.blocks, candidates, strict=True):
        chosen = parameters.candidates[candidate]
        kept = clear_below(block.of(operand), chosen.threshold)
        block.of(multiplied)[:] = kept
        held[block.number, block.tile, block.engine] = block, chosen.kernel, kept
    idle = "raw", np.zeros((1, 1), np.int8)
    streams = []
    for engine in range(shape.engines):
        ring = _Ring(shape.words_per_beat)
        columns, blocks, kernels, headers, cycles = [], [], [], [], []
        for number in range(deal.passes):
            for tile in range(tiles):
                place, kernel, kept = held.get((number, tile, engine), (None, *idle))
                final = tile == tiles - 1
                header = BlockHeader(
                    kernel=KERNELS[kernel].code,
                    columns=kept.shape[1],
                    depth=kept.shape[0],
                    first=tile == 0,
                    final=final,
                    segment_end=final,
                    job_end=final and number == deal.passes - 1,
                )
                index, values = KERNELS[kernel]().encode(kept)
                ring.add(header, index if kernel == "raw" else values.view("<u8"))
                cycles.append(int(KERNELS[kernel]().column_cycles(kept != 0).sum()))
                blocks.append(kept)
                kernels.append(kernel)
                headers.append(header)
            mine = np.array([-1])
            if place is not None:
                mine = np.arange(place.column, place.column + place.columns)
            columns.append(mine)
        cuts = np.array(ring.cuts)
        streams.append(
            EngineStream(
                index=np.concatenate(ring.index),
                values=np.concatenate(ring.values),
                index_cuts=cuts[:, 0],
                values_cuts=cuts[:, 1],
                columns=columns,
                blocks=blocks,
                kernels=kernels,
                headers=headers,
                tiles=np.arange(deal.passes * tiles),
                cycles=np.array(cycles, np.int64),
            )
        )
    plan = Plan(
        shape=shape,
        rows=rows,
        depth=deal.depth,
        outputs=deal.outputs,
        kept=np.arange(deal.depth),
        bounds=deal.bounds,
        streams=streams,
        segments=deal.passes,
        replay=deal.replay,
    )
    return multiplied, plan
