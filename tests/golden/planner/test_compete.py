"""Kernel selection of static weights: exact, as quick as any one kernel, near the oracle."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.errors import BadInput
from golden.formats import KERNELS, STORED
from golden.planner.block_selector import (
    CYCLES_TIMES_BYTES,
    BlockSelector,
    priced_table,
    shares_to_try,
)
from golden.planner.choose import PartChoice
from golden.planner.compete import OBJECTIVES, TOLERANCE, compile_product
from golden.planner.model_table import computed_table, table_shapes
from golden.planner.prices import part_price
from golden.planner.product import plan_matmul
from golden.planner.tile import Tile
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
    kernels=STORED,
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


def parts_of(selector: BlockSelector, block: np.ndarray) -> list[PartChoice]:
    (parts,) = selector.choose(0, Tile(block), [np.arange(block.shape[1])])
    return parts


def price_of(parts, price: Fraction, floor: int) -> Fraction:
    """Priced cycles of (kernel's name, int8 block) pairs."""
    costs = [part_price(KERNELS[k].configured(SHAPE), part, floor) for k, part in parts]
    return sum((cost.cycles + price * cost.bytes for cost in costs), Fraction(0))


def chosen_price(selector: BlockSelector, block: np.ndarray) -> Fraction:
    parts = [(choice.kernel, choice.part().block) for choice in parts_of(selector, block)]
    return price_of(parts, selector.price, selector.column_floor)


def divisions(block: np.ndarray) -> list[list[np.ndarray]]:
    """Every way to divide a block that the selector may consider."""
    tile = Tile(block)
    columns = np.arange(block.shape[1])
    found = [[tile.part(columns, share) for share in shares] for shares in shares_to_try(SHAPE)]
    dense = (block != 0).sum(axis=0) >= len(block) / 4
    found.append([tile.part(columns, kept=kept) for kept in (dense, ~dense)])
    return [parts for parts in found if len(parts) == 1 or all(part.any() for part in parts)]


def least_price(selector: BlockSelector, block: np.ndarray) -> Fraction:
    """The oracle: the best of all divisions and kernels."""
    totals = []
    for parts in divisions(block):
        able = [
            [k for k in SHAPE.kernels if KERNELS[k].configured(SHAPE).accepts(part)]
            for part in parts
        ]
        options = [
            min(price_of([(k, part)], selector.price, selector.column_floor) for k in names)
            for names, part in zip(able, parts, strict=True)
        ]
        totals.append(sum(options, Fraction(0)))
    return min(totals)


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
    compiled = compile_product(SHAPE, activations, weights, lambda: table, objective=objective)
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


def test_a_named_kernel_competes_with_none(rng):
    weights = structured(rng, "runs")
    activations = np.ones((3, len(weights)), np.int8)

    def table():
        raise AssertionError("nobody asks for the table")

    compiled = compile_product(SHAPE, activations, weights, table, "bitmap")
    assert compiled.plan.kernel == "bitmap"
    assert compiled.report() == {}
    assert len(compiled.candidates) == 1


def test_the_selector_is_near_the_oracle(table, fixed_rng):
    for price in (Fraction(1, 64), CYCLES_TIMES_BYTES):
        selector = BlockSelector(SHAPE, table, price)
        chosen = best = Fraction(0)
        for kind in ("runs", "2:4", "columns", "random"):
            for _ in range(4):
                block = structured(fixed_rng, kind, 64, 16)
                chosen += chosen_price(selector, block)
                best += least_price(selector, block)
        assert best <= chosen
        # The table is a line between densities of random blocks, within a quarter of these.
        assert best >= Fraction(3, 4) * chosen


def test_the_blocks_themselves_decide_near_ties(table, rng):
    price = Fraction(1, 64)
    refined, plain = (BlockSelector(SHAPE, table, price, refine=refine) for refine in (True, False))
    for _ in range(20):
        density = rng.choice([0.0, 0.03, 0.1, 0.5, 1.0])
        block = np.where(rng.random((64, 16)) < density, -128, 0).astype(np.int8)
        # The table's choice is among those that are compared; pairs that a word's end parts
        # are not foreseen.
        slack = 1 + block.size // (2 * 12)
        assert chosen_price(refined, block) <= chosen_price(plain, block) + slack
    # Two rows that move, which the table's random blocks are not like.
    rows = np.arange(64)[:, None] - 7 * np.arange(16)
    band = np.where(rows % 64 < 2, 127, 0).astype(np.int8)
    few = replace(SHAPE, kernels=("dense", "bitmap", "runlength"))
    refined, plain = (
        BlockSelector(few, computed_table(few, HASH), price, refine=refine)
        for refine in (True, False)
    )
    assert [part.kernel for part in parts_of(refined, band)] == ["bitmap"]
    assert chosen_price(refined, band) <= chosen_price(plain, band)


def test_parts_are_disjoint_and_sum_to_the_block(table, rng):
    for refine in (False, True):
        selector = BlockSelector(SHAPE, table, refine=refine)
        for kind in KINDS:
            block = structured(rng, kind, 64, 16)
            for masks in divisions(block):
                assert np.array_equal(np.sum(masks, axis=0), block)
            parts = [(choice.kernel, choice.part().block) for choice in parts_of(selector, block)]
            assert np.array_equal(np.sum([part for _, part in parts], axis=0), block)
            for kernel, part in parts:
                assert KERNELS[kernel].configured(SHAPE).accepts(part)


def test_a_choice_says_what_its_part_will_take(table, rng):
    selector = BlockSelector(SHAPE, table, refine=True)
    for kind in KINDS:
        tile = Tile(structured(rng, kind, 61, 40))
        blocks = [np.arange(0, 13), np.arange(13, 14), np.arange(39, 13, -1)]
        for parts in selector.choose(0, tile, blocks):
            for choice in parts:
                kernel = KERNELS[choice.kernel].configured(SHAPE)
                block = choice.part().block
                index, values = kernel.encode(block)
                assert choice.index_words == 1 + len(index)
                assert choice.value_bytes == len(values)
                cycles = kernel.cycles(block != 0)
                if kernel.paired:
                    assert cycles - len(index) <= choice.cycles <= cycles
                else:
                    assert choice.cycles == cycles


def test_full_runs_beside_stray_non_zeros_become_two_parts(table):
    few = replace(SHAPE, kernels=("dense", "bitmap", "runlength", "block"))
    own = computed_table(few, HASH)
    block = np.zeros((64, 16), np.int8)
    block[8:32] = 5
    block[40::13] = -128
    first, second = parts_of(BlockSelector(few, own, CYCLES_TIMES_BYTES), block)
    assert (first.kernel, second.kernel) == ("block", "runlength")
    assert np.array_equal(first.part().block, np.where(block == 5, 5, 0))
    whole = parts_of(BlockSelector(few, own, CYCLES_TIMES_BYTES, split_blocks=False), block)
    assert len(whole) == 1


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
    with pytest.raises(BadInput, match=r"kernels: must hold all of the array, lacks band"):
        compile_product(SHAPE, *operands, lambda: short)
    with pytest.raises(BadInput, match="objective: must be one of cycles, product, got 'bytes'"):
        compile_product(SHAPE, *operands, lambda: table, objective="bytes")
