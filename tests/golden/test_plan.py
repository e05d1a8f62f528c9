"""The plan: every column once, streams that decode back to the weights, beats that add up."""

from dataclasses import replace

import numpy as np
import pytest

from golden.block import BlockHeader
from golden.cycles import count_cycles
from golden.errors import BadInput
from golden.kernels import KERNELS
from golden.matmul import matmul
from golden.plan import MAX_REPLAYS, Plan, plan_matmul
from golden.shape import ArrayShape, minimum_ring_words

BY_CODE = {kernel.code: kernel for kernel in KERNELS.values()}

BASE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=64, kernels=("dense", "bitmap"), mac="packed",
)  # fmt: skip
SHAPES = {
    "base": BASE,
    "one": replace(BASE, engines=1, group=1, lanes=2, columns=1),
    "rows_per_beat": replace(BASE, engines=3, group=3, lanes=2, data_bits=128),
    "beats_per_row": replace(BASE, lanes=32, data_bits=64, k_tile=16),
    "wide": replace(BASE, data_bits=512, index_words=64, engines=6, group=3),
    "least_rings": replace(BASE, index_words=16, value_words=16, columns=32),
    "all_kernels": replace(BASE, kernels=("bitmap", "runlength", "block", "dense")),
}
# Pairs of M, K and N; with lanes of 2 to 32 and tiles of 16 and 64.
SIZES = [(1, 1, 1), (3, 7, 5), (17, 130, 19), (4, 64, 8), (70, 33, 131), (2, 200, 3)]


def operands(
    rng: np.random.Generator, size: tuple[int, int, int], zero: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    rows, depth, outputs = size
    a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < zero] = 0
    w[:, rng.random(outputs) < 0.2] = 0
    return a, w


def plans(rng: np.random.Generator, shape: ArrayShape) -> list[tuple[Plan, np.ndarray, np.ndarray]]:
    found = []
    for size in SIZES:
        a, w = operands(rng, size, rng.choice([0.0, 0.6, 0.95, 1.0]))
        found += [(plan_matmul(shape, a, w, kernel), a, w) for kernel in shape.kernels]
    return found


def decoded(plan: Plan, engine: int) -> np.ndarray:
    """Weights of one engine from its words alone, as int8 (K, N); other columns are zero."""
    stream = plan.streams[engine]
    out = np.zeros((plan.depth, plan.outputs), np.int8)
    index, values = stream.index, stream.values.astype("<u8").view(np.int8)
    at = byte = 0
    for segment, columns in enumerate(stream.columns):
        for k_tile in range(plan.k_tiles):
            header = BlockHeader.unpack(int(index[at]))
            end = k_tile == plan.k_tiles - 1
            assert header.first == (k_tile == 0)
            assert header.final == header.segment_end == end
            assert header.tile_end
            assert header.job_end == (end and segment == plan.segments - 1)
            assert header.columns == len(columns)
            assert header.depth == plan.tile_rows(k_tile)
            kernel = BY_CODE[header.kernel].configured(plan.shape)
            assert kernel.name == plan.kernel
            block = kernel.decode(index[at + 1 :], values[byte:], header.depth, header.columns)
            words, bytes_ = kernel.encode(block)
            at += 1 + len(words)
            byte += len(bytes_)
            assert at == stream.index_cuts[segment * plan.k_tiles + k_tile]
            assert 8 * stream.values_cuts[segment * plan.k_tiles + k_tile] >= byte
            low = k_tile * plan.shape.k_tile
            real = columns >= 0
            assert not block[:, ~real].any()
            out[low : low + header.depth, columns[real]] += block[:, real]
        byte = -(-byte // 8) * 8  # a segment begins with a word
    assert at == len(index)
    assert byte == len(values)
    return out


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_streams_decode_back_to_the_weights(name: str, rng: np.random.Generator):
    shape = SHAPES[name]
    for plan, _, w in plans(rng, shape):
        total = sum(decoded(plan, e).astype(int) for e in range(shape.engines))
        np.testing.assert_array_equal(total, w)
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
        again = np.zeros((plan.m_tiles * shape.lanes, plan.depth), np.int8)
        for job in plan.jobs:
            data, last = plan.activation_beats(a, job)
            assert data.shape == (len(last), shape.data_bits // 8)
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
                token, low = job[m_tile] * shape.lanes, k_tile * shape.k_tile
                again[token : token + shape.lanes, low : low + rows] = tile[:rows].T
        np.testing.assert_array_equal(again[: len(a)], a)
        assert not again[len(a) :].any()


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_results_in_any_order_of_engines_find_their_places(name: str, rng: np.random.Generator):
    shape = SHAPES[name]
    for plan, a, w in plans(rng, shape):
        product = matmul(a, w)
        padded = np.zeros((plan.m_tiles * shape.lanes, w.shape[1]), np.int32)
        padded[: len(a)] = product
        rows = [plan.collect(job, results_of(plan, padded, job, rng)) for job in plan.jobs]
        np.testing.assert_array_equal(np.concatenate(rows), product)


def results_of(
    plan: Plan, padded: np.ndarray, job: range, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Results as the array sends them: per engine in order, engines interleaved at random."""
    shape = plan.shape
    results = []
    for group in range(shape.groups):
        queues = []
        for engine in range(shape.group):
            columns = plan.streams[group * shape.group + engine].columns
            queues.append(
                [
                    padded[m * shape.lanes : (m + 1) * shape.lanes, c] if c >= 0 else
                    np.full(shape.lanes, 99, np.int32)
                    for segment in columns for m in job for c in segment
                ]
            )  # fmt: skip
        labels = rng.permutation(np.repeat(np.arange(shape.group), [len(q) for q in queues]))
        sources = [iter(queue) for queue in queues]
        data = np.array([next(sources[label]) for label in labels], np.int32)
        results.append((data, labels.astype(np.uint8)))
    return results


def test_missing_and_surplus_results_are_refused(rng: np.random.Generator):
    a, w = operands(rng, (3, 7, 5))
    plan = plan_matmul(BASE, a, w, "bitmap")
    padded = np.zeros((4, 5), np.int32)
    good = results_of(plan, padded, plan.jobs[0], rng)
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
    for shape in SHAPES.values():
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
    assert seen == {(False, False), (False, True), (True, False), (True, True)}


def test_auto_takes_the_cheapest(rng: np.random.Generator):
    a, dense = operands(rng, (3, 64, 16), zero=0.0)
    dense[dense == 0] = 1
    assert plan_matmul(BASE, a, dense).kernel == "dense"
    assert plan_matmul(BASE, a, np.where(rng.random(dense.shape) < 0.9, 0, dense)).kernel == (
        "bitmap"
    )


def test_kernels_the_array_lacks_are_refused(rng: np.random.Generator):
    a, w = operands(rng, (1, 2, 3))
    shape = replace(BASE, kernels=("dense",))
    with pytest.raises(BadInput, match=r"kernel: must be .*dense.*auto, got 'bitmap'"):
        plan_matmul(shape, a, w, "bitmap")
    with pytest.raises(BadInput, match="weights: dtype"):
        plan_matmul(shape, a, w.astype(np.int32))


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
        1 << (words - 1).bit_length() for words in minimum_ring_words(k_tile, data_bits)
    )
    shape = replace(
        BASE, data_bits=data_bits, k_tile=k_tile, index_words=index_words, value_words=value_words
    )
    for zero in (0.0, 0.9):
        a, w = operands(rng, (9, 2 * k_tile + 1, 9), zero)
        for kernel in shape.kernels:
            assert count_cycles(plan_matmul(shape, a, w, kernel)).cycles > 0


def test_auto_passes_over_kernels_that_cannot_hold_the_weights(rng: np.random.Generator):
    shape = ArrayShape(
        lanes=4, engines=2, group=2, k_tile=1024, columns=4, activation_tiles=2, index_words=32,
        value_words=128, queue=8, data_bits=64, kernels=("runlength", "nm", "bitmap"), mac="packed",
    )  # fmt: skip
    dense = rng.integers(1, 128, (1024, 4)).astype(np.int8)
    activations = np.ones((2, 1024), np.int8)
    assert plan_matmul(shape, activations, dense).kernel == "bitmap"
    for name in ("runlength", "nm"):
        with pytest.raises(BadInput):
            plan_matmul(shape, activations, dense, name)
