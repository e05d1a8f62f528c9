"""Random arrays on random products: cycles, events and sums of the RTL are the models'.

Each array draws its own dimensions, buffers, kernels and format parameters; together they have
every multiplier and every kernel.  ``--seed`` replays arrays and products alike.
"""

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.formats import KERNELS
from golden.numerics.mac_kinds import MAC_KINDS
from golden.operators.matmul import matmul
from golden.planner.choose import built_kernels
from golden.planner.product import plan_matmul
from golden.shape import LEAST_SUM_BITS, ArrayShape, minimum_ring_words
from tests.bins import draws
from tests.conftest import DEFAULT_SEED
from tests.golden.plans import BlockByBlock
from tests.sim.opened import opened_device

pytestmark = pytest.mark.slow  # builds simulators

NAMES = tuple(KERNELS)
PRODUCTS = 42
LIMIT = 20_000


def random_shape(rng: np.random.Generator, number: int) -> ArrayShape:
    """Array ``number``: its multiplier and one of its kernels follow from it, the rest is drawn."""

    def one_of(*values: int) -> int:
        return int(rng.choice(values))

    group = one_of(1, 1, 2, 3)
    k_tile, data_bits = one_of(16, 32, 64, 128), one_of(64, 64, 128)
    extra = rng.permutation(NAMES)[: rng.integers(0, len(NAMES))]
    nm_m = one_of(2, 4, 8, 16)
    kernels = tuple(dict.fromkeys([NAMES[number % len(NAMES)], *map(str, extra)]))
    gap_bits, nm_n, rows = one_of(3, 4, 5, 6, 8), int(rng.integers(1, nm_m)), one_of(1, 2, 4, 8, 16)
    formats = {"gap_bits": gap_bits, "nm_n": nm_n, "nm_m": nm_m, "block_rows": rows}
    index, values = (
        1 << (least - 1).bit_length() + one_of(0, 0, 1)
        for least in minimum_ring_words(k_tile, data_bits, kernels, SimpleNamespace(**formats))
    )
    lanes = one_of(2, 2, 4, 8)
    return ArrayShape(
        lanes=lanes,
        engines=group * one_of(1, 2),
        group=group,
        k_tile=k_tile,
        columns=one_of(1, 2, 3, 7),
        activation_tiles=one_of(2, 2, 4),
        index_words=index,
        value_words=values,
        queue=one_of(2, 4, 8),
        data_bits=data_bits,
        kernels=kernels,
        mac=tuple(MAC_KINDS)[number],
        byte_ports=bool(rng.integers(2)),
        **formats,
        activation_bits=one_of(64, 128),
        result_bits=min(one_of(64, 128, 256), 32 * lanes),
        sum_bits=0 if k_tile < 128 else one_of(0, LEAST_SUM_BITS),
    )


def random_weights(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """A patchwork: random, dense, empty, banded, in runs of rows; also of the heaviest weights."""
    weights = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    high, wide = (int(rng.integers(1, size + 1)) for size in (depth, outputs))
    row, column = np.arange(depth)[:, None], np.arange(outputs)[None]
    for top in range(0, depth, high):
        for left in range(0, outputs, wide):
            patch = slice(top, top + high), slice(left, left + wide)
            occupied = [
                rng.random((depth, outputs)) < rng.choice([0.02, 0.1, 0.5]),
                np.ones((depth, outputs), bool),
                np.zeros((depth, outputs), bool),
                np.abs(row - 2 * column) < 3,
                (row // 8 + column) % 3 == 0,
            ][rng.integers(5)]
            if rng.random() < 0.2:
                weights[patch] = -128
            weights[patch][~occupied[patch]] = 0
    return weights


def thinned(rng: np.random.Generator, shape: ArrayShape, weights: np.ndarray) -> np.ndarray:
    """``weights`` with the rows cleared that an N:M array could not hold, places drawn."""
    kept = np.zeros(len(weights), bool)
    for low in range(0, len(weights), shape.nm_m):
        rows = low + rng.permutation(shape.nm_m)[: shape.nm_n]
        kept[rows[rows < len(weights)]] = True
    return np.where(kept[:, None], weights, 0).astype(np.int8)


def random_split(rng: np.random.Generator, shape: ArrayShape) -> Callable:
    """Divides blocks into one to three parts, each with a kernel that can hold it."""
    kernels = built_kernels(shape, "auto")

    def split(block: np.ndarray) -> list[tuple[str, np.ndarray]]:
        owner = rng.integers(0, rng.integers(1, 4), block.shape)
        if rng.random() < 0.3:
            owner[:] = owner[:, :1]
        parts = []
        for number in range(int(owner.max()) + 1):
            part = np.where(owner == number, block, 0).astype(np.int8)
            able = [kernel.name for kernel in kernels if kernel.accepts(part)]
            parts.append((str(rng.choice(able)), part))
        return parts

    return split


@pytest.mark.parametrize("number", range(len(MAC_KINDS)))
def test_a_random_array_is_its_models(number: int, rng, request: pytest.FixtureRequest):
    shape = random_shape(rng, number)
    print(shape)
    stored = [kernel.name for kernel in built_kernels(shape, "auto")]
    seen: Counter[str] = Counter()
    bins = {*shape.kernels, "replayed", "several parts"}
    bins |= {"k split"} if shape.engines % 2 == 0 else set()
    bins |= {"mixed kernels"} if len(stored) > 1 else set()
    # A second of simulation is not worth ten of optimisation, and nobody asks again for the arrays
    # of a fresh seed.
    keep = request.config.option.seed == DEFAULT_SEED
    with opened_device(shape, "-O0", keep=keep) as device:
        for case in draws(PRODUCTS, lambda: all(seen[name] for name in bins)):
            rows = int(rng.integers(1, 3 * shape.lanes + 1))
            depth = int(rng.integers(1, rng.choice([9, shape.k_tile + 1, 3 * shape.k_tile])))
            outputs = int(rng.integers(1, rng.choice([3, 2 * shape.n_tile + 3])))
            a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
            a[:, rng.random(depth) < rng.choice([0.0, 0.3])] = 0
            w = random_weights(rng, depth, outputs)
            kernel = (*shape.kernels, "auto", "split")[case % (len(shape.kernels) + 2)]
            choice = "auto" if kernel == "split" else kernel
            if choice == "nm" or (choice == "auto" and stored == ["nm"]):
                w = thinned(rng, shape, w)
            splits = [1, *(k for k in (1, 2, 4) if shape.engines % k == 0)]
            options = {
                "k_split": int(rng.choice(splits)) if rng.random() < 0.8 else "auto",
                "balance": str(rng.choice(["lpt", "anneal"])),
                "drop_weight_rows": bool(rng.random() < 0.7) and choice != "nm",
                "drop_activation_rows": bool(rng.random() < 0.2) and choice != "nm",
                "chooser": BlockByBlock(shape, random_split(rng, shape))
                if kernel == "split"
                else None,
            }
            plan = plan_matmul(shape, a, w, choice, **options)
            described = f"case {case}: A {a.shape}, W {w.shape}, {kernel}, {options}"
            count = count_cycles(plan)
            before = device.cycles, device.events
            output = device.matmul(plan, a, limit=LIMIT)
            np.testing.assert_array_equal(output, matmul(a, w), described)
            measured = device.cycles - before[0], device.events - before[1]
            assert measured == (count.cycles, count.events), described
            several = any(np.diff(stream.tiles).min(initial=1) == 0 for stream in plan.streams)
            for name, hit in {
                **dict.fromkeys(plan.kernel_blocks, True),
                "mixed kernels": plan.kernel == "mixed",
                "several parts": several,
                "k split": options["k_split"] not in (1, "auto"),
                "streamed": not plan.replay,
                "replayed": plan.replay and plan.m_tiles > 1,
            }.items():
                seen[name] += bool(hit)
    print(dict(seen))
