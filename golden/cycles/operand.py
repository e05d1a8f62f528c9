"""Cycles of products whose weights come through the operand feeder, exactly.

The feeder's registers are part of the loop (`golden.cycles.loop`); here is what it has to send.
The host is ideal, as for stored weights: the operand's words are always there.
"""

from collections.abc import Sequence

import numpy as np

from ..program.operand import OperandJob
from ..selector.unit import BLOCKS_AHEAD, UnitParameters
from .count import CycleCount, count_job
from .loop import FEED_HEADER, FEED_OTHER, FEED_WORD, Feed

__all__ = ["choice_latency", "choice_spacing", "count_operand"]

# Of the selector's stages: counts and beats of statistics; costs and their comparison, with
# errors and without; in between the weights that the block before left.
_COUNT, _WEIGH, _COMPARE, _SETTLE = 5, 13, 7, 8


def choice_latency(parameters: UnitParameters) -> int:
    """Cycles from a block's last word to its choice; `rtl_gen.fuse.unit`'s ``latency_cycles``."""
    return _COUNT + (_WEIGH if parameters.lossy else _COMPARE) + parameters.block_cycles - 1


def choice_spacing(parameters: UnitParameters) -> int:
    """Cycles from block to block that the selector needs; its ``free_words``."""
    return max(parameters.block_cycles, _SETTLE if parameters.lossy else 1)


def _sent(kernel: str, words: int, beat: int, idle: bool) -> tuple[list[int], list[int]]:
    """Kinds of a block's words, and the ring of the beat that each completes, -1 for none."""
    first = FEED_OTHER if idle else FEED_HEADER
    kinds = [first] + [FEED_OTHER if idle else FEED_WORD] * words
    if kernel == "raw":
        rings = [0 if n % beat == 0 or n == words + 1 else -1 for n in range(1, words + 2)]
    else:
        rings = [0] + [1 if n % beat == 0 or n == words else -1 for n in range(1, words + 1)]
    return kinds, rings


def _feed(job: OperandJob, parameters: UnitParameters) -> tuple[Feed, list[list[int]]]:
    """What the feeder does in a job, and the words that engines skip in front of each part."""
    deal, plan = job.deal, job.plan
    beat, tiles = deal.shape.words_per_beat, plan.k_tiles
    ends: list[np.ndarray] = []
    for block in deal.blocks:
        end = np.zeros(block.words, np.bool_)
        end[-1] = True
        ends.append(end)
    kinds: list[int] = []
    targets: list[int] = []
    for place in range(deal.passes * tiles):
        for engine, stream in enumerate(plan.streams):
            depth, columns = stream.blocks[place].shape
            idle = bool(stream.columns[place // tiles][0] < 0)
            words = -(-depth // 8) * columns
            kind, rings = _sent(stream.kernels[place], words, beat, idle)
            kinds += kind
            targets += [-1 if ring < 0 else 2 * engine + ring for ring in rings]
    padding = []
    for stream in plan.streams:
        used = [
            1 + (kernel == "raw") * -(-block.shape[0] // 8) * block.shape[1]
            for block, kernel in zip(stream.blocks, stream.kernels, strict=True)
        ]
        # A beat that a block leaves unfilled stands in front of the next one.
        padding.append([0] + [-words % beat for words in used[:-1]])
    feed = Feed(
        block_end=np.concatenate(ends),
        kind=np.array(kinds, np.uint8),
        target=np.array(targets, np.int64),
        buffer=parameters.buffer_words,
        ahead=BLOCKS_AHEAD,
        latency=choice_latency(parameters) + 1,
        spacing=choice_spacing(parameters),
    )
    return feed, padding


def count_operand(jobs: Sequence[OperandJob], parameters: UnitParameters) -> CycleCount:
    """Run the model on the jobs of a product.

    Args:
        jobs: of `golden.program.operand.plan_operand`.
        parameters: of the selector.

    Raises:
        RuntimeError: the array makes no progress, which would be a defect.
    """
    nothing = [np.zeros(0, np.int64)] * jobs[0].deal.shape.groups
    known: dict[tuple[bytes, int], np.ndarray] = {}
    totals = np.zeros(5, np.int64)
    for job in jobs:
        key = job.candidates.tobytes(), len(job.tokens)
        if key not in known:
            feed, padding = _feed(job, parameters)
            known[key] = count_job(job.plan, len(job.tokens), nothing, feed, padding)
        totals += known[key]
    return CycleCount(*(int(t) for t in totals))
