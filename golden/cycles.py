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

__all__ = ["MAC_LATENCY", "CycleCount", "count_cycles"]

MAC_LATENCY = {
    "packed": 3,
    "split": 3,
    "dsp48e2": 4,
    "dsp48e1": 4,
    "ecp5": 4,
    "ice40": 3,
    "nexus": 3,
    "gowin": 3,
}
"""Cycles from the operands to the visible sum; the hardware's ``latency_cycles``."""

# Flags of a decoder step.
_PUSH, _WORD, _LAST, _INDEXED, _BLOCK, _SEGMENT, _JOB = 1, 2, 4, 8, 16, 32, 64
_SCANNED, _TILE_END = 128, 256
# Flags of an event in the queue.
_VALUED, _CLOSE, _TILE, _FINISH = 1, 2, 4, 8
# Further flags of a row or chunk: its last event ends a segment; the segment is played again.
_ENDS, _HOLD = 16, 32
_HEADER, _RUN, _DONE = 0, 1, 2


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
    engines = len(step_start) - 1
    groups = engines // group
    # Registers, one row per engine; see rtl_gen for their namesakes.
    state = np.zeros(engines, np.int64)
    at = step_start[:-1].copy()
    segment_at = step_start[:-1].copy()
    replay = np.zeros(engines, np.int64)
    base = np.zeros((engines, 2), np.int64)
    written = np.zeros((engines, 2), np.int64)
    following = np.zeros((engines, 2), np.int64)
    fetched = np.zeros((engines, 2), np.bool_)
    present = np.zeros((engines, 2), np.bool_)
    again = np.zeros((engines, 2), np.bool_)
    held = np.full(engines, -1, np.int64)
    held_flags = np.zeros(engines, np.int64)
    waiting = np.full(engines, -1, np.int64)
    waiting_flags = np.zeros(engines, np.int64)
    byte = np.zeros(engines, np.int64)
    queue = np.zeros((engines, queue_depth), np.int64)
    queue_head = np.zeros(engines, np.int64)
    queue_size = np.zeros(engines, np.int64)
    front = np.full(engines, -1, np.int64)
    consumed = np.zeros(engines, np.int64)
    line = np.zeros((engines, latency + 1), np.int64)
    line_at = np.zeros(engines, np.int64)
    busy = np.zeros(engines, np.bool_)
    full = np.zeros(engines, np.bool_)
    captured = np.zeros(engines, np.bool_)
    captured_end = np.zeros(engines, np.bool_)
    finished = np.zeros(engines, np.bool_)
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
    events = 0
    waiting_tile = 0
    waiting_drain = 0
    waiting_event = 0
    left = engines
    cycle = 0
    while left and cycle < limit:
        # Loader: the registers of the next cycle.
        accept = space and not turn and filling < total_tiles
        blocked = False
        for e in range(engines):
            if filling - consumed[e] == tiles:
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
                if written[e, r] - base[e, r] // beat_words < ring_beats[r] - 1:
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
                    candidate = (start + offset) % group
                    e = g * group + candidate
                    if full[e] and e != leaving:
                        active[g] = True
                        chosen[g] = candidate
                        break

            for e in range(g * group, g * group + group):
                if finished[e]:
                    if landing >= 0 and e == g * group + (landing >> 1):
                        written[e, landing & 1] += 1
                    continue
                # Lanes.
                slot = line_at[e]
                due = line[e, slot]
                closes = (due & _CLOSE) != 0
                enable = not (closes and busy[e])
                capture = closes and not busy[e]
                size = queue_size[e]
                entry = front[e] if front[e] >= 0 else 0
                valued = entry & _VALUED
                values_hold = (entry & _HOLD) != 0
                values_used = False
                values_rewind = False
                if front[e] < 0 or (valued and (again[e, 1] or not present[e, 1])):
                    if state[e] != _DONE or size or front[e] >= 0:
                        waiting_event += 1
                    entry = 0
                elif not enable:
                    waiting_drain += 1
                    entry = 0
                elif loaded == consumed[e]:
                    waiting_tile += 1
                    entry = 0
                else:
                    front[e] = -1
                    events += valued
                    if entry & _TILE:
                        consumed[e] += 1
                    if entry & _ENDS:
                        values_used = valued != 0 or byte[e] != 0
                        values_rewind = True
                        byte[e] = 0
                    elif valued:
                        values_used = byte[e] == 7
                        byte[e] = (byte[e] + 1) & 7
                if front[e] < 0 and size:
                    front[e] = queue[e, queue_head[e]]
                    queue_head[e] = (queue_head[e] + 1) % queue_depth
                    queue_size[e] -= 1
                if enable:
                    line[e, slot] = entry
                    line_at[e] = (slot + 1) % (latency + 1)
                if captured[e]:
                    full[e] = True
                captured[e] = False
                if capture:
                    busy[e] = True
                    captured[e] = True
                    captured_end[e] = (due & _FINISH) != 0
                if done == e:
                    busy[e] = False
                    full[e] = False
                    if captured_end[e]:
                        finished[e] = True
                        left -= 1

                # Source: what the scanner holds goes before what a decoder finds by itself.
                index_hold = replay[e] + 1 != m_tiles and state[e] != _DONE
                index_there = present[e, 0] and not again[e, 0]
                index_used = False
                index_rewind = False
                room = size < queue_depth
                scanning = held[e] >= 0
                only = held[e] <= 1
                direct_ready = room and not scanning and waiting[e] < 0
                move = not scanning or (room and only)
                chunk_ready = waiting[e] < 0 or move
                if scanning and room:
                    flags = held_flags[e]
                    if not only:
                        flags &= _HOLD
                    if held[e]:
                        flags |= _VALUED
                    queue[e, (queue_head[e] + queue_size[e]) % queue_depth] = flags
                    queue_size[e] += 1
                    held[e] -= 1
                if move:
                    held[e] = waiting[e]
                    held_flags[e] = waiting_flags[e]
                    waiting[e] = -1

                if state[e] == _HEADER:
                    if index_there:
                        index_used = True
                        state[e] = _RUN
                elif state[e] == _RUN:
                    flags = step_flags[at[e]]
                    there = index_there or not (flags & _INDEXED)
                    push = (flags & _PUSH) != 0
                    ready = chunk_ready if flags & _SCANNED else direct_ready
                    if there and (ready or not push):
                        index_used = (flags & _WORD) != 0
                        last_play = replay[e] + 1 == m_tiles
                        if push:
                            marks = 0 if last_play else _HOLD
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
                                waiting[e] = step_events[at[e]]
                                waiting_flags[e] = marks
                            else:
                                if step_events[at[e]]:
                                    marks |= _VALUED
                                queue[e, (queue_head[e] + queue_size[e]) % queue_depth] = marks
                                queue_size[e] += 1
                        at[e] += 1
                        if flags & _BLOCK:
                            state[e] = _HEADER
                            if flags & _SEGMENT:
                                index_rewind = True
                                if last_play:
                                    replay[e] = 0
                                    segment_at[e] = at[e]
                                    if flags & _JOB:
                                        state[e] = _DONE
                                else:
                                    replay[e] += 1
                                    at[e] = segment_at[e]

                # Rings.
                for r in range(2):
                    used = index_used if r == 0 else values_used
                    rewind = index_rewind if r == 0 else values_rewind
                    hold = index_hold if r == 0 else values_hold
                    move = fetched[e, r] and (used or not present[e, r])
                    fetch = following[e, r] < written[e, r] * beat_words
                    fetch = fetch and not (fetched[e, r] and present[e, r])
                    if again[e, r]:
                        following[e, r] = base[e, r]
                        fetched[e, r] = False
                        present[e, r] = False
                    else:
                        following[e, r] += fetch
                        present[e, r] = move or (present[e, r] and not used)
                        fetched[e, r] = fetch or (fetched[e, r] and not move)
                    again[e, r] = rewind and hold
                    if used and not hold:
                        base[e, r] += 1
                if landing >= 0 and e == g * group + (landing >> 1):
                    written[e, landing & 1] += 1
        loaded = next_loaded
        cycle += 1
    return cycle, events, waiting_tile, waiting_drain, waiting_event, left


def _steps(plan: Plan, engine: int) -> tuple[np.ndarray, np.ndarray]:
    """Decoder steps of one engine for one pass over all segments."""
    stream = plan.streams[engine]
    events, flags = [], []
    for block, name, header in zip(stream.blocks, stream.kernels, stream.headers, strict=True):
        kernel = KERNELS[name].configured(plan.shape)
        steps = kernel.steps(block)
        flag = (
            steps.push * _PUSH
            + steps.word * _WORD
            + steps.last * _LAST
            + bool(steps.word.any()) * _INDEXED
            + kernel.scanned * _SCANNED
        ).astype(np.uint16)
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
        # The last word passes four drain stages; `finished` and `busy` are registers.
        totals[0] += 5
    return CycleCount(*(int(t) for t in totals))
