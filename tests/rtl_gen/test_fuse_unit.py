"""The fuse unit in RTL against the golden statistics and selector: decisions, latency, rate."""

import gc
from typing import Any, cast

import numpy as np
import pytest
from amaranth.sim import Simulator

from flows.cache import cache_folder
from golden.selector.candidates import Candidate
from golden.selector.selector import INFEASIBLE, Choice, Registers, Selector
from golden.selector.unit import UnitParameters, describe_raw, operand_candidates
from golden.shape import ArrayShape
from rtl_gen.emit import verilog
from rtl_gen.fuse.counter import value_word
from rtl_gen.fuse.unit import FuseUnit
from sim.verilator.fuse_unit import FuseUnitModel, raw_words
from tests.bins import draws
from tests.rtl_gen.fuse_blocks import SHAPES, random_table, raw_blocks, set_up

EXACT = operand_candidates(("raw", "dense"), lossy=False)
LOSSY = (
    *operand_candidates(("raw", "dense"), lossy=True),
    Candidate("dense", 3),
    Candidate("raw", 8),
)
SIZES = tuple(depth * columns for depth, columns in SHAPES)
REGISTERS = Registers(alpha=300, beta=400, alpha_max=9000, beta_min=3, budget=900)
SHIFT, GAIN = 5, 3
FIELDS = ("candidate", "kernel", "cost", "error")


def parameters(candidates: tuple[Candidate, ...], **fields: int) -> UnitParameters:
    return UnitParameters(candidates=candidates, sizes=SIZES, k_tile=64, columns=16, **fields)


def same(found: Choice, expected: Choice) -> bool:
    return all(np.array_equal(getattr(found, n), getattr(expected, n)) for n in FIELDS)


@pytest.fixture(scope="module", params=["exact", "lossy"])
def model(request) -> FuseUnitModel:
    built = {
        "exact": parameters(EXACT, word_rows=16, dense_rows=32),
        "lossy": parameters(LOSSY, word_rows=8, dense_rows=8),
    }
    return FuseUnitModel(built[request.param], cache_folder("verilator"), SHIFT, GAIN)


def test_ten_thousand_blocks(model: FuseUnitModel, rng):
    shape, blocks = raw_blocks(rng, 10_000)
    chosen: set[int] = set()
    # A table under which four candidates are chosen, where there are so many.
    many = min(4, len(model.parameters.candidates))
    for _ in draws(1, lambda: len(chosen) >= many, most=300):
        table = random_table(rng)
        golden = Selector(table, REGISTERS, SHIFT, GAIN, model.parameters.cycle_bits)
        expected = golden.run(describe_raw(table, model.parameters, shape, blocks))
        chosen.clear()
        chosen.update(expected.candidate.tolist())
    for idle, stall in ((0, 0), (300, 300), (0, 700)):
        seed = int(rng.integers(1 << 32))
        got = model.play(table, REGISTERS, shape, blocks, idle=idle, stall=stall, seed=seed)
        assert same(got.choice, expected)
        assert got.states[-1].tolist() == [golden.running_error, golden.alpha, golden.beta]
    # The stimulus must reach what it is for.
    assert (expected.cost == 0).any()
    if model.parameters.lossy:
        assert (got.states[:, 1] != REGISTERS.alpha).any()
        assert expected.error.any()


@pytest.mark.parametrize("beta", [0, 1, 0xFFFF])
def test_corners_of_the_weights_and_of_the_table(model: FuseUnitModel, beta: int, rng):
    table = random_table(rng)
    # A table that lacks kernels: their candidates are infeasible.
    small = random_table(rng, ("dense",))
    registers = Registers(alpha=0xFFFF, beta=beta, budget=0)
    shape, blocks = raw_blocks(rng, 1500)
    for used in (table, small):
        statistics = describe_raw(used, model.parameters, shape, blocks)
        bits = model.parameters.cycle_bits
        expected = Selector(used, registers, SHIFT, GAIN, bits).run(statistics)
        assert same(model.play(used, registers, shape, blocks).choice, expected)
    assert (expected.cost == INFEASIBLE).any()


def test_blocks_longer_than_the_candidate_list_cost_nothing(model: FuseUnitModel, rng):
    p = model.parameters
    columns = max(1, -(-model.free_words * p.word_rows // 64))
    sizes = [(64, columns), (64, 16)]
    blocks = [rng.integers(-128, 128, sizes[n % 2]).astype(np.int8) for n in range(200)]
    words = [raw_words(p, [0], [block])[0].shape[0] for block in blocks]
    assert min(words) - model.free_words < 64 // p.word_rows
    got = model.play(random_table(rng), REGISTERS, np.zeros(200, int), blocks)
    # A word in every cycle across 200 blocks, every choice at a fixed distance.
    assert got.accepted.tolist() == (np.cumsum(words) - 1).tolist()
    assert set((got.offered - got.accepted).tolist()) == {model.latency_cycles}


def test_shorter_blocks_take_the_cycles_of_the_candidate_list(model: FuseUnitModel, rng):
    blocks = [np.ones((1, 1), np.int8)] * 50
    got = model.play(random_table(rng), REGISTERS, np.zeros(50, int), blocks)
    assert set(np.diff(got.offered).tolist()) == {model.free_words}


@pytest.mark.parametrize(
    ("candidates", "word_rows", "dense_rows"),
    [
        (LOSSY, 64, 16),
        (EXACT, 64, 64),
        (LOSSY, 32, 1),
        (EXACT, 8, 2),
        ((Candidate("raw"),), 16, 8),
    ],
)
def test_other_widths_and_kernels(
    candidates: tuple[Candidate, ...], word_rows: int, dense_rows: int, rng
):
    p = parameters(candidates, word_rows=word_rows, dense_rows=dense_rows)
    table = random_table(rng)
    shape, blocks = raw_blocks(rng, 24)
    expected = Selector(table, REGISTERS, cycle_bits=p.cycle_bits).run(
        describe_raw(table, p, shape, blocks)
    )
    dut = FuseUnit(p)
    layout = value_word(p)
    words, ends = raw_words(p, shape, blocks)
    chosen: list[tuple] = []

    async def feed(ctx):
        await set_up(ctx, dut, table, REGISTERS)
        for word in words:
            number = int.from_bytes(word.tobytes(), "little") & (1 << layout.size) - 1
            ctx.set(dut.words.payload, layout.from_bits(number))
            ctx.set(dut.words.valid, 1)
            await ctx.tick().until(dut.words.ready)
        ctx.set(dut.words.valid, 0)

    async def take(ctx):
        ctx.set(dut.choices.ready, 1)
        quiet = 0
        # A tail of cycles behind the last choice shows surplus ones.
        while quiet < 3000 and (len(chosen) < len(blocks) or quiet < 100):
            _, _, valid, choice = await ctx.tick().sample(dut.choices.valid, dut.choices.payload)
            quiet += 1
            if valid:
                chosen.append(tuple(choice[name] for name in FIELDS))
                quiet = 0

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(take)
    simulator.run()
    assert ends.sum() == len(blocks)
    assert chosen == list(zip(*(getattr(expected, name) for name in FIELDS), strict=True))


def test_a_unit_of_an_array():
    shape = ArrayShape(
        lanes=4,
        engines=4,
        group=2,
        k_tile=64,
        columns=8,
        activation_tiles=2,
        index_words=64,
        value_words=64,
        queue=4,
        data_bits=128,
        kernels=("dense", "raw", "bitmap"),
        mac="packed",
        operand=True,
    )
    p = UnitParameters.of_operand(shape, lossy=False)
    assert (p.word_rows, p.dense_rows, p.sizes) == (8, 16, (512,))
    assert [c.kernel for c in p.candidates] == ["raw", "dense"]
    assert not p.lossy
    unit = FuseUnit(p)
    assert unit.latency_cycles == 3 + 2 + 7 + 1
    assert unit.free_words == 2
    text = verilog(unit)
    assert f"module {unit.module_name}(" in text
    other = FuseUnit(UnitParameters.of_operand(shape, lossy=True))
    cast(Any, other)._MustUse__silence = True
    assert other.module_name != unit.module_name
    del other
    gc.collect()
