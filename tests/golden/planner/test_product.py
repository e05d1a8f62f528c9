"""Kernel selection of static weights: exact, as quick as any one kernel, near the oracle."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.errors import BadInput
from golden.formats import KERNELS
from golden.planner.block_selector import (
    CYCLES_TIMES_BYTES,
    BlockSelector,
    block_statistics,
    exact_selection,
    priced_table,
    variants,
)
from golden.planner.model_table import computed_table, table_shapes
from golden.planner.prices import part_price
from golden.planner.product import OBJECTIVES, TOLERANCE, compile_matmul
from golden.program.plan import plan_matmul
from golden.selector.table import DENSITIES
from golden.shape import ArrayShape

SHAPE = ArrayShape(
    lanes=4,
    engines=4,
    group=2,
    k_tile=64,
    columns=16,
    activation_tiles=4,
    index_words=128,
    value_words=128,
    queue=8,
    data_bits=128,
    kernels=("dense", "bitmap", "runlength", "nm", "block"),
    mac="packed",
    gap_bits=5,
)
HASH = "0" * 64


@pytest.fixture(scope="module")
def table():
    return computed_table(SHAPE, HASH)


def structured(rng, kind, depth=130, columns=40):
    """An int8 matrix of one structure, corners -128 and 127 in it."""
    if kind == "runs":
        keep = (rng.random((-(-depth // 8), columns)) < 0.25).repeat(8, axis=0)[:depth]
        keep |= rng.random((depth, columns)) < 0.02
    elif kind == "2:4":
        rank = rng.random((-(-depth // 4), 4, columns)).argsort(axis=1).argsort(axis=1)
        keep = (rank < 2).reshape(-1, columns)[:depth]
    elif kind == "columns":
        keep = rng.random((depth, columns)) < np.where(np.arange(columns) % 2, 0.9, 0.03)
    elif kind == "dense":
        keep = np.ones((depth, columns), bool)
    elif kind == "empty":
        keep = np.zeros((depth, columns), bool)
    else:
        keep = rng.random((depth, columns)) < 0.2
    values = rng.choice(np.r_[-128:0, 1:128], (depth, columns))
    return np.where(keep, values, 0).astype(np.int8)


KINDS = ("runs", "2:4", "columns", "dense", "empty", "random")


def decoded(plan):
    """The weights that the streams of a plan hold, k parts and segments put together."""
    out = np.zeros((plan.depth, plan.outputs), np.int64)
    for stream in plan.streams:
        for block, tile in zip(stream.blocks, stream.tiles, strict=True):
            segment, k_tile = divmod(int(tile), plan.k_tiles)
            columns = stream.columns[segment]
            low, high = plan.bounds[k_tile], plan.bounds[k_tile + 1]
            for place, column in enumerate(columns):
                if column >= 0:
                    out[low:high, column] += block[:, place]
    return out


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_plan_is_exact_and_the_best_of_its_objective(kind, objective, table, rng):
    weights = structured(rng, kind)
    activations = rng.integers(-128, 128, (9, len(weights))).astype(np.int8)
    compiled = compile_matmul(SHAPE, activations, weights, table, objective=objective)
    plan = compiled.plan
    assert np.array_equal(decoded(plan), weights[plan.kept])
    cycles = count_cycles(plan).cycles
    assert cycles == compiled.chosen.cycles
    for name in SHAPE.kernels:
        try:
            single = plan_matmul(SHAPE, activations, weights, name)
        except BadInput:
            continue
        quickest = count_cycles(single).cycles
        if objective == "cycles":
            assert cycles <= (1 + TOLERANCE) * quickest
        else:
            assert cycles * plan.weight_bytes <= quickest * single.weight_bytes
    least = min(candidate.cycles for candidate in compiled.candidates)
    for candidate in compiled.candidates:
        if objective == "product" or candidate.cycles <= (1 + TOLERANCE) * least:
            assert compiled.chosen.product <= candidate.product
    report = compiled.report()
    assert report["parts"] >= report["blocks"] > 0
    assert report["table"] == "computed (cycle model)"
    assert report["decoder_cycles_oracle"] > 0


def test_the_selector_is_near_the_oracle(table, rng):
    for price in (Fraction(1, 64), CYCLES_TIMES_BYTES):
        selector = BlockSelector(SHAPE, table, price)
        chosen = best = Fraction(0)
        for kind in ("runs", "2:4", "columns", "random"):
            for _ in range(4):
                block = structured(rng, kind, 64, 16)
                for total, selection in (
                    ("chosen", selector.choose(block)),
                    ("best", exact_selection(selector, block)),
                ):
                    cost = Fraction(0)
                    for kernel, part in zip(selection.kernels, selection.parts(block), strict=True):
                        floor = selector.column_floor
                        exact = part_price(selector.formats[kernel], part.block, floor)
                        cost += exact.cycles + price * exact.bytes
                    if total == "chosen":
                        chosen += cost
                    else:
                        best += cost
        assert best <= chosen
        assert best >= 0.9 * chosen


def test_exact_prices_decide_near_ties(table, rng):
    price = Fraction(1, 64)
    refined, plain = (BlockSelector(SHAPE, table, price, refine=refine) for refine in (True, False))

    def cost(selector, block):
        exact = selector.price_of(block, selector.column_floor)
        return exact.cycles + price * exact.bytes

    for _ in range(20):
        density = rng.choice([0.0, 0.03, 0.1, 0.5, 1.0])
        block = np.where(rng.random((64, 16)) < density, -128, 0).astype(np.int8)
        assert cost(refined, block) <= cost(plain, block)
    # Bands, which the table's random blocks are not like: two rows that move, and three that stay.
    for width, shift, better in ((2, 7, "bitmap"), (3, 0, "runlength")):
        rows = np.arange(64)[:, None] - shift * np.arange(16)
        band = np.where(rows % 64 < width, 127, 0).astype(np.int8)
        assert refined.choose(band).kernels == (better,)
        assert cost(refined, band) < cost(plain, band)


def test_parts_are_disjoint_and_sum_to_the_block(table, rng):
    selector = BlockSelector(SHAPE, table)
    for kind in KINDS:
        block = structured(rng, kind, 64, 16)
        for masks in variants(block, SHAPE):
            assert np.array_equal(np.sum(masks, axis=0), block != 0)
        parts = selector.split(block)
        assert np.array_equal(np.sum([part.block for part in parts], axis=0), block)
        assert all(selector.formats[part.kernel].accepts(part.block) for part in parts)


def test_full_runs_beside_stray_non_zeros_become_two_parts(table):
    block = np.zeros((64, 16), np.int8)
    block[:32] = 5
    block[40::13] = -128
    selection = BlockSelector(SHAPE, table, CYCLES_TIMES_BYTES).choose(block)
    assert selection.kernels == ("block", "runlength")
    assert np.array_equal(selection.masks[0], block == 5)
    whole = BlockSelector(SHAPE, table, CYCLES_TIMES_BYTES, split_blocks=False).choose(block)
    assert len(whole.kernels) == 1


def test_counts_are_those_of_the_formats(table, rng):
    names = tuple(SHAPE.kernels)
    for kind in KINDS:
        block = structured(rng, kind, 61, 13)
        statistics, scale = block_statistics(table, names, SHAPE, (block != 0)[None])
        depth, columns = table.shapes[int(statistics.shape[0])]
        assert scale == pytest.approx(block.size / (depth * columns))
        for place, name in enumerate(names):
            kernel = KERNELS[name].configured(SHAPE)
            accepted = kernel.accepts(block)
            assert bool(statistics.infeasible[0, place]) == (not accepted)
            driven = np.count_nonzero(block)
            if name == "block":
                driven = len(kernel.encode(block)[1])
            assert abs(statistics.count[0, place] - driven / scale) <= 0.5


def test_a_priced_table_adds_bytes(table):
    priced = priced_table(table, Fraction(1))
    assert priced_table(table, Fraction(0)) is table
    for before, after in zip(table.points, priced.points, strict=True):
        more = before.blocks * before.weight_bytes / table.engines
        assert after.cycles - before.cycles == pytest.approx(more, abs=0.5)
    assert not np.array_equal(priced.rom_image(), table.rom_image())


def test_the_computed_table_is_the_cycle_model_s(table):
    assert table.shapes == table_shapes(SHAPE)
    assert table.source == "computed (cycle model)"
    for depth, columns in table.shapes:
        for step, density in enumerate(DENSITIES):
            point = table.point("dense", step, (depth, columns))
            # A block is its header and one cycle per element, whatever the density.
            assert 0 <= point.cycles / point.blocks - depth * columns <= 8
            bitmap = table.point("bitmap", step, (depth, columns))
            assert bitmap.events == bitmap.blocks * int(density * depth * columns) * table.engines


def test_a_table_without_a_kernel_is_refused(table):
    few = replace(SHAPE, kernels=("dense", "bitmap"))
    short = computed_table(few, HASH, [(16, 4)])
    operands = np.ones((2, 4), np.int8), np.ones((4, 2), np.int8)
    with pytest.raises(BadInput, match=r"kernels: must hold all of the array, lacks block"):
        compile_matmul(SHAPE, *operands, short)
    with pytest.raises(BadInput, match="objective: must be one of cycles, product, got 'bytes'"):
        compile_matmul(SHAPE, *operands, table, objective="bytes")
