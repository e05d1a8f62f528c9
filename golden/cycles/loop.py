"""The loop of the cycle model: what the registers of `rtl_gen.array` do, in counts.

Compiled by numba; `golden.cycles.count` prepares its arguments.  All that is compiled stands in
this one file with its constants: numba keeps compiled functions on disk and takes them for valid
as long as the file of the caller is unchanged, whatever happened to the files that it calls.
"""

from typing import NamedTuple

import numba
import numpy as np

__all__ = [
    "BLOCK",
    "CARRIES",
    "FEED_HEADER",
    "FEED_OTHER",
    "FEED_WORD",
    "FINAL_WORD",
    "INDEXED",
    "JOB",
    "LAST",
    "PUSH",
    "SCANNED",
    "SEGMENT",
    "SKIPPED",
    "TAKES",
    "TILE_END",
    "WORD",
    "Feed",
    "flags_of",
    "plain_runs",
    "run",
]

# Flags of a decoder step.
PUSH, WORD, LAST, INDEXED, BLOCK, SEGMENT, JOB = 1, 2, 4, 8, 16, 32, 64
SCANNED, TILE_END, CARRIES, TAKES, SKIPPED, FINAL_WORD = 128, 256, 512, 1024, 2048, 4096
# Flags of an event in the queue.
_VALUED, _CLOSE, _TILE, _FINISH = 1, 2, 4, 8
# Further flags of a row or chunk: its last event ends a segment; the segment is played again; it
# has its value with it.
_ENDS, _HOLD, _CARRIED = 16, 32, 64
_BEGIN, _HEADER, _OPEN, _RUN, _END, _DONE = 0, 1, 2, 3, 4, 5
# What the feeder sends: a header that waits for its choice, a word of the operand, or neither.
FEED_HEADER, FEED_WORD, FEED_OTHER = 0, 1, 2


class Feed(NamedTuple):
    """What the operand feeder has to do in a job.

    Attributes:
        block_end: bool (words,), the word of the operand ends a block.
        kind: uint8 (words sent,), one of the constants above.
        target: int64 (words sent,), ``2 * engine + values`` where the word completes a beat, -1
            where it does not.
        buffer: words that the feeder holds.
        ahead: blocks that may have ended whose headers have not left.
        latency: cycles from a block's last word to the first in which its header may leave.
        spacing: least cycles from a block's end to the next one's.
    """

    block_end: np.ndarray
    kind: np.ndarray
    target: np.ndarray
    buffer: int = 0
    ahead: int = 0
    latency: int = 0
    spacing: int = 0


_ENGINE = np.dtype(
    [
        (name, np.int32)
        for name in (
            "state", "at", "segment_at", "replay", "held", "held_flags", "waiting",
            "waiting_flags", "queue_head", "queue_size", "front", "taken", "consumed", "line_at",
            "busy", "full", "captured", "captured_end", "finished", "closing", "quiet",
            "value_at", "value_base", "values_written", "word_held", "word_waits", "rewound",
            "index_freed", "values_freed", "values_seen",
        )
    ]
)  # fmt: skip
_FEEDER = np.dtype(
    [(name, np.int64) for name in ("full", "loaded", "written", "read", "ended", "begun", "rested")]
)
_RING = np.dtype(
    [
        (name, np.int32)
        for name in (
            "following",
            "behind",
            "base",
            "written",
            "there",
            "fetched",
            "present",
            "again",
        )
    ]
)


@numba.njit(cache=True)
def _length(engine, step_flags, step_plain, beat_words):
    """Events of a run that stays within its beat and its chunk, or within plain steps."""
    flags = step_flags[engine.at]
    if flags & TAKES:
        settled = engine.word_waits or flags & FINAL_WORD
        if not (engine.word_held and settled):
            return 0
    at = engine.value_at
    word = at >> 3
    if engine.front & _HOLD or engine.value_base // beat_words == word // beat_words:
        length = 8 * beat_words - 1 - at % (8 * beat_words)
    else:
        length = 7 - (at & 7)
    if engine.held >= 0:
        # The decoder is held up too: a chunk waits, and its step has another.
        full = engine.waiting >= 0 and step_flags[engine.at] & PUSH
        return min(length, engine.held - 1) if full else 0
    return 0 if engine.waiting >= 0 else min(length, step_plain[engine.at])


@numba.njit(cache=True)
def _turn(ring, used, hold, rewind, beat_words):
    """One cycle of a ring of index words, of which the head may be ``used``."""
    move = ring.fetched and (used or not ring.present)
    fetching = ring.there and not (ring.fetched and ring.present)
    if used and not hold:
        ring.base = ring.behind
    if move:
        ring.behind = ring.following
    if ring.again:
        ring.following = ring.base
        ring.there = False
        ring.fetched = False
        ring.present = False
    else:
        ring.following += fetching
        ring.there = ring.following < ring.written * beat_words
        ring.present = move or (ring.present and not used)
        ring.fetched = fetching or (ring.fetched and not move)
    ring.again = rewind and hold


@numba.njit(cache=True)
def _room(engines, rings, target, beat_words, index_beats, values_beats):
    """Whether the ring of a target, ``2 * engine + values``, takes a beat.

    What it has freed counts a cycle later.
    """
    e = target >> 1
    if target & 1:
        used = engines[e].values_written - engines[e].values_freed // beat_words
        return used < values_beats - 1
    return rings[e].written - engines[e].index_freed // beat_words < index_beats - 1


@numba.njit(cache=True)
def _feed(feeder, feed, chosen_at, cycle, engines, rings, beat_words, index_beats, values_beats):
    """One cycle of the operand feeder; the target of the beat that leaves, -1 if none does.

    See `rtl_gen.operand.feeder` for the registers' namesakes, `Feed` for the rest.
    """
    sent = -1
    take = False
    if feeder.full:
        target = feed.target[feeder.loaded - 1]
        if target < 0:
            take = True
        elif _room(engines, rings, target, beat_words, index_beats, values_beats):
            take = True
            sent = target
    load = (not feeder.full or take) and feeder.loaded < len(feed.kind)
    kind = 0
    if load:
        kind = feed.kind[feeder.loaded]
        if kind == FEED_HEADER:
            load = feeder.begun < feeder.ended and chosen_at[feeder.begun] <= cycle
    accept = feeder.written < len(feed.block_end) and feeder.written - feeder.read < feed.buffer
    block_end = accept and feed.block_end[feeder.written]
    if block_end:
        accept = feeder.ended - feeder.begun < feed.ahead and cycle >= feeder.rested
    if accept:
        feeder.written += 1
        if block_end:
            chosen_at[feeder.ended] = cycle + feed.latency
            feeder.ended += 1
            feeder.rested = cycle + feed.spacing
    if load:
        feeder.loaded += 1
        feeder.begun += kind == FEED_HEADER
        feeder.read += kind == FEED_WORD
    feeder.full = load or (feeder.full and not take)
    return sent


@numba.njit(cache=True)
def run(
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
    fetch,
    latency,
    drain_cycles,
    feed,
    limit,
):
    """Run a job; return cycles, events, the three kinds of waiting, and engines not done.

    Args:
        step_events, step_flags, step_plain: per decoder step of all engines, see `plain_runs`.
        step_start: int64 (engines + 1,), where each engine's steps begin.
        targets: TDEST of each weight beat, the groups one after the other.
        target_start: int64 (groups + 1,), where each group's beats begin.
        tile_beats: int64 (k tiles,), beats of each activation tile.
        m_tiles, k_tiles, segments: how often everything comes.
        group, tiles, beat_words, index_beats, values_beats, queue_depth: the array's shape.
        fetch, latency, drain_cycles: cycles from row to event, event to sum, and per column.
        feed: the operand feeder's work, with nothing to do where weights are stored.
        limit: give up after so many cycles.
    """
    count = len(step_start) - 1
    groups = count // group
    # Registers, one record per engine and ring; see rtl_gen for their namesakes.
    engines = np.zeros(count, _ENGINE)
    rings = np.zeros(count, _RING)
    for e in range(count):
        engines[e].at = step_start[e]
        engines[e].segment_at = step_start[e]
        engines[e].held = -1
        engines[e].waiting = -1
        engines[e].front = -1
    queue = np.zeros((count, queue_depth), np.int32)
    stages = fetch + latency + 1
    line = np.zeros((count, stages), np.int32)
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
    queue_mask = queue_depth - 1
    feeder = np.zeros(1, _FEEDER)[0]
    chosen_at = np.zeros(len(feed.block_end), np.int64)
    fed = -1
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
        if len(feed.kind):
            fed = _feed(
                feeder, feed, chosen_at, cycle, engines, rings, beat_words, index_beats,
                values_beats,
            )  # fmt: skip

        for g in range(groups):
            # Weight port: accept a beat if its ring has room; the previous one is written below.
            landing = write[g]
            write[g] = -1
            if sent[g] < target_start[g + 1]:
                target = targets[sent[g]]
                there = 2 * g * group + target
                if _room(engines, rings, there, beat_words, index_beats, values_beats):
                    write[g] = target
                    sent[g] += 1
            elif fed >= 0 and fed // (2 * group) == g:
                write[g] = fed - 2 * g * group

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
                ring = rings[e]
                engine.index_freed = ring.base
                engine.values_freed = engine.value_base
                byte_there = (engine.value_at >> 3) // beat_words != engine.values_seen
                byte_there = byte_there and not engine.rewound
                engine.values_seen = engine.values_written
                engine.rewound = False
                if engine.finished:
                    continue
                index_hold = engine.replay + 1 != m_tiles and engine.state != _DONE
                # A run of events that touches nothing but counters passes in one go: no column
                # closes, no beat is freed or asked for, the queue keeps its level.
                if (
                    engine.quiet == 0
                    and engine.closing == 0
                    and engine.front > 0
                    and not engine.front & _CARRIED
                    and engine.captured == 0
                    and 0 < engine.queue_size < queue_depth
                    and loaded != engine.taken
                    and engine.state == _RUN
                    and ring.present
                    and ring.fetched
                    and not ring.again
                    and byte_there
                ):
                    length = _length(engine, step_flags, step_plain, beat_words)
                    if length > 1:
                        engine.quiet = length
                        before = engine.value_at >> 3
                        engine.value_at += length
                        if not engine.front & _HOLD and engine.value_at >> 3 != before:
                            engine.value_base = engine.value_at >> 3
                        events += length
                        if engine.held >= 0:
                            engine.held -= length
                        else:
                            engine.at += length
                if engine.quiet:
                    engine.quiet -= 1
                    ring.there = ring.following < ring.written * beat_words
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
                needs_byte = valued != 0 and (entry & _CARRIED) == 0
                if engine.front < 0 or (needs_byte and not byte_there):
                    if engine.state != _DONE or size or engine.front >= 0:
                        waiting_event += 1
                    entry = 0
                elif not enable:
                    waiting_drain += 1
                    entry = 0
                elif loaded == engine.taken:
                    waiting_tile += 1
                    entry = 0
                else:
                    engine.front = -1
                    events += valued
                    if entry & _TILE:
                        engine.taken += 1
                    if entry & _ENDS and entry & _HOLD:
                        engine.value_at = engine.value_base << 3
                        engine.rewound = True
                    else:
                        before = engine.value_at >> 3
                        engine.value_at += needs_byte
                        if entry & _ENDS:
                            engine.value_at = (engine.value_at + 7) & -8
                        if not entry & _HOLD and engine.value_at >> 3 != before:
                            engine.value_base = engine.value_at >> 3
                if engine.front < 0 and size:
                    engine.front = queue[e, engine.queue_head]
                    engine.queue_head = (engine.queue_head + 1) & queue_mask
                    engine.queue_size -= 1
                if enable:
                    reading = slot - fetch if slot >= fetch else slot - fetch + stages
                    if line[e, reading] & _TILE:
                        engine.consumed += 1
                    line[e, slot] = entry
                    engine.line_at = 0 if slot == stages - 1 else slot + 1
                if engine.captured:
                    engine.full = True
                engine.captured = False
                if capture:
                    engine.closing -= 1
                    engine.busy = True
                    engine.captured = True
                    engine.captured_end = (due & _FINISH) != 0

                # Source: a decoder that finds rows by itself waits for an empty scanner.
                index_there = ring.present and not ring.again
                index_used = False
                index_rewind = False
                room = size < queue_depth
                scanning = engine.held >= 0
                empty = not scanning and engine.waiting < 0
                only = engine.held <= 1
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

                last_play = engine.replay + 1 == m_tiles
                if engine.state == _BEGIN:
                    engine.state = _HEADER
                elif engine.state == _HEADER:
                    if index_there:
                        index_used = True
                        if step_flags[engine.at] & SKIPPED:
                            engine.at += 1
                        else:
                            engine.state = _OPEN
                elif engine.state == _OPEN:
                    if empty or step_flags[engine.at] & SCANNED:
                        engine.state = _RUN
                elif engine.state == _RUN:
                    flags = step_flags[engine.at]
                    takes = (flags & TAKES) != 0
                    there = engine.word_held if takes else index_there or not (flags & INDEXED)
                    push = (flags & PUSH) != 0
                    ready = chunk_ready if flags & SCANNED else room
                    free = not there
                    # A decoder that takes its words to itself has one wait, but none behind the
                    # block's last.
                    take = takes and index_there and not engine.word_waits
                    take = take and not (there and flags & FINAL_WORD)
                    if there and (ready or not push):
                        free = (flags & WORD) != 0
                        index_used = free and not takes
                        if push:
                            marks = 0 if last_play else _HOLD
                            if flags & CARRIES:
                                marks |= _CARRIED
                            if flags & LAST:
                                marks |= _CLOSE
                            if flags & BLOCK:
                                if flags & TILE_END:
                                    marks |= _TILE
                                if flags & SEGMENT:
                                    marks |= _ENDS
                                    if flags & JOB and last_play:
                                        marks |= _FINISH
                            if flags & SCANNED:
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
                        if flags & BLOCK:
                            engine.state = _END
                    if takes:
                        index_used = take
                        if free:
                            engine.word_held = engine.word_waits
                            engine.word_waits = False
                        engine.word_waits = engine.word_waits or take
                elif engine.state == _END:
                    flags = step_flags[engine.at - 1]
                    engine.state = _HEADER
                    if flags & SEGMENT:
                        index_rewind = True
                        if last_play:
                            engine.replay = 0
                            engine.segment_at = engine.at
                            if flags & JOB:
                                engine.state = _DONE
                        else:
                            engine.replay += 1
                            engine.at = engine.segment_at

                _turn(ring, index_used, index_hold, index_rewind, beat_words)
            if done >= 0:
                engines[done].busy = False
                engines[done].full = False
                if engines[done].captured_end:
                    engines[done].finished = True
                    left -= 1
            if landing >= 0:
                e = g * group + (landing >> 1)
                if landing & 1:
                    engines[e].values_written += 1
                else:
                    rings[e].written += 1
        loaded = next_loaded
        cycle += 1
    return cycle, events, waiting_tile, waiting_drain, waiting_event, left


@numba.njit(cache=True)
def plain_runs(events, flags):
    """How many steps from each on find one row each and nothing else."""
    plain = np.zeros(len(flags), np.int32)
    run = 0
    for at in range(len(flags) - 1, -1, -1):
        run = run + 1 if flags[at] == PUSH and events[at] == 1 else 0
        plain[at] = run
    return plain


@numba.njit(cache=True)
def flags_of(push, word, last, common):
    """Flags of a block's steps; ``common`` stand on all of them."""
    flags = np.empty(len(push), np.uint16)
    for at in range(len(push)):
        flags[at] = common | (push[at] * PUSH) | (word[at] * WORD) | (last[at] * LAST)
    return flags
