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
    """Weights of one engine from its words alone, as int64 (K, N); other columns are zero."""
    stream = plan.streams[engine]
    out = np.zeros((len(plan.kept), plan.outputs), np.int64)
    index, values = stream.index, stream.values.astype("<u8").view(np.int8)
    at = byte = part = 0
    for segment, columns in enumerate(stream.columns):
        for k_tile in range(plan.k_tiles):
            number = 0
            tile_end = False
            while not tile_end:
                header = BlockHeader.unpack(int(index[at]))
                tile_end = header.tile_end
                end = k_tile == plan.k_tiles - 1 and tile_end
                assert header.first == (k_tile == 0 and number == 0)
                assert header.final == header.segment_end == end
                assert header.job_end == (end and segment == plan.segments - 1)
                assert header.columns == len(columns)
                assert header.depth == plan.tile_rows(k_tile)
                kernel = BY_CODE[header.kernel].configured(plan.shape)
                assert kernel.name == stream.kernels[part]
                assert header == stream.headers[part]
                assert stream.tiles[part] == segment * plan.k_tiles + k_tile
                block = kernel.decode(index[at + 1 :], values[byte:], header.depth, header.columns)
                np.testing.assert_array_equal(block, stream.blocks[part])
                words, bytes_ = kernel.encode(block)
                at += 1 + len(words)
                byte += len(bytes_)
                assert at == stream.index_cuts[part]
                assert 8 * stream.values_cuts[part] >= byte
                real = columns >= 0
                assert not block[:, ~real].any()
                here = slice(plan.bounds[k_tile], plan.bounds[k_tile + 1])
                for column, held in zip(columns[real], block.T[real], strict=True):
                    assert not (out[here, column] != 0)[held != 0].any()
                    out[here, column] += held
                number += 1
                part += 1
        byte = -(-byte // 8) * 8  # a segment begins with a word
    assert at == len(index)
    assert byte == len(values)
    assert part == len(stream.blocks) == len(stream.cycles)
    full = np.zeros((plan_depth(plan), plan.outputs), np.int64)
    full[plan.kept] = out
    return full


def plan_depth(plan: Plan) -> int:
    """Rows up to the last one that is sent."""
    return int(plan.kept[-1]) + 1


def check_streams(plan: Plan, w: np.ndarray) -> None:
    """The streams of all engines decode back to the weights, each non-zero held once."""
    parts = [decoded(plan, e) for e in range(plan.shape.engines)]
    assert sum(np.count_nonzero(part) for part in parts) == np.count_nonzero(w)
    total = np.sum(parts, axis=0)
    np.testing.assert_array_equal(total, w[: len(total)])
    assert not w[len(total) :].any()


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


def results_of(
    plan: Plan, activations: np.ndarray, job: range, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Results as the array sends them: each engine's own sums, engines interleaved at random."""
    shape = plan.shape
    tokens = np.zeros((plan.m_tiles * shape.lanes, plan.depth), np.int64)
    tokens[: len(activations)] = activations[:, plan.kept]
    results = []
    for group in range(shape.groups):
        queues = []
        for stream in plan.streams[group * shape.group : (group + 1) * shape.group]:
            queue = []
            for segment, columns in enumerate(stream.columns):
                share = np.zeros((plan.depth, len(columns)), np.int64)
                for tile, block in zip(stream.tiles, stream.blocks, strict=True):
                    at, k_tile = divmod(int(tile), plan.k_tiles)
                    if at == segment:
                        share[plan.bounds[k_tile] : plan.bounds[k_tile + 1]] += block
                sums = tokens @ share
                sums[:, columns < 0] = 99
                for m in job:
                    queue += list(sums[m * shape.lanes : (m + 1) * shape.lanes].T)
            queues.append(queue)
        labels = rng.permutation(np.repeat(np.arange(shape.group), [len(q) for q in queues]))
        sources = [iter(queue) for queue in queues]
        data = np.array([next(sources[label]) for label in labels]).astype(np.int32)
        results.append((data, labels.astype(np.uint8)))
    return results


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


ALL = replace(
    BASE, kernels=("dense", "bitmap", "runlength", "nm", "block"), index_words=128, value_words=256
)


def mixed_weights(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """Patches of different density, empty rows and columns, and the corners of INT8."""
    w = rng.choice([-128, -1, 1, 127, 77], (depth, outputs)).astype(np.int8)
    patches = rng.choice([0.0, 0.02, 0.3, 0.7, 1.0], (-(-depth // 32), -(-outputs // 3)))
    density = patches.repeat(32, 0).repeat(3, 1)[:depth, :outputs]
    w[rng.random(w.shape) >= density] = 0
    w[rng.random(depth) < rng.choice([0.0, 0.3, 0.95])] = 0
    return w


def test_each_block_has_its_own_kernel(rng: np.random.Generator):
    w = np.zeros((256, 16), np.int8)
    w[:64] = rng.integers(1, 128, (64, 16))  # full
    w[64:128] = np.where(rng.random((64, 16)) < 0.5, 5, 0)
    w[127] = 1
    w[128::32] = 3  # 1 in 32
    plan = plan_matmul(ALL, np.ones((1, 256), np.int8), w, drop_weight_rows=False)
    check_streams(plan, w)
    assert plan.kernel == "mixed"
    counts = plan.kernel_blocks
    assert list(counts) == [name for name in ALL.kernels if name in counts]
    assert sum(counts.values()) == plan.k_tiles * ALL.engines
    for stream in plan.streams:
        assert stream.kernels[0] == "dense"
        assert stream.kernels[1] == "bitmap"
    for name in ("dense", "bitmap", "runlength"):
        single = plan_matmul(ALL, np.ones((1, 256), np.int8), w, name, drop_weight_rows=False)
        assert single.kernel == name
        assert count_cycles(plan).cycles <= count_cycles(single).cycles
        assert plan.weight_bytes < single.weight_bytes


def test_random_configurations_matrices_and_kernels(rng: np.random.Generator):
    """Streams, results and the cycle model over 320 random cases."""
    hit = {"mixed": 0, "parts": 0, "short first tile": 0, "dropped": 0, "replay": 0, "segments": 0}
    for case in range(320):
        group = int(rng.choice([1, 2, 3]))
        shape = replace(
            ALL,
            lanes=int(rng.choice([2, 4, 8])),
            engines=group * int(rng.choice([1, 2, 4])),
            group=group,
            k_tile=int(rng.choice([16, 64, 128])),
            columns=int(rng.choice([1, 4, 32])),
            data_bits=int(rng.choice([64, 128])),
            activation_tiles=int(rng.choice([2, 4])),
            nm_n=int(rng.choice([1, 2])),
            block_rows=int(rng.choice([1, 4, 8, 16])),
        )
        rows, depth, outputs = (int(rng.integers(1, high)) for high in (16, 200, 16))
        a = rng.choice([-128, 127, 0, 3], (rows, depth)).astype(np.int8)
        a[:, rng.random(depth) < 0.2] = 0
        w = mixed_weights(rng, depth, outputs)
        kernel = str(rng.choice(["auto", "auto", "dense", "bitmap", "runlength", "block"]))
        divisors = [s for s in (1, 2, 4, 8) if shape.engines % s == 0]
        k_split = "auto" if rng.random() < 0.3 else int(rng.choice(divisors))
        by_activation = bool(rng.random() < 0.3)
        options = {
            "k_split": k_split,
            "balance": str(rng.choice(["lpt", "anneal"])),
            "seed": case,
            "drop_weight_rows": bool(rng.random() < 0.8),
            "drop_activation_rows": by_activation,
        }
        plan = plan_matmul(shape, a, w, kernel, **options)
        case = f"{shape} {kernel} {options} {a.shape} {w.shape}"
        left = np.where(a.any(axis=0)[:, None], w, 0) if by_activation else w
        check_streams(plan, left)
        result = [plan.collect(job, results_of(plan, a, job, rng)) for job in plan.jobs]
        np.testing.assert_array_equal(np.concatenate(result), matmul(a, w), err_msg=case)
        if kernel != "auto":
            assert plan.kernel == kernel, case
        # Every value byte is an event, for each tile of tokens.
        names = [(k, b) for s in plan.streams for k, b in zip(s.kernels, s.blocks, strict=True)]
        stored = sum(len(KERNELS[k].configured(shape).encode(b)[1]) for k, b in names)
        count = count_cycles(plan)
        assert count.events == stored * plan.m_tiles, case
        busiest = max(int(s.cycles.sum()) for s in plan.streams)
        assert count.cycles >= busiest * plan.m_tiles, case
        # The prediction leaves latencies out: a few cycles for each tile.
        tiles = plan.m_tiles * plan.segments * plan.k_tiles
        assert plan.layout.predicted <= count.cycles + 4 * tiles, case
        hit["mixed"] += plan.kernel == "mixed"
        hit["parts"] += plan.layout.k_split > 1
        hit["short first tile"] += plan.k_tiles > 1 and plan.bounds[1] < shape.k_tile
        hit["dropped"] += plan.depth < depth
        hit["replay"] += plan.replay
        hit["segments"] += plan.segments > 1
    assert all(hit.values()), hit


@pytest.mark.parametrize("k_split", [1, 2])
def test_a_tile_may_have_several_parts(k_split: int, rng: np.random.Generator):
    def split(block: np.ndarray) -> list[tuple[str, np.ndarray]]:
        which = rng.integers(0, 3, block.shape)
        names = rng.choice(["bitmap", "runlength", "block"], rng.integers(1, 4))
        parts = [np.where(which == n, block, 0).astype(np.int8) for n in range(len(names))]
        parts[0] += np.where(which >= len(names), block, 0).astype(np.int8)
        return list(zip(map(str, names), parts, strict=True))

    for _ in range(20):
        rows, depth, outputs = (int(rng.integers(1, high)) for high in (12, 200, 20))
        a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        w = mixed_weights(rng, depth, outputs)
        plan = plan_matmul(ALL, a, w, split=split, k_split=k_split, balance="lpt")
        check_streams(plan, w)
        result = [plan.collect(job, results_of(plan, a, job, rng)) for job in plan.jobs]
        np.testing.assert_array_equal(np.concatenate(result), matmul(a, w))
        for group in range(ALL.groups):
            _, target = plan.weight_beats(group)
            streams = plan.streams[group * ALL.group : (group + 1) * ALL.group]
            words = ALL.words_per_beat
            sizes = [-(-len(d) // words) for s in streams for d in (s.index, s.values)]
            assert np.bincount(target, minlength=2 * ALL.group).tolist() == sizes


def test_parts_that_do_not_make_up_the_block_are_refused(rng: np.random.Generator):
    a, w = operands(rng, (2, 32, 4), zero=0.2)
    for wrong, error in (
        (lambda block: [], "at least one part"),
        (lambda block: [("bitmap", block), ("bitmap", block)], "disjoint"),
        (lambda block: [("bitmap", block * 0)], "sum to the block"),
        (lambda block: [("bitmap", block[:1])], "of shape"),
        (lambda block: [("bitmap", block.astype(np.int16))], "int8"),
    ):
        with pytest.raises(ValueError, match=error):
            plan_matmul(BASE, a, w, split=wrong)
    with pytest.raises(BadInput, match=r"split: kernel: must be one of dense, bitmap, got 'nm'"):
        plan_matmul(BASE, a, w, split=lambda block: [("nm", block)])
    full = np.ones((32, 4), np.int8)
    with pytest.raises(BadInput, match="kernel: nm must be able to hold the weights"):
        plan_matmul(ALL, a, full, split=lambda block: [("nm", block)])


def test_the_same_seed_gives_the_same_streams(rng: np.random.Generator):
    a, w = operands(rng, (9, 200, 60), zero=0.5)
    first, again, other = (plan_matmul(BASE, a, w, seed=seed) for seed in (1, 1, 2))
    for left, right in zip(first.streams, again.streams, strict=True):
        np.testing.assert_array_equal(left.index, right.index)
        np.testing.assert_array_equal(left.values, right.values)
        assert left.kernels == right.kernels
    check_streams(other, w)


def test_annealing_is_never_worse_than_its_start(rng: np.random.Generator):
    # Each column's non-zeros are in one of eight tiles: even totals are not enough.
    shape = replace(BASE, data_bits=512, group=1, index_words=256, value_words=512)
    gains = []
    for _ in range(6):
        a, w = operands(rng, (9, 512, int(rng.integers(24, 32))), zero=0.1)
        w[(np.arange(512) // 64)[:, None] != rng.integers(0, 8, w.shape[1])] = 0
        start, end = (plan_matmul(shape, a, w, balance=b) for b in ("lpt", "anneal"))
        assert start.layout.predicted_start == start.layout.predicted
        assert end.layout.predicted_start >= end.layout.predicted
        assert end.layout.predicted <= start.layout.predicted
        gains.append(1 - count_cycles(end).cycles / count_cycles(start).cycles)
    assert max(gains) > 0.02
    assert min(gains) > -0.01  # the prediction leaves latencies out


def test_parts_keep_engines_busy_where_columns_are_few(rng: np.random.Generator):
    shape = replace(BASE, engines=8, k_tile=128, index_words=128, value_words=256)
    a, w = operands(rng, (64, 256, 2), zero=0.0)
    w[:] = 1
    w[rng.random(w.shape) < 0.4] = 0
    cycles = {s: count_cycles(plan_matmul(shape, a, w, k_split=s)).cycles for s in (1, 4, "auto")}
    assert cycles[4] < 0.75 * cycles[1]
    assert cycles["auto"] <= 1.03 * cycles[4]  # latencies are not predicted
    # Enough columns: one part, whatever is allowed.
    _, many = operands(rng, (64, 256, 200), zero=0.5)
    assert plan_matmul(shape, a, many, k_split="auto").layout.k_split == 1


@pytest.mark.parametrize("k_split", [0, 3, 8, -2, True, 2.0, "two", None])
def test_k_split_must_divide_the_engines(k_split: object, rng: np.random.Generator):
    a, w = operands(rng, (1, 2, 3))
    with pytest.raises(BadInput, match=r"k_split: must be auto or a power of two .* \(4\), got"):
        plan_matmul(BASE, a, w, k_split=k_split)  # pyright: ignore[reportArgumentType]


def test_balance_must_be_known(rng: np.random.Generator):
    with pytest.raises(BadInput, match="balance: must be one of lpt, anneal, got 'best'"):
        plan_matmul(BASE, *operands(rng, (1, 2, 3)), balance="best")


def test_zero_rows_are_not_sent(rng: np.random.Generator):
    a, w = operands(rng, (5, 300, 9), zero=0.3)
    w[:, 0] = 1
    w[10:200] = 0
    a[:, 250:280] = 0
    plans = {
        flags: plan_matmul(BASE, a, w, drop_weight_rows=flags[0], drop_activation_rows=flags[1])
        for flags in ((False, False), (True, False), (False, True), (True, True))
    }
    assert [plan.depth for plan in plans.values()] == [300, 110, 270, 80]
    assert plans[True, True].kept.tolist() == [*range(10), *range(200, 250), *range(280, 300)]
    for plan in plans.values():
        result = [plan.collect(job, results_of(plan, a, job, rng)) for job in plan.jobs]
        np.testing.assert_array_equal(np.concatenate(result), matmul(a, w))
    assert count_cycles(plans[True, True]).cycles < count_cycles(plans[False, False]).cycles


@pytest.mark.parametrize("kernel", ["auto", *ALL.kernels])
def test_an_all_zero_matrix_keeps_one_row(kernel: str, rng: np.random.Generator):
    a, w = operands(rng, (3, 100, 5), zero=1.0)
    plan = plan_matmul(ALL, a, w, kernel)
    runs = {"nm": 4, "block": 8}
    assert plan.depth <= runs.get(kernel, 1)
    result = plan.collect(plan.jobs[0], results_of(plan, a, plan.jobs[0], rng))
    assert result.shape == (3, 5)
    assert not result.any()
    assert count_cycles(plan).cycles > 0
