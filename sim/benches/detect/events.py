"""Bench: random vectors through the streams, stalled on every side, job after job."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import cocotb
import numpy as np

from golden.operators.detection import raw_words

from ..stimulus import PATTERNS, Coverage
from .host import SETTINGS, DetectHost
from .stimulus import THRESHOLDS, deal, keeps, threshold_of

_SHAPE = SETTINGS.shape
_W = _SHAPE.width

_COVERAGE = Coverage(
    (
        *(f"threshold {threshold}" for threshold in THRESHOLDS),
        "threshold between",
        "empty vector",
        "all-zero vector",
        "full vector",
        "last word partial" if _W > 1 else "one byte to a word",
        "longest vector",
        "event on the last row",
        "close token",
        "-128 above 127",
        "-127 held at 127",
        "unit without a vector",
        "words before the start",
        "bytes kept with gaps",
        "idle words",
        "stalled words",
        "back-pressure",
    )
)


def _cover(dealt: Sequence[Sequence[np.ndarray]], threshold: int) -> None:
    hit = _COVERAGE.hit
    hit(f"threshold {threshold}" if threshold in THRESHOLDS else "threshold between")
    hit("unit without a vector", _SHAPE.units == 1 or not all(dealt))
    for vector in (vector for vectors in dealt for vector in vectors):
        found = np.abs(vector.astype(np.int16)) > threshold
        hit("empty vector", not vector.size)
        hit("all-zero vector", vector.size and not vector.any())
        hit("full vector", vector.size and found.all())
        hit("last word partial" if _W > 1 else "one byte to a word", _W == 1 or vector.size % _W)
        hit("longest vector", vector.size == _SHAPE.rows)
        hit("event on the last row", found[-1:].any())
        tail = (max(1, vector.size) - 1) // _W * _W
        hit("close token", not found[tail:].any())
        hit("-128 above 127", threshold == 127 and (vector == -128).any())
        hit("-127 held at 127", threshold == 127 and (vector == -127).any())


def _cover_streams(host: DetectHost) -> None:
    words = host.monitors[: _SHAPE.units]
    _COVERAGE.hit("idle words", all(m.idle_cycles for m in words))
    _COVERAGE.hit("stalled words", all(m.stalled_cycles for m in words))
    _COVERAGE.hit("back-pressure", all(m.stalled_cycles for m in host.event_monitors))


@cocotb.test(timeout_time=500, timeout_unit="ms")
async def patterns(dut: Any) -> None:
    """Idle patterns x back-pressure patterns x thresholds, without a reset in between."""
    host = DetectHost(dut, "patterns")
    await host.begin()
    jobs = 0
    for idle, pressure, threshold in product(PATTERNS, PATTERNS, (*THRESHOLDS, None)):
        host.pace(idle, pressure)
        limit = threshold_of(host.rng) if threshold is None else threshold
        dealt = deal(host.rng, _SHAPE, host.rng.randint(1, 5 * _SHAPE.units))
        early = host.rng.randint(1, 30) if jobs % 3 == 0 else 0
        await host.job(dealt, limit, early=early)
        _COVERAGE.hit("words before the start", early)
        _cover(dealt, limit)
        jobs += 1
    _cover_streams(host)
    await host.finish(jobs)


@cocotb.test(timeout_time=500, timeout_unit="ms")
async def corners(dut: Any) -> None:
    """Every threshold against the largest magnitudes, and vectors of every special size."""
    host = DetectHost(dut, "corners")
    await host.begin()
    extremes = np.array([-128, 127, -127, 126, -126, 1, -1, 0], np.int8)
    cut = np.split(extremes, range(_SHAPE.rows, extremes.size, _SHAPE.rows))
    sizes = {0, 1, 2, _W - 1, _W, _W + 1, 2 * _W - 1, min(256, _SHAPE.rows)}
    jobs = 0
    for threshold in (*THRESHOLDS, 2, 63, 64, 65, 125):
        vectors = [*cut, *(part[::-1] for part in cut), np.zeros(_W, np.int8)]
        vectors += [np.full(size, -128, np.int8) for size in sorted(sizes) if size <= _SHAPE.rows]
        # Each unit gets the same ones in another order.
        turns = [unit % len(vectors) for unit in range(_SHAPE.units)]
        dealt = [vectors[turn:] + vectors[:turn] for turn in turns]
        host.pace(*host.rng.sample(PATTERNS, 2))
        await host.job(dealt, threshold)
        _cover(dealt, threshold)
        jobs += 1
    await host.finish(jobs)


@cocotb.test(timeout_time=500, timeout_unit="ms")
async def longest(dut: Any) -> None:
    """A vector of as many rows as can be counted, most of them zero, on every unit."""
    host = DetectHost(dut, "longest")
    await host.begin()
    draw = np.random.default_rng(host.rng.getrandbits(64))
    dealt = []
    for _ in range(_SHAPE.units):
        long = np.zeros(_SHAPE.rows, np.int8)
        long[draw.integers(_SHAPE.rows, size=min(50, _SHAPE.rows))] = -128
        long[-1] = 127
        dealt.append([long, np.array([5], np.int8)])
    # Alone, so that units without words are there as well.
    await host.job([dealt[0], *([] for _ in dealt[1:])], 126)
    _cover([dealt[0], *([] for _ in dealt[1:])], 126)
    await host.job(dealt, 0)
    _cover(dealt, 0)
    await host.finish(jobs=2)


@cocotb.test(timeout_time=500, timeout_unit="ms")
@cocotb.parametrize(pattern=PATTERNS)
async def kept_bytes(dut: Any, pattern: str) -> None:
    """Words that keep any of their bytes: rows are counted all the same."""
    host = DetectHost(dut, f"kept_bytes.{pattern}")
    await host.begin()
    host.pace(pattern, pattern)
    jobs = 4
    for _ in range(jobs):
        words = [keeps(host.rng, _SHAPE, host.rng.randint(1, 30)) for _ in range(_SHAPE.units)]
        await host.job_of_words(words, threshold_of(host.rng))
        _COVERAGE.hit("bytes kept with gaps", any(not raw.keep.all() for raw in words))
    await host.finish(jobs)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def nothing_but_close_tokens(dut: Any) -> None:
    """Vectors of no elements: one close token each, no event."""
    host = DetectHost(dut, "nothing_but_close_tokens")
    await host.begin()
    words = raw_words([np.zeros(0, np.int8)] * 3, _W)
    await host.job_of_words([words] * _SHAPE.units, 0)
    assert await host.counter("EVENTS") == 0
    assert await host.counter("EMPTY_WORDS") == 3 * _SHAPE.units
    await host.finish(jobs=1)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def coverage(dut: Any) -> None:
    """Every functional bin of this bench was hit; runs last."""
    for name, count in _COVERAGE.counts.items():
        cocotb.log.info("bin %-24s %d", name, count)
    _COVERAGE.check()
