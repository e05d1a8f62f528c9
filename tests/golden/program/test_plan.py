"""The plan: every column once, streams that decode back to the weights, beats that add up."""

from dataclasses import replace

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.program.plan import MAX_REPLAYS
from golden.shape import minimum_ring_words
from tests.bins import draws
from tests.golden.plans import BASE, SHAPES, check_streams, operands, plans, results_of, widths


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_streams_decode_back_to_the_weights(name: str, rng: np.random.Generator):
    for plan, _, w in plans(rng, SHAPES[name]):
        check_streams(plan, w)
        assert plan.weight_bytes == sum(s.index.nbytes + s.values.nbytes for s in plan.streams)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_every_column_exactly_once(name: str, rng: np.random.Generator):
    shape = SHAPES[name]
    for plan, _, w in plans(rng, shape):
        assert all(len(stream.columns) == plan.segments for stream in plan.streams)
        filled = [columns for stream in plan.streams for columns in stream.columns]
        assert all(1 <= len(columns) <= shape.columns for columns in filled)
        # An engine without a column gets one dummy, never beside real ones.
        assert all(len(columns) == 1 or (columns >= 0).all() for columns in filled)
        chosen = np.concatenate(filled)
        assert sorted(chosen[chosen >= 0].tolist()) == list(range(w.shape[1]))


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_weight_beats_carry_each_ring_in_order(name: str, rng: np.random.Generator):
    shape = SHAPES[name]
    for plan, _, _ in plans(rng, shape):
        for group in range(shape.groups):
            data, target = plan.weight_beats(group)
            assert data.shape == (len(target), shape.data_bits // 8)
            assert target.max() < 2 * shape.group
            for engine in range(shape.group):
                stream = plan.streams[group * shape.group + engine]
                for ring, words in ((0, stream.index), (1, stream.values)):
                    sent = data[target == 2 * engine + ring].reshape(-1).view("<u8")
                    np.testing.assert_array_equal(sent[: len(words)], words)
                    # Only the last beat is padded, with zeros.
                    assert len(sent) - len(words) < shape.words_per_beat
                    assert not sent[len(words) :].any()


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_activation_beats_carry_each_tile(name: str, rng: np.random.Generator):
    shape = SHAPES[name]
    for plan, a, _ in plans(rng, shape):
        again = np.zeros((plan.m_tiles * shape.lanes, a.shape[1]), np.int8)
        for job in plan.jobs:
            data, last = plan.activation_beats(a, job)
            assert data.shape == (len(last), shape.activation_bits // 8)
            ends = np.flatnonzero(last) + 1
            assert ends[-1] == len(last)
            parts = np.split(data, ends[:-1])
            assert len(parts) == len(job) * plan.k_tiles
            for number, part in enumerate(parts):
                m_tile, k_tile = divmod(number, plan.k_tiles)
                assert len(part) == plan.tile_beats(k_tile)
                rows = plan.tile_rows(k_tile)
                tile = part.reshape(-1).view(np.int8).reshape(-1, shape.lanes)
                assert not tile[rows:].any()
                token = job[m_tile] * shape.lanes
                assert rows == plan.bounds[k_tile + 1] - plan.bounds[k_tile] <= shape.k_tile
                sent = plan.kept[plan.bounds[k_tile] : plan.bounds[k_tile + 1]]
                again[token : token + shape.lanes, sent] = tile[:rows].T
        dropped = np.setdiff1d(np.arange(a.shape[1]), plan.kept)
        assert not again[:, dropped].any()
        np.testing.assert_array_equal(again[: len(a), plan.kept], a[:, plan.kept])
        assert not again[len(a) :].any()


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_results_in_any_order_of_engines_find_their_places(name: str, rng: np.random.Generator):
    shape = SHAPES[name]
    for plan, a, w in plans(rng, shape):
        rows = [plan.collect(job, results_of(plan, a, job, rng)) for job in plan.jobs]
        np.testing.assert_array_equal(np.concatenate(rows), matmul(a, w))


def test_parts_of_a_column_add_up_modulo_32_bits(rng: np.random.Generator):
    a, w = operands(rng, (2, 64, 1), zero=0.0)
    w[:] = 1
    plan = plan_matmul(BASE, a, w, "bitmap", k_split=4)
    parts = [2**31 - 1, 5, -(2**31), 2**31 - 1]
    results = [
        (np.array([[parts[2 * g + e]] * 4 for e in range(2)], np.int32), np.array([0, 1], np.uint8))
        for g in range(2)
    ]
    wanted = (sum(parts) + 2**31) % 2**32 - 2**31
    assert (plan.collect(plan.jobs[0], results) == wanted).all()


def test_missing_and_surplus_results_are_refused(rng: np.random.Generator):
    a, w = operands(rng, (3, 7, 5))
    plan = plan_matmul(BASE, a, w, "bitmap")
    good = results_of(plan, a, plan.jobs[0], rng)
    for group in range(BASE.groups):
        data, labels = good[group]
        for wrong in ((data[1:], labels[1:]), (np.repeat(data, 2, 0), np.repeat(labels, 2))):
            results = list(good)
            results[group] = wrong
            with pytest.raises(ValueError, match=rf"group {group} engine \d: \d+ columns"):
                plan.collect(plan.jobs[0], results)


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [(1, [1]), (4, [1]), (5, [2]), (4 * MAX_REPLAYS, [255]), (4 * MAX_REPLAYS + 1, [255, 1])],
)
def test_jobs_with_replay(rows: int, sizes: list[int], rng: np.random.Generator):
    plan = plan_matmul(BASE, *operands(rng, (rows, 3, 2)), "bitmap")
    assert plan.replay == (rows > BASE.lanes)
    assert [len(job) for job in plan.jobs] == sizes
    assert [m for job in plan.jobs for m in job] == list(range(plan.m_tiles))


def test_weights_beyond_the_rings_are_streamed_one_tile_of_tokens_a_job(rng: np.random.Generator):
    shape = replace(SHAPES["least_rings"], value_words=16)
    a, w = operands(rng, (10, 640, 12), zero=0.0)
    plan = plan_matmul(shape, a, w, "dense")
    assert not plan.replay
    assert [len(job) for job in plan.jobs] == [1, 1, 1]


def test_replayed_segments_fit_the_rings(rng: np.random.Generator):
    seen = set()
    # Both with and without replay, in one segment and in several.
    for number in draws(len(SHAPES), lambda: len(seen) == 4):
        shape = list(SHAPES.values())[number % len(SHAPES)]
        for plan, _, _ in plans(rng, shape):
            seen.add((plan.replay, plan.segments > 1))
            if not plan.replay:
                continue
            for stream in plan.streams:
                ends = slice(plan.k_tiles - 1, None, plan.k_tiles)
                index = np.diff(stream.index_cuts[ends], prepend=0).max()
                values = np.diff(stream.values_cuts[ends], prepend=0).max()
                spare = shape.words_per_beat
                assert index + spare <= shape.index_words
                assert values + spare <= shape.value_words


def test_short_segments_replay_without_running_dry():
    # The decoder is a whole play ahead of the scanner here: values must stay for each play.
    w = np.full((4, 1), 3, np.int8)
    for rows in (5, 9, 13, 40):
        a = np.full((rows, 4), -128, np.int8)
        for kernel in BASE.kernels:
            plan = plan_matmul(BASE, a, w, kernel)
            # The other engines play a dummy column: dense of zeros, bitmap a close token.
            assert plan.m_tiles == -(-rows // 4)
            assert count_cycles(plan).events >= 4 * plan.m_tiles


@pytest.mark.parametrize("data_bits", [64, 128, 256, 512])
@pytest.mark.parametrize("k_tile", [16, 64, 1024])
def test_the_least_rings_hold_any_weights(data_bits: int, k_tile: int, rng: np.random.Generator):
    index_words, value_words = (
        1 << (words - 1).bit_length()
        for words in minimum_ring_words(k_tile, data_bits, BASE.kernels, BASE)
    )
    shape = replace(
        BASE, **widths(data_bits), k_tile=k_tile, index_words=index_words, value_words=value_words
    )
    for zero in (0.0, 0.9):
        a, w = operands(rng, (9, 2 * k_tile + 1, 9), zero)
        for kernel in shape.kernels:
            assert count_cycles(plan_matmul(shape, a, w, kernel)).cycles > 0
