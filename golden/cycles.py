"""Cycle model: the cycle count that the RTL takes, exactly.

It repeats what the registers of `rtl_gen.array` do, cycle by cycle, but keeps only what decides
*when* something happens: counts instead of values.  The host is ideal: activations and weights
are always there, results are always taken.  A job begins in the first cycle in which the array
is busy.
"""

from dataclasses import dataclass

import numba
import numpy as np

from .kernels import KERNELS
from .plan import Plan
from .shape import ArrayShape

__all__ = ["DRAIN_LATENCY", "MAC_LATENCY", "CycleCount", "count_cycles"]

MAC_LATENCY = {
    "packed": 3,
    "split": 3,
    "dsp48e2": 4,
    "dsp48e1": 4,
    "ecp5": 5,
    "ice40": 3,
    "nexus": 3,
    "gowin": 3,
}
"""Cycles from the operands to the visible sum; the hardware's ``latency_cycles``."""

DRAIN_LATENCY = {False: 4, True: 6}
"""Cycles from the drain's grant to the result, without fusion and with it."""

# Flags of a decoder step.
_PUSH, _WORD, _LAST, _INDEXED, _BLOCK, _SEGMENT, _JOB = 1, 2, 4, 8, 16, 32, 64
_SCANNED, _TILE_END, _CARRIES = 128, 256, 512
# Flags of an event in the queue.
_VALUED, _CLOSE, _TILE, _FINISH = 1, 2, 4, 8
# Further flags of a row or chunk: its last event ends a segment; the segment is played again; it
# has its value with it.
_ENDS, _HOLD, _CARRIED = 16, 32, 64
_HEADER, _RUN, _DONE = 0, 1, 2


_ENGINE = np.dtype(
    [
        (name, np.int32)
        for name in (
            "state", "at", "segment_at", "replay", "held", "held_flags", "waiting",
            "waiting_flags", "byte", "queue_head", "queue_size", "front", "consumed", "line_at",
            "busy", "full", "captured", "captured_end", "finished", "closing", "quiet",
        )
    ]
)  # fmt: skip
_RING = np.dtype(
    [(name, np.int32) for name in ("following", "base", "written", "fetched", "present", "again")]
)


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


@numba.njit(cache=True)
def _run(
    step_events,
    step_flags,
    step_plain,
    step_start,
    targets,
    target_start,
    tile_beats,
    m_tiles,
    k_tiles,
    segments,
    group,
    tiles,
    beat_words,
    index_beats,
    values_beats,
    queue_depth,
    latency,
    drain_cycles,
    limit,
):
    count = len(step_start) - 1
    groups = count // group
    # Registers, one record per engine and ring; see rtl_gen for their namesakes.
    engines = np.zeros(count, _ENGINE)
    rings = np.zeros((count, 2), _RING)
    for e in range(count):
        engines[e].at = step_start[e]
        engines[e].segment_at = step_start[e]
        engines[e].held = -1
        engines[e].waiting = -1
        engines[e].front = -1
    queue = np.zeros((count, queue_depth), np.int32)
    line = np.zeros((count, latency + 1), np.int32)
    active = np.zeros(groups, np.bool_)
    chosen = np.zeros(groups, np.int64)
    word = np.zeros(groups, np.int64)
    sent = target_start[:-1].copy()
    write = np.full(groups, -1, np.int64)
    filling = 0
    loaded = 0
    beat = 0
    space = True
    turn = False
    total_tiles = segments * m_tiles * k_tiles
    ring_beats = (index_beats, values_beats)
    queue_mask = queue_depth - 1
    events = 0
    waiting_tile = 0
    waiting_drain = 0
    waiting_event = 0
    left = count
    cycle = 0
    while left and cycle < limit:
        # Loader: the registers of the next cycle.
        accept = space and not turn and filling < total_tiles
        blocked = False
        for e in range(count):
            if filling - engines[e].consumed == tiles:
                blocked = True
        next_loaded = filling
        turn = False
        if accept:
            beat += 1
            if beat == tile_beats[filling % k_tiles]:
                beat = 0
                filling += 1
                turn = True
        space = not blocked

        for g in range(groups):
            # Weight port: accept a beat if its ring has room; the previous one is written below.
            landing = write[g]
            write[g] = -1
            if sent[g] < target_start[g + 1]:
                target = targets[sent[g]]
                e = g * group + (target >> 1)
                r = target & 1
                ring = rings[e, r]
                if ring.written - ring.base // beat_words < ring_beats[r] - 1:
                    write[g] = target
                    sent[g] += 1

            # Drain.
            leaving = -1
            done = -1
            if active[g]:
                leaving = g * group + chosen[g]
                if word[g] == drain_cycles - 1:
                    done = leaving
            if active[g] and done < 0:
                word[g] += 1
            else:
                active[g] = False
                word[g] = 0
                start = chosen[g]
                for offset in range(1, group + 1):
                    candidate = start + offset
                    if candidate >= group:
                        candidate -= group
                    e = g * group + candidate
                    if engines[e].full and e != leaving:
                        active[g] = True
                        chosen[g] = candidate
                        break

            for e in range(g * group, g * group + group):
                engine = engines[e]
                index = rings[e, 0]
                values = rings[e, 1]
                if engine.finished:
                    if landing >= 0 and e == g * group + (landing >> 1):
                        rings[e, landing & 1].written += 1
                    continue
                # A run of events that touches nothing but counters passes in one go: no column
                # closes, no word moves in the rings, the queue keeps its level.
                if (
                    engine.quiet == 0
                    and engine.closing == 0
                    and engine.byte < 6
                    and engine.front > 0
                    and not engine.front & _CARRIED
                    and engine.captured == 0
                    and 0 < engine.queue_size < queue_depth
                    and loaded != engine.consumed
                    and engine.state == _RUN
                    and index.present
                    and index.fetched
                    and values.present
                    and values.fetched
                    and not index.again
                    and not values.again
                ):
                    run = 7 - engine.byte
                    if engine.held >= 0:
                        # The decoder is held up too: a chunk waits, and its step has another.
                        full = engine.waiting >= 0 and step_flags[engine.at] & _PUSH
                        run = min(run, engine.held - 1) if full else 0
                    elif engine.waiting >= 0:
                        run = 0
                    else:
                        run = min(run, step_plain[engine.at])
                    if run > 1:
                        engine.quiet = run
                        engine.byte += run
                        events += run
                        if engine.held >= 0:
                            engine.held -= run
                        else:
                            engine.at += run
                if engine.quiet:
                    engine.quiet -= 1
                    if done == e:
                        engine.busy = False
                        engine.full = False
                        if engine.captured_end:
                            engine.finished = True
                            left -= 1
                    if landing >= 0 and e == g * group + (landing >> 1):
                        rings[e, landing & 1].written += 1
                    continue
                # Lanes.
                slot = engine.line_at
                due = line[e, slot]
                closes = (due & _CLOSE) != 0
                enable = not (closes and engine.busy)
                capture = closes and not engine.busy
                size = engine.queue_size
                entry = engine.front if engine.front >= 0 else 0
                valued = entry & _VALUED
                byte_needed = valued != 0 and (entry & _CARRIED) == 0
                values_hold = (entry & _HOLD) != 0
                values_used = False
                values_rewind = False
                if engine.front < 0 or (byte_needed and (values.again or not values.present)):
                    if engine.state != _DONE or size or engine.front >= 0:
                        waiting_event += 1
                    entry = 0
                elif not enable:
                    waiting_drain += 1
                    entry = 0
                elif loaded == engine.consumed:
                    waiting_tile += 1
                    entry = 0
                else:
                    engine.front = -1
                    events += valued
                    if entry & _TILE:
                        engine.consumed += 1
                    if entry & _ENDS:
                        values_used = byte_needed or engine.byte != 0
                        values_rewind = True
                        engine.byte = 0
                    elif byte_needed:
                        values_used = engine.byte == 7
                        engine.byte = (engine.byte + 1) & 7
                if engine.front < 0 and size:
                    engine.front = queue[e, engine.queue_head]
                    engine.queue_head = (engine.queue_head + 1) & queue_mask
                    engine.queue_size -= 1
                if enable:
                    line[e, slot] = entry
                    engine.line_at = 0 if slot == latency else slot + 1
                if engine.captured:
                    engine.full = True
                engine.captured = False
                if capture:
                    engine.closing -= 1
                    engine.busy = True
                    engine.captured = True
                    engine.captured_end = (due & _FINISH) != 0
                if done == e:
                    engine.busy = False
                    engine.full = False
                    if engine.captured_end:
                        engine.finished = True
                        left -= 1

                # Source: what the scanner holds goes before what a decoder finds by itself.
                index_hold = engine.replay + 1 != m_tiles and engine.state != _DONE
                index_there = index.present and not index.again
                index_used = False
                index_rewind = False
                room = size < queue_depth
                scanning = engine.held >= 0
                only = engine.held <= 1
                direct_ready = room and not scanning and engine.waiting < 0
                move = not scanning or (room and only)
                chunk_ready = engine.waiting < 0 or move
                if scanning and room:
                    flags = engine.held_flags
                    if not only:
                        flags &= _HOLD | _CARRIED
                    if engine.held:
                        flags |= _VALUED
                    if flags & _CLOSE:
                        engine.closing += 1
                    place = (engine.queue_head + engine.queue_size) & queue_mask
                    queue[e, place] = flags
                    engine.queue_size += 1
                    engine.held -= 1
                if move:
                    engine.held = engine.waiting
                    engine.held_flags = engine.waiting_flags
                    engine.waiting = -1

                if engine.state == _HEADER:
                    if index_there:
                        index_used = True
                        engine.state = _RUN
                elif engine.state == _RUN:
                    flags = step_flags[engine.at]
                    there = index_there or not (flags & _INDEXED)
                    push = (flags & _PUSH) != 0
                    ready = chunk_ready if flags & _SCANNED else direct_ready
                    if there and (ready or not push):
                        index_used = (flags & _WORD) != 0
                        last_play = engine.replay + 1 == m_tiles
                        if push:
                            marks = 0 if last_play else _HOLD
                            if flags & _CARRIES:
                                marks |= _CARRIED
                            if flags & _LAST:
                                marks |= _CLOSE
                            if flags & _BLOCK:
                                if flags & _TILE_END:
                                    marks |= _TILE
                                if flags & _SEGMENT:
                                    marks |= _ENDS
                                    if flags & _JOB and last_play:
                                        marks |= _FINISH
                            if flags & _SCANNED:
                                engine.waiting = step_events[engine.at]
                                engine.waiting_flags = marks
                            else:
                                if step_events[engine.at]:
                                    marks |= _VALUED
                                if marks & _CLOSE:
                                    engine.closing += 1
                                place = (engine.queue_head + engine.queue_size) & queue_mask
                                queue[e, place] = marks
                                engine.queue_size += 1
                        engine.at += 1
                        if flags & _BLOCK:
                            engine.state = _HEADER
                            if flags & _SEGMENT:
                                index_rewind = True
                                if last_play:
                                    engine.replay = 0
                                    engine.segment_at = engine.at
                                    if flags & _JOB:
                                        engine.state = _DONE
                                else:
                                    engine.replay += 1
                                    engine.at = engine.segment_at

                # Rings.
                for r in range(2):
                    ring = rings[e, r]
                    used = index_used if r == 0 else values_used
                    rewind = index_rewind if r == 0 else values_rewind
                    hold = index_hold if r == 0 else values_hold
                    move = ring.fetched and (used or not ring.present)
                    fetch = ring.following < ring.written * beat_words
                    fetch = fetch and not (ring.fetched and ring.present)
                    if ring.again:
                        ring.following = ring.base
                        ring.fetched = False
                        ring.present = False
                    else:
                        ring.following += fetch
                        ring.present = move or (ring.present and not used)
                        ring.fetched = fetch or (ring.fetched and not move)
                    ring.again = rewind and hold
                    if used and not hold:
                        ring.base += 1
                if landing >= 0 and e == g * group + (landing >> 1):
                    rings[e, landing & 1].written += 1
        loaded = next_loaded
        cycle += 1
    return cycle, events, waiting_tile, waiting_drain, waiting_event, left


@numba.njit(cache=True)
def _plain(events, flags):
    """How many steps from each on find one row each and nothing else."""
    plain = np.zeros(len(flags), np.int32)
    run = 0
    for at in range(len(flags) - 1, -1, -1):
        run = run + 1 if flags[at] == _PUSH and events[at] == 1 else 0
        plain[at] = run
    return plain


@numba.njit(cache=True)
def _flags(push, word, last, common):
    """Flags of a block's steps; ``common`` stand on all of them."""
    flags = np.empty(len(push), np.uint16)
    for at in range(len(push)):
        flags[at] = common | (push[at] * _PUSH) | (word[at] * _WORD) | (last[at] * _LAST)
    return flags


def _steps(plan: Plan, engine: int) -> tuple[np.ndarray, np.ndarray]:
    """Decoder steps of one engine for one pass over all segments."""
    stream = plan.streams[engine]
    events, flags = [], []
    for block, name, header in zip(stream.blocks, stream.kernels, stream.headers, strict=True):
        kernel = KERNELS[name].configured(plan.shape)
        steps = kernel.steps(block)
        common = bool(steps.word.any()) * _INDEXED
        common |= kernel.scanned * _SCANNED | kernel.carries_values * _CARRIES
        flag = _flags(steps.push, steps.word, steps.last, common)
        flag[-1] |= _BLOCK
        if header.tile_end:
            flag[-1] |= _TILE_END
        if header.segment_end:
            flag[-1] |= _SEGMENT
        if header.job_end:
            flag[-1] |= _JOB
        events.append(steps.events)
        flags.append(flag)
    return np.concatenate(events), np.concatenate(flags)


def count_cycles(plan: Plan) -> CycleCount:
    """Run the model on a plan.

    Raises:
        RuntimeError: the array makes no progress, which would be a defect of the plan.
    """
    shape: ArrayShape = plan.shape
    steps = [_steps(plan, e) for e in range(shape.engines)]
    starts = np.cumsum([0] + [len(s[0]) for s in steps])
    step_events = np.concatenate([s[0] for s in steps])
    step_flags = np.concatenate([s[1] for s in steps])
    targets = [plan.weight_beats(g)[1] for g in range(shape.groups)]
    target_start = np.cumsum([0] + [len(t) for t in targets])
    tile_beats = np.array([plan.tile_beats(k) for k in range(plan.k_tiles)])
    known: dict[int, tuple] = {}
    totals = np.zeros(5, np.int64)
    work = int(step_events.sum()) + 8 * len(step_events) + 64 * int(target_start[-1])
    for job in plan.jobs:
        size = len(job)
        if size not in known:
            beats = int(tile_beats.sum()) * plan.segments * size
            result = _run(
                step_events,
                step_flags,
                _plain(step_events, step_flags),
                starts,
                np.concatenate(targets).astype(np.int64),
                target_start,
                tile_beats,
                size,
                plan.k_tiles,
                plan.segments,
                shape.group,
                shape.activation_tiles,
                shape.words_per_beat,
                shape.index_words // shape.words_per_beat,
                shape.value_words // shape.words_per_beat,
                shape.queue,
                MAC_LATENCY[shape.mac],
                shape.drain_cycles,
                10_000 + 64 * (work * size + beats),
            )
            if result[5]:
                raise RuntimeError(f"cycle model: {result[5]} engines make no progress")
            known[size] = result
        totals += np.array(known[size][:5])
        # The last word passes the drain; `finished` and `busy` are registers.
        totals[0] += DRAIN_LATENCY[shape.fusion] + 1
    return CycleCount(*(int(t) for t in totals))
