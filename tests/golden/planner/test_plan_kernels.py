"""Which kernel holds which block of a plan, and blocks of several parts."""

from dataclasses import replace

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.errors import BadInput
from golden.formats import KERNELS, STORED
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape
from tests.golden.plans import (
    ALL,
    BASE,
    BlockByBlock,
    check_streams,
    mixed_weights,
    operands,
    results_of,
)


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


def test_auto_passes_over_kernels_that_cannot_hold_the_weights(rng: np.random.Generator):
    shape = ArrayShape(
        lanes=4, engines=2, group=2, k_tile=1024, columns=4, activation_tiles=2, index_words=128,
        value_words=128, queue=8, data_bits=64, kernels=("runlength", "nm", "bitmap"), mac="packed",
    )  # fmt: skip
    dense = rng.integers(1, 128, (1024, 4)).astype(np.int8)
    activations = np.ones((2, 1024), np.int8)
    assert plan_matmul(shape, activations, dense).kernel == "bitmap"
    # The least rings hold a full column in whatever is built in; nm holds no such column at all.
    assert plan_matmul(shape, activations, dense, "runlength").kernel == "runlength"
    with pytest.raises(BadInput, match=r"nm must be able to hold the weights"):
        plan_matmul(shape, activations, dense, "nm")
    with pytest.raises(BadInput, match=r"index_words: must be a power of two, 69 to"):
        replace(shape, index_words=64)


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
        # Each block's least decoder cycles; what lies between two blocks is not chosen by.
        taken, alone = (sum(int(s.cycles.sum()) for s in p.streams) for p in (plan, single))
        assert taken <= alone
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
        kernel = str(rng.choice(["auto", "auto", *(name for name in STORED if name != "nm")]))
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
        assert plan.predicted <= count.cycles + 4 * tiles, case
        hit["mixed"] += plan.kernel == "mixed"
        hit["parts"] += plan.k_split > 1
        hit["short first tile"] += plan.k_tiles > 1 and plan.bounds[1] < shape.k_tile
        hit["dropped"] += plan.depth < depth
        hit["replay"] += plan.replay
        hit["segments"] += plan.segments > 1
    assert all(hit.values()), hit


@pytest.mark.parametrize("k_split", [1, 2])
def test_a_tile_may_have_several_parts(k_split: int, rng: np.random.Generator):
    def split(block: np.ndarray) -> list[tuple[str, np.ndarray]]:
        which = rng.integers(0, 3, block.shape)
        names = rng.choice(["bitmap", "runlength", "block", "band"], rng.integers(1, 4))
        parts = [np.where(which == n, block, 0).astype(np.int8) for n in range(len(names))]
        parts[0] += np.where(which >= len(names), block, 0).astype(np.int8)
        return list(zip(map(str, names), parts, strict=True))

    for _ in range(20):
        rows, depth, outputs = (int(rng.integers(1, high)) for high in (12, 200, 20))
        a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        w = mixed_weights(rng, depth, outputs)
        plan = plan_matmul(
            ALL, a, w, chooser=BlockByBlock(ALL, split), k_split=k_split, balance="lpt"
        )
        check_streams(plan, w)
        result = [plan.collect(job, results_of(plan, a, job, rng)) for job in plan.jobs]
        np.testing.assert_array_equal(np.concatenate(result), matmul(a, w))
        for group in range(ALL.groups):
            _, target = plan.weight_beats(group)
            streams = plan.streams[group * ALL.group : (group + 1) * ALL.group]
            words = ALL.words_per_beat
            sizes = [-(-len(d) // words) for s in streams for d in (s.index, s.values)]
            assert np.bincount(target, minlength=2 * ALL.group).tolist() == sizes
