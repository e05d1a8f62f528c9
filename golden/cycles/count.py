"""Cycle model: the cycle count that the RTL takes, exactly.

It repeats what the registers of `rtl_gen.array` do, cycle by cycle, but keeps only what decides
*when* something happens: counts instead of values.  The host is ideal: activations and weights
are always there, results are always taken.  A job begins in the first cycle in which the array
is busy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..formats import KERNELS
from ..numerics.mac_kinds import MAC_KINDS
from ..program.plan import Plan
from ..shape import ArrayShape
from .loop import (
    BLOCK,
    CARRIES,
    FINAL_WORD,
    INDEXED,
    JOB,
    SCANNED,
    SEGMENT,
    SKIPPED,
    TAKES,
    TILE_END,
    Feed,
    flags_of,
    plain_runs,
    run,
)

__all__ = [
    "DRAIN_LATENCY",
    "VALUE_LATENCY",
    "CycleCount",
    "count_cycles",
    "count_job",
]

DRAIN_LATENCY = {False: 3, True: 5}
"""Cycles from the drain's grant to the result, without fusion and with it."""

VALUE_LATENCY = 2
"""Cycles from a row to its event, while its value is read."""


@dataclass(frozen=True)
class CycleCount:
    """Result of the cycle model.

    Attributes:
        cycles: cycles in which the array is busy, summed over the jobs.
        events: valued events, over engines and replays.
        waiting_tile: engine cycles with an event at hand but no activation tile.
        waiting_drain: engine cycles in which the lanes waited for the drain.
        waiting_event: engine cycles without an event, the engine's job not ended.
    """

    cycles: int
    events: int
    waiting_tile: int
    waiting_drain: int
    waiting_event: int


def _steps(plan: Plan, engine: int, padding: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Decoder steps of one engine for one pass over all segments.

    Args:
        plan: of the product.
        engine: of the array.
        padding: words that are skipped in front of the header of each part.
    """
    stream = plan.streams[engine]
    events, flags = [], []
    parts = zip(stream.blocks, stream.kernels, stream.headers, padding, strict=True)
    for block, name, header, skipped in parts:
        kernel = KERNELS[name].configured(plan.shape)
        steps = kernel.steps(block)
        common = bool(steps.word.any()) * INDEXED
        common |= kernel.scanned * SCANNED | kernel.carries_values * CARRIES
        common |= kernel.takes_words * TAKES
        flag = flags_of(steps.push, steps.word, steps.last, common)
        flag[-1] |= BLOCK
        if kernel.takes_words:
            ends = np.flatnonzero(steps.word)
            flag[ends[-2] + 1 if len(ends) > 1 else 0 :] |= FINAL_WORD
        if header.tile_end:
            flag[-1] |= TILE_END
        if header.segment_end:
            flag[-1] |= SEGMENT
        if header.job_end:
            flag[-1] |= JOB
        events += [np.zeros(skipped, np.uint8), steps.events]
        flags += [np.full(skipped, SKIPPED, np.uint16), flag]
    return np.concatenate(events), np.concatenate(flags)


NO_FEED = Feed(np.zeros(0, np.bool_), np.zeros(0, np.uint8), np.zeros(0, np.int64))
"""Of a job whose weights come through the weight streams."""


def count_cycles(plan: Plan) -> CycleCount:
    """Run the model on a plan.

    Raises:
        RuntimeError: the array makes no progress, which would be a defect of the plan.
    """
    targets = [plan.weight_targets(g) for g in range(plan.shape.groups)]
    known: dict[int, np.ndarray] = {}
    totals = np.zeros(5, np.int64)
    for job in plan.jobs:
        if len(job) not in known:
            known[len(job)] = count_job(plan, len(job), targets)
        totals += known[len(job)]
    return CycleCount(*(int(t) for t in totals))


def count_job(
    plan: Plan,
    m_tiles: int,
    targets: Sequence[np.ndarray],
    feed: Feed = NO_FEED,
    padding: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """Run the model on one job; int64, the fields of `CycleCount` in their order.

    Args:
        plan: of the product.
        m_tiles: tiles of tokens.
        targets: per group, the targets of the beats of its weight stream.
        feed: what the operand feeder sends beside or instead of them.
        padding: per engine and part, words that are skipped in front of the header.

    Raises:
        RuntimeError: the array makes no progress, which would be a defect of the plan.
    """
    shape: ArrayShape = plan.shape
    if padding is None:
        padding = [[0] * len(stream.blocks) for stream in plan.streams]
    steps = [_steps(plan, e, padding[e]) for e in range(shape.engines)]
    starts = np.cumsum([0] + [len(s[0]) for s in steps])
    step_events = np.concatenate([s[0] for s in steps])
    step_flags = np.concatenate([s[1] for s in steps])
    target_start = np.cumsum([0] + [len(t) for t in targets])
    tile_beats = np.array([plan.tile_beats(k) for k in range(plan.k_tiles)])
    work = int(step_events.sum()) + 8 * len(step_events)
    work += 64 * (int(target_start[-1]) + len(feed.kind) + feed.latency * len(feed.block_end))
    beats = int(tile_beats.sum()) * plan.segments * m_tiles
    result = run(
        step_events,
        step_flags,
        plain_runs(step_events, step_flags),
        starts,
        np.concatenate(targets).astype(np.int64),
        target_start,
        tile_beats,
        m_tiles,
        plan.k_tiles,
        plan.segments,
        shape.group,
        shape.activation_tiles,
        shape.words_per_beat,
        shape.index_words // shape.words_per_beat,
        shape.value_words // shape.words_per_beat,
        shape.queue,
        VALUE_LATENCY,
        MAC_KINDS[shape.mac].latency_cycles,
        shape.drain_cycles,
        feed,
        10_000 + 64 * (work * m_tiles + beats),
    )
    if result[5]:
        raise RuntimeError(f"cycle model: {result[5]} engines make no progress")
    totals = np.array(result[:5])
    # The last word passes the drain; `finished` and `busy` are registers.
    totals[0] += DRAIN_LATENCY[shape.fusion] + 1
    return totals
