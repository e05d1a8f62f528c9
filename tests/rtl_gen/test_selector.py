"""The fuse selector in RTL against the golden one: choices, costs, weights, latency, rate."""

import ctypes
import gc
from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator

from flows.cache import cache_folder
from golden.formats import KERNELS
from golden.selector.candidates import Blocks
from golden.selector.selector import INFEASIBLE, Choice, Registers, Selector
from golden.selector.table import BINS, PerformanceTable
from rtl_gen.emit import verilog
from rtl_gen.fuse.layouts import choice_layout, statistics_layout
from rtl_gen.fuse.selector import FuseSelector
from sim.verilator.build import build_model
from sim.verilator.fuse_unit import register_words
from tests.rtl_gen.fuse_blocks import random_table, set_up

SHAPES = ((64, 16), (16, 4), (32, 8))
CANDIDATES = 8
SHIFT, GAIN = 5, 3
HARNESS = Path(__file__).with_name("selector_harness.cpp")
GLUE = """#include "Vtop.h"
#define statistics__valid statistics___05Fvalid
#define statistics__ready statistics___05Fready
#define choices__valid choices___05Fvalid
#define choices__ready choices___05Fready
inline void put(Vtop& top, const uint64_t* beat) { top.statistics___05Fpayload = *beat; }
inline void get(Vtop& top, uint64_t* choice) {
  choice[0] = top.choices___05Fpayload[0] | uint64_t(top.choices___05Fpayload[1]) << 32;
  choice[1] = top.choices___05Fpayload[2];
}
"""


def random_blocks(rng: np.random.Generator, number: int, candidates: int) -> Blocks:
    """Corners and all between: ties, counts of 0 and 2^24 - 1, errors of 0 and 65535."""
    size = (number, candidates)
    wide = rng.integers(0, 1 << rng.integers(1, 25, size))
    count = np.where(rng.random(size) < 0.02, (1 << 24) - 1, wide)
    error = rng.integers(0, 1 << rng.integers(0, 17, size))
    error[rng.random(size) < 0.05] = 0xFFFF
    twins = rng.random(number) < 0.1
    places = rng.integers(0, BINS, size)
    for array in (count, error, places):
        array[twins] = array[twins][:, :1]
    kernels = rng.integers(0, len(KERNELS), candidates)
    kernels[-2:] = kernels[0]
    infeasible = rng.random(size) < 0.2
    infeasible[rng.random(number) < 0.03] = True
    return Blocks(
        kernels=kernels,
        shape=rng.integers(0, len(SHAPES), number),
        empty=rng.random(number) < 0.05,
        count=count,
        bin=places,
        error=error,
        infeasible=infeasible,
    )


def pack_beats(blocks: Blocks) -> np.ndarray:
    """Payload of every beat, uint64 (blocks * candidates, 2)."""
    layout = statistics_layout(len(SHAPES))
    number, candidates = blocks.count.shape
    last = np.zeros((number, candidates), np.int64)
    last[:, -1] = 1
    values = {
        "bin": blocks.bin,
        "kernel": blocks.kernels,
        "block_shape": blocks.shape[:, None],
        "count": blocks.count,
        "error": blocks.error,
        "infeasible": blocks.infeasible,
        "empty": blocks.empty[:, None],
        "last": last,
    }
    beats = np.zeros((number, candidates), np.uint64)
    for name, field in layout:
        beats |= np.asarray(values[name]).astype(np.uint64) << np.uint64(field.offset)
    return np.stack([beats.reshape(-1), np.zeros(beats.size, np.uint64)], axis=1)


def pack_choices(choice: Choice) -> list[int]:
    layout = choice_layout(CANDIDATES)
    packed = []
    for row in range(len(choice.cost)):
        word = 0
        for name, field in layout:
            word |= int(getattr(choice, name)[row]) << field.offset
        packed.append(word)
    return packed


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    dut = FuseSelector(candidates=CANDIDATES, shapes=len(SHAPES), shift=SHIFT, gain=GAIN)
    source = tmp_path_factory.mktemp("selector") / "selector.v"
    source.write_text(verilog(dut))
    built = build_model(
        "selector", dut.module_name, [source], HARNESS, GLUE, cache_folder("verilator")
    )
    loaded = ctypes.CDLL(str(built))
    loaded.sf_select.restype = ctypes.c_int64
    return loaded


def play(
    library: ctypes.CDLL,
    table: PerformanceTable,
    registers: Registers,
    blocks: Blocks,
    *,
    idle: int = 0,
    stall: int = 0,
    seed: int = 0,
) -> tuple[list[int], np.ndarray, int]:
    """Choices, (running error, alpha, beta) after each, and the cycle of the last one."""
    rom, beats = table.rom_image(), pack_beats(blocks)
    regs = register_words(registers)
    number = len(blocks.count)
    choices, states = np.zeros((number, 2), np.uint64), np.zeros((number, 3), np.uint16)
    cycles = ctypes.c_uint64()

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return array.ctypes.data_as(ctypes.c_void_p)

    found = library.sf_select(
        pointer(rom),
        ctypes.c_uint64(len(rom)),
        pointer(regs),
        pointer(beats),
        ctypes.c_uint64(len(beats)),
        ctypes.c_uint64(number),
        idle,
        stall,
        ctypes.c_uint64(seed),
        ctypes.c_uint64(10_000),
        pointer(choices),
        pointer(states),
        ctypes.byref(cycles),
    )
    assert found == number, "every block must yield exactly one choice, and every beat be taken"
    return [int(a) | int(b) << 64 for a, b in choices], states, cycles.value


@pytest.mark.parametrize(("idle", "stall"), [(0, 0), (300, 0), (0, 400), (300, 400)])
@pytest.mark.parametrize("candidates", [CANDIDATES, 5, 2, 1])
def test_ten_thousand_blocks(library, candidates: int, idle: int, stall: int, rng):
    table = random_table(rng, shapes=SHAPES)
    blocks = random_blocks(rng, 10_000, candidates)
    registers = Registers(
        alpha=int(rng.integers(1, 1 << 9)),
        beta=int(rng.integers(1 << 4, 1 << 12)),
        alpha_max=int(rng.integers(1 << 12, 1 << 16)),
        beta_min=int(rng.integers(0, 1 << 4)),
        budget=int(rng.integers(1 << 9, 1 << 12)),
        adapt=True,
    )
    golden = Selector(table, registers, SHIFT, GAIN)
    expected = golden.run(blocks)
    got, states, _ = play(
        library, table, registers, blocks, idle=idle, stall=stall, seed=int(rng.integers(1 << 32))
    )
    assert got == pack_choices(expected)
    assert states[-1].tolist() == [golden.running_error, golden.alpha, golden.beta]
    # The stimulus must reach what it is for.
    assert (expected.cost == INFEASIBLE).any()
    assert (expected.cost == 0).any()
    assert set(np.unique(expected.candidate)) == set(range(candidates))


@pytest.mark.parametrize("budget", [0, 700, 0xFFFF])
def test_the_state_after_every_block(library, budget: int, rng):
    table, blocks = random_table(rng, shapes=SHAPES), random_blocks(rng, 2000, 4)
    registers = Registers(alpha=3, beta=900, alpha_max=4000, beta_min=40, budget=budget)
    golden = Selector(table, registers, SHIFT, GAIN)
    chosen = golden.run(blocks)
    golden.reset()
    expected = []
    for error in chosen.error:
        golden.update(int(error))
        expected.append([golden.running_error, golden.alpha, golden.beta])
    got, states, _ = play(library, table, registers, blocks, idle=200, stall=200)
    assert got == pack_choices(chosen)
    assert states.tolist() == expected
    if budget == 0:
        # Both weights reach their ends.
        assert states[:, 1].max() == 4000
        assert states[:, 2].min() == 40


def test_without_adaptation_the_weights_rest(library, rng):
    table, blocks = random_table(rng, shapes=SHAPES), random_blocks(rng, 500, 3)
    registers = Registers(alpha=0xFFFF, beta=0xFFFF, beta_min=0, budget=0, adapt=False)
    golden = Selector(table, registers, SHIFT, GAIN)
    got, states, _ = play(library, table, registers, blocks)
    assert got == pack_choices(golden.choose(blocks)) == pack_choices(golden.run(blocks))
    assert (states[:, 1:] == 0xFFFF).all()


def test_one_candidate_per_cycle(library, rng):
    table, registers = random_table(rng, shapes=SHAPES), Registers()
    dut = FuseSelector(candidates=CANDIDATES, shapes=len(SHAPES), shift=SHIFT, gain=GAIN)
    dut._MustUse__silence = True  # lends its figures only
    for candidates in {dut.free_candidates, CANDIDATES}:
        blocks = random_blocks(rng, 300, candidates)
        _, _, cycles = play(library, table, registers, blocks)
        # The last beat is taken in cycle 300 * candidates - 1, no cycle lost before it.
        assert cycles == 300 * candidates - 1 + dut.latency_cycles


@pytest.mark.parametrize("candidates", [1, 2, 5])
def test_latency_and_choice_in_amaranth(candidates: int, rng):
    table, registers = random_table(rng, shapes=SHAPES), Registers(alpha=700, beta=200, budget=1000)
    blocks = random_blocks(rng, 12, candidates)
    expected = pack_choices(Selector(table, registers, SHIFT, GAIN).run(blocks))
    dut = FuseSelector(candidates=CANDIDATES, shapes=len(SHAPES), shift=SHIFT, gain=GAIN)

    async def bench(ctx):
        await set_up(ctx, dut, table, registers)
        ctx.set(dut.choices.ready, 1)
        layout = statistics_layout(len(SHAPES))
        for number, (word, _) in enumerate(pack_beats(blocks)):
            ctx.set(dut.statistics.payload, layout.from_bits(int(word)))
            ctx.set(dut.statistics.valid, 1)
            assert ctx.get(dut.statistics.ready)
            await ctx.tick()
            ctx.set(dut.statistics.valid, 0)
            if (number + 1) % candidates == 0:
                # Alone in the pipeline, so the choice comes after exactly the latency.
                for _ in range(dut.latency_cycles - 1):
                    assert not ctx.get(dut.choices.valid)
                    await ctx.tick()
                assert ctx.get(dut.choices.valid)
                assert ctx.get(dut.choices.payload.as_value()) == expected[number // candidates]
                await ctx.tick()
                assert not ctx.get(dut.choices.valid)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("candidates", 0),
        ("candidates", 257),
        ("shapes", 65),
        ("shift", 0),
        ("gain", 16),
        ("count_bits", 25),
    ],
)
def test_parameters_are_checked(name: str, value: int, monkeypatch: pytest.MonkeyPatch):
    # A component that failed to be built is never elaborated; Amaranth would warn of that.
    monkeypatch.setattr(FuseSelector, "_MustUse__silence", True, raising=False)
    with pytest.raises(ValueError, match=f"{name} must be 1 to .*, got {value}"):
        FuseSelector(**{name: value})
    gc.collect()
