"""Run-time operands in the golden model: dealing, choosing, and what runs, against naive loops."""

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import KERNELS
from golden.formats.block_header import BlockHeader
from golden.operators.matmul import matmul
from golden.program.deal import COLUMNS_MOST, ROWS_MOST, deal_operand
from golden.program.operand import clear_below, multiply_naive, plan_operand
from golden.selector.selector import Registers, Selector
from tests.bins import draws
from tests.operands import operand_config, random_operand
from tests.rtl_gen.fuse_blocks import random_table

REGISTERS = Registers(alpha=300, beta=400, alpha_max=9000, beta_min=3, budget=900)


@pytest.mark.parametrize("selector", ["exact", "lossy"])
def test_jobs_are_what_the_naive_loops_say(selector: str, rng):
    made = operand_config(selector, data_bits=128)
    p = made.selector
    assert p is not None
    seen: set[int] = set()
    # A table may price one candidate below the other everywhere: then another one is drawn.
    for _ in draws(12, lambda: len(seen) > 1):
        table = random_table(rng, ["raw", "dense"], [(64, p.columns)])
        rows, depth, outputs = (int(rng.integers(1, most)) for most in (20, 200, 60))
        if rng.random() < 0.5:
            depth = 64 * int(rng.integers(1, 4))
        a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        operand = random_operand(rng, depth, outputs)
        deal = deal_operand(made.shape, p, depth, outputs, -(-rows // 4))
        one, other = (Selector(table, REGISTERS, cycle_bits=p.cycle_bits) for _ in range(2))
        expected = multiply_naive(deal, p, one, table, a, operand)
        jobs = plan_operand(deal, p, other, table, operand, rows)
        found = [matmul(a[4 * j.tokens.start : 4 * j.tokens.stop], j.multiplied) for j in jobs]
        np.testing.assert_array_equal(np.concatenate(found), expected)
        assert (one.running_error, one.alpha, one.beta) == (
            other.running_error,
            other.alpha,
            other.beta,
        )
        seen.update(*(job.candidates.tolist() for job in jobs))
        if selector == "exact":
            np.testing.assert_array_equal(expected, matmul(a, operand))
    assert len(seen) > 1, "the draws go on until both were taken"


def test_ring_words_decode_to_what_is_multiplied(rng):
    """Every engine's words, read as an engine reads them, give its columns of the product."""
    made = operand_config("lossy", data_bits=256, engines=6, group=3)
    p = made.selector
    assert p is not None
    table = random_table(rng, ["raw", "dense"], [(64, p.columns)])
    operand = random_operand(rng, 192, 70)
    deal = deal_operand(made.shape, p, 192, 70, 3)
    selector = Selector(table, REGISTERS, cycle_bits=p.cycle_bits)
    for job in plan_operand(deal, p, selector, table, operand, 12):
        found = np.zeros_like(job.multiplied)
        for stream in job.plan.streams:
            at, values_at = 0, 0
            values = stream.values.view(np.int8)
            for tile in stream.tiles:
                # Words without kernel and flags fill the beats up.
                while int(stream.index[at]) & 0xFFFF == 0:
                    at += 1
                header = BlockHeader.unpack(int(stream.index[at]))
                size = header.depth * header.columns
                if header.kernel == KERNELS["raw"].code:
                    words = -(-header.depth // 8) * header.columns
                    block = KERNELS["raw"]().decode(
                        stream.index[at + 1 : at + 1 + words],
                        np.empty(0, np.int8),
                        header.depth,
                        header.columns,
                    )
                    at += 1 + words
                else:
                    block = KERNELS["dense"]().decode(
                        np.empty(0, np.uint64),
                        values[values_at : values_at + size],
                        header.depth,
                        header.columns,
                    )
                    at, values_at = at + 1, values_at + size
                columns = stream.columns[tile // job.plan.k_tiles]
                if columns[0] < 0:
                    assert block.shape == (1, 1)
                    assert not block.any()
                else:
                    row = deal.bounds[tile % job.plan.k_tiles]
                    found[row : row + len(block), columns] = block
                assert header.first == (tile % job.plan.k_tiles == 0)
                assert header.job_end == (tile == stream.tiles[-1])
        np.testing.assert_array_equal(found, job.multiplied)


def test_dealing_covers_each_column_once_and_keeps_within_the_rings(rng):
    made = operand_config(data_bits=128, engines=6, group=3)
    p, shape = made.selector, made.shape
    assert p is not None
    kinds = set()
    for _ in range(200):
        depth, outputs = int(rng.integers(1, 1200)), int(rng.integers(1, 300))
        tiles = int(rng.integers(1, 4))
        deal = deal_operand(shape, p, depth, outputs, tiles)
        covered = np.zeros((depth, outputs), np.int64)
        for block in deal.blocks:
            block.of(covered)[:] += 1
            assert block.words <= p.buffer_words // 2
        assert (covered == 1).all()
        assert len(deal.words(np.zeros((depth, outputs), np.int8))) == sum(
            block.words for block in deal.blocks
        )
        if deal.replay:
            beats = sum(
                -(-(1 + -(-int(rows) // 8) * deal.share) // 2) for rows in np.diff(deal.bounds)
            )
            assert beats <= shape.index_words // 2 - 2
        kinds.add((deal.replay, deal.passes > 1))
    assert len(kinds) == 4


def test_values_below_a_threshold_are_cleared():
    block = np.array([[-128, -4, -3, -1, 0, 1, 3, 4, 127]], np.int8)
    assert clear_below(block, 0).tolist() == block.tolist()
    assert clear_below(block, 2).tolist() == [[-128, -4, 0, 0, 0, 0, 0, 4, 127]]
    assert clear_below(block, 7).tolist() == [[-128, 0, 0, 0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("depth", "outputs", "message"),
    [
        (0, 1, r"operand: K: must be 1 to 131072, got 0"),
        (ROWS_MOST + 1, 1, r"operand: K: must be 1 to 131072, got 131073"),
        (1, COLUMNS_MOST + 1, r"operand: N: must be 1 to 1048575, got 1048576"),
    ],
)
def test_sizes_are_checked(depth: int, outputs: int, message: str):
    made = operand_config()
    assert made.selector is not None
    with pytest.raises(BadInput, match=message):
        deal_operand(made.shape, made.selector, depth, outputs, 1)


def test_an_array_without_a_feeder_is_refused():
    made, plain = operand_config(), operand_config("none")
    assert made.selector is not None
    with pytest.raises(BadInput, match="operand: must be true for run-time operands, got false"):
        deal_operand(plain.shape, made.selector, 1, 1, 1)
