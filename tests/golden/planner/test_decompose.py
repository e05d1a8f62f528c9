"""Decomposition: parts sum to the block, are disjoint, and are never dearer than one kernel."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import KERNELS
from golden.operators.matmul import matmul, matmul_naive
from golden.planner.decompose import (
    Cost,
    Part,
    best_single,
    decompose,
    dense_core,
    diagonal_band,
    formats,
    largest_of_runs,
    occupied_columns,
    occupied_rows,
    part_cost,
    total_cost,
)
from golden.shape import ArrayShape

SHAPE = ArrayShape(
    lanes=4,
    engines=4,
    group=2,
    k_tile=64,
    columns=16,
    activation_tiles=2,
    index_words=64,
    value_words=64,
    queue=8,
    data_bits=64,
    kernels=("nm", "bitmap", "block"),
    mac="packed",
    nm_n=1,
    nm_m=4,
    block_rows=4,
)


def blocks(rng: np.random.Generator, depth: int, columns: int) -> dict[str, np.ndarray]:
    size = (depth, columns)
    values = rng.integers(-128, 128, size)
    rows, places = np.arange(depth)[:, None], np.arange(columns)
    half = np.where(rng.random(size) < 0.5, values, 0)
    core = np.where((rows // 8) % 3 == 0, rng.integers(1, 128, size), 0)
    events = np.where(rng.random(size) < 0.03, values, 0)
    structured = np.where(largest_of_runs(values, 2, 4), values, 0)
    single = np.zeros(size)
    single[rng.integers(depth), rng.integers(columns)] = -128
    return {
        name: block.astype(np.int8)
        for name, block in {
            "half": half,
            "full": np.full(size, -128),
            "zero": np.zeros(size),
            "single": single,
            "core and events": np.where(core != 0, core, events),
            "structured and events": np.where(structured != 0, structured, events),
            "band": np.where(np.abs(rows - places) <= 2, 127, 0),
            "band and events": np.where(np.abs(rows - places) <= 3, values, events),
            "tail empty": np.where(rows < depth // 2, half, 0),
        }.items()
    }


SIZES = [(1, 1), (1, 5), (7, 1), (16, 3), (37, 11), (64, 13), (131, 7)]


@pytest.mark.parametrize("shape", [None, SHAPE], ids=["usual", "array"])
@pytest.mark.parametrize("objective", ["cycles", "product", "bytes"])
def test_parts_are_exact_disjoint_and_never_dearer(objective, shape, rng: np.random.Generator):
    several = 0
    for depth, columns in SIZES:
        for name, block in blocks(rng, depth, columns).items():
            floor = int(rng.choice([1, 4]))
            parts = decompose(block, shape, objective=objective, column_floor=floor)
            total = np.sum([part.block for part in parts], axis=0, dtype=np.int64)
            np.testing.assert_array_equal(total, block, name)
            owned = np.sum([part.mask for part in parts], axis=0)
            assert owned.max() <= 1, name
            assert all(((part.block != 0) <= part.mask).all() for part in parts), name
            # The price from the real encoders, and that of every kernel alone.
            cost = total_cost(parts, shape, floor)
            for kernel in formats(shape):
                if kernel.accepts(block):
                    alone = part_cost(kernel, block, floor)
                    assert cost.key(objective) <= alone.key(objective), (name, kernel.name)
            several += len(parts) > 1
    # The mixed blocks are too small to pay for a second header in cycles, but not in bytes.
    assert several > 0 or objective != "bytes" or shape is not None


def test_cost_counts_what_the_encoder_stores(rng: np.random.Generator):
    block = blocks(rng, 64, 5)["half"]
    kernel = KERNELS["bitmap"]()
    empty_columns = int((block == 0).all(axis=0).sum())
    events = int((block != 0).sum()) + empty_columns
    assert part_cost(kernel, block) == Cost(1 + events, 8 + 8 * 5 + int((block != 0).sum()))
    assert part_cost(kernel, np.zeros((64, 5), np.int8), column_floor=7).cycles == 1 + 5 * 7
    assert part_cost(KERNELS["dense"](), block) == Cost(1 + 64 * 5, 8 + 64 * 5)


def test_core_and_events_take_two_kernels_and_save_bytes(rng: np.random.Generator):
    block = np.zeros((256, 32), np.int8)
    for column in range(32):
        for run in rng.choice(np.arange(1, 32), 24, replace=False):
            block[8 * run : 8 * run + 8, column] = rng.integers(1, 128, 8)
        block[rng.integers(8), column] = -5
    parts = decompose(block, objective="product")
    assert [part.kernel for part in parts] == ["block", "runlength"]
    _, single = best_single(block, objective="product")
    cost = total_cost(parts)
    assert cost.cycles * cost.bytes < single.cycles * single.bytes


def test_unstructured_blocks_stay_in_one_kernel(fixed_rng: np.random.Generator):
    for density in (0.05, 0.3, 0.6):
        keep = fixed_rng.random((256, 16)) < density
        block = np.where(keep, fixed_rng.integers(1, 128, (256, 16)), 0)
        parts = decompose(block.astype(np.int8))
        assert len(parts) == 1


def test_products_of_the_parts_sum_to_the_product(rng: np.random.Generator):
    for name, block in blocks(rng, 37, 11).items():
        activations = rng.integers(-128, 128, (3, 37)).astype(np.int8)
        parts = decompose(block, max_parts=4, objective="bytes")
        total = sum(matmul(activations, part.block) for part in parts)
        np.testing.assert_array_equal(total, matmul_naive(activations, block), name)


def test_one_part_is_the_best_single_kernel(rng: np.random.Generator):
    for name, block in blocks(rng, 37, 11).items():
        (part,) = decompose(block, max_parts=1, objective="product")
        assert part.kernel == best_single(block, objective="product")[0].kernel, name
        assert isinstance(part, Part)


def naive_core(block: np.ndarray, rows: int, fill: float) -> np.ndarray:
    mask = np.zeros(block.shape, bool)
    for column in range(block.shape[1]):
        for start in range(0, len(block), rows):
            run = block[start : start + rows, column]
            if np.count_nonzero(run) >= fill * len(run):
                mask[start : start + rows, column] = run != 0
    return mask


def naive_largest(block: np.ndarray, n: int, m: int) -> np.ndarray:
    mask = np.zeros(block.shape, bool)
    for column in range(block.shape[1]):
        for start in range(0, len(block), m):
            rows = [r for r in range(start, min(start + m, len(block))) if block[r, column]]
            for row in sorted(rows, key=lambda r: (-abs(int(block[r, column])), r))[:n]:
                mask[row, column] = True
    return mask


def naive_band(block: np.ndarray, share: float) -> np.ndarray:
    depth, columns = block.shape
    cells: dict[int, list[tuple[int, int]]] = {}
    for row in range(depth):
        for column in range(columns):
            cells.setdefault(row - column, []).append((row, column))

    def density(d: int) -> float:
        return sum(bool(block[cell]) for cell in cells.get(d, [])) / max(1, len(cells.get(d, [])))

    long = [d for d in sorted(cells) if len(cells[d]) >= min(depth, columns) / 2]
    centre = max(long, key=lambda d: (density(d), -d))
    band = set()
    if density(centre) >= share:
        band.add(centre)
        for way in (-1, 1):
            d = centre + way
            while d in cells and density(d) >= share:
                band.add(d)
                d += way
    mask = np.zeros(block.shape, bool)
    for d in band:
        for cell in cells[d]:
            mask[cell] = block[cell] != 0
    return mask


def test_finders_are_their_naive_specifications(rng: np.random.Generator):
    for depth, columns in SIZES:
        for name, block in blocks(rng, depth, columns).items():
            for rows in (1, 2, 8, 16):
                for fill in (0.5, 0.75, 1.0):
                    got = dense_core(block, rows, fill)
                    np.testing.assert_array_equal(got, naive_core(block, rows, fill), name)
            for n, m in ((1, 2), (2, 4), (15, 16)):
                got = largest_of_runs(block, n, m)
                np.testing.assert_array_equal(got, naive_largest(block, n, m), name)
            for share in (0.3, 0.6):
                got = diagonal_band(block, share)
                np.testing.assert_array_equal(got, naive_band(block, share), name)


def test_occupied_rows_and_columns():
    block = np.zeros((3, 4), np.int8)
    block[1, 2] = -128
    block[1, 0] = 1
    assert occupied_rows(block).tolist() == [False, True, False]
    assert occupied_columns(block).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        (np.zeros((2, 2), np.int16), {}, "must be a non-empty int8 matrix, got int16"),
        (np.zeros((0, 2), np.int8), {}, "non-empty"),
        (np.ones((2, 2), np.int8), {"max_parts": 5}, "max_parts: must be 1 to 4, got 5"),
        (np.ones((2, 2), np.int8), {"objective": "area"}, "objective: must be one of"),
    ],
)
def test_bad_input(block: np.ndarray, options: dict, message: str):
    with pytest.raises(BadInput, match=message):
        decompose(block, **options)
