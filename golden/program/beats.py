"""Order of the beats on a weight port that the rings of several engines share.

A beat that finds its ring full holds up all behind it, so no beat may wait for one that comes
later.  Where the rings hold a whole segment, which is played again, any order within a segment
does.  Where the weights stream through the rings, a beat of value bytes stands behind the beat
with the index word that its first event is found in, and index words never run ahead of that:
each engine can then work through everything it was sent, down to the last word, and needs nothing
from behind the beat that waits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..formats import KERNELS, WORD_BITS
from ..shape import ArrayShape
from .streams import EngineStream

__all__ = ["INDEX", "VALUES", "Run", "runs_of"]

INDEX, VALUES = 0, 1
"""Rings of an engine."""

_RUN_BEATS = 4  # beats sent to one ring before the stream turns to the next
_BYTES = WORD_BITS // 8


@dataclass(frozen=True)
class Run:
    """Beats of one engine that follow each other.

    Attributes:
        tile: ``segment * k_tiles + k_tile``.
        part: of the tile's block, counted from 0.
        turn: at which the run is sent; those of a turn go by engine and ring.
        ring: `INDEX` or `VALUES`.
        low, high: beats of the ring.
    """

    tile: int
    part: int
    turn: int
    ring: int
    low: int
    high: int


def runs_of(shape: ArrayShape, stream: EngineStream, replay: bool) -> Iterator[Run]:
    """One engine's beats in the order of its rings' needs, part by part.

    Args:
        shape: the array.
        stream: the engine's words.
        replay: whether the rings hold a whole segment.
    """
    words = shape.words_per_beat
    begins = {INDEX: 0, VALUES: 0}
    cuts = {INDEX: stream.index_cuts, VALUES: stream.values_cuts}
    needs = None if replay else _needs(shape, stream)
    part = 0
    for place, tile in enumerate(stream.tiles.tolist()):
        part = part + 1 if place and tile == stream.tiles[place - 1] else 0
        ends = {ring: -(-int(cuts[ring][place]) // words) for ring in cuts}
        own = {ring: range(begins[ring], max(begins[ring], ends[ring])) for ring in cuts}
        if needs is None:
            for ring, beats in own.items():
                for turn, low in enumerate(beats[::_RUN_BEATS]):
                    high = min(low + _RUN_BEATS, beats.stop)
                    yield Run(tile, part, turn, ring, low, high)
        else:
            for turn, (ring, low, high) in enumerate(_as_needed(own, needs)):
                yield Run(tile, part, turn, ring, low, high)
        begins = {ring: beats.stop for ring, beats in own.items()}


def _as_needed(own: dict[int, range], needs: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Ring, first beat and end of each run of a part's beats."""
    sent = own[INDEX].start
    for beat in own[VALUES]:
        needed = min(int(needs[beat]), own[INDEX].stop)
        for low in range(sent, needed, _RUN_BEATS):
            yield INDEX, low, min(low + _RUN_BEATS, needed)
        sent = max(sent, needed)
        yield VALUES, beat, beat + 1
    for low in range(sent, own[INDEX].stop, _RUN_BEATS):
        yield INDEX, low, min(low + _RUN_BEATS, own[INDEX].stop)


def _needs(shape: ArrayShape, stream: EngineStream) -> np.ndarray:
    """For each beat of value bytes, the beats of index words up to that of its first event."""
    words = shape.words_per_beat
    beats = -(-len(stream.values) // words)
    firsts = np.arange(beats) * words * _BYTES
    needs = np.zeros(beats, np.int64)
    index_word = byte = 0
    parts = zip(stream.blocks, stream.kernels, stream.headers, stream.index_cuts, strict=True)
    for block, name, header, cut in parts:
        kernel = KERNELS[name].configured(shape)
        steps = kernel.steps(block)
        found = np.cumsum(steps.events, dtype=np.int64)
        taken = np.cumsum(steps.word, dtype=np.int64)
        held = 0 if kernel.carries_values or not len(found) else int(found[-1])
        mine = np.flatnonzero((firsts >= byte) & (firsts < byte + held))
        step = np.searchsorted(found, firsts[mine] - byte, side="right")
        # The header, the words that are done with, and the one that is being looked at.
        before = index_word + 1 + (taken - steps.word)[step] + bool(steps.word.any())
        needs[mine] = -(-before // words)
        index_word, byte = int(cut), byte + held
        if header.segment_end:
            byte = -(-byte // _BYTES) * _BYTES
    return needs
