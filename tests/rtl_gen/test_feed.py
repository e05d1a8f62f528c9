"""Blocks through feed and selector in RTL, against the golden statistics and choices."""

import gc

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from golden.fuse.candidates import Candidate, describe_blocks
from golden.fuse.selector import Registers, Selector
from golden.fuse.table import BINS, PerformanceTable, Point
from golden.shape import KERNELS
from rtl_gen.fuse.feed import StatisticsFeed
from rtl_gen.fuse.selector import FuseSelector

SHAPES = ((16, 8), (64, 3), (64, 16))
CANDIDATES = (
    Candidate("bitmap"),
    Candidate("dense", 8),
    Candidate("block", 2),
    Candidate("nm", 3),
    Candidate("runlength", 5),
)
NUMBER = 150


@pytest.fixture
def table(rng) -> PerformanceTable:
    points = [
        Point(
            kernel=kernel,
            depth=depth,
            columns=columns,
            step=step,
            feasible=True,
            blocks=5,
            cycles=int(rng.integers(1, 900)),
            events=20 * (depth * columns * step // BINS),
            weight_bytes=8,
        )
        for kernel in KERNELS
        for depth, columns in SHAPES
        for step in range(BINS)
    ]
    return PerformanceTable(
        config_hash="0" * 64,
        source="invented",
        tools={},
        seed=0,
        lanes=4,
        engines=4,
        points=tuple(points),
    )


def random_histograms(rng: np.random.Generator, shape: np.ndarray) -> np.ndarray:
    """Int64 (blocks, 9) that sum to the block's size, of every density."""
    rows = []
    for number in shape:
        size = SHAPES[number][0] * SHAPES[number][1]
        filled = int(size * rng.choice([0, 1 / 64, 1 / 32, 0.1, 0.25, 0.5, 0.7, 1]))
        rows.append([size - filled, *rng.multinomial(filled, rng.dirichlet(np.ones(8) * 0.3))])
    return np.array(rows)


async def nothing(_) -> None:
    pass


def run_blocks(
    dut, source, sink, payloads: list, number: int, stall: float, rng, prepare=nothing
) -> list[int]:
    """Offer payloads with idle cycles and take ``number`` results with stalls; all that came."""
    taken: list[int] = []
    sent = 0

    async def drive(ctx):
        nonlocal sent
        await prepare(ctx)
        for payload in payloads:
            while rng.random() < stall:
                ctx.set(source.valid, 0)
                await ctx.tick()
            ctx.set(source.payload, payload)
            ctx.set(source.valid, 1)
            # Sampled at the edge: readiness follows what the taker sets in the same cycle.
            await ctx.tick().until(source.ready)
            sent += 1
        ctx.set(source.valid, 0)

    async def take(ctx):
        quiet = 0
        # A tail of cycles behind the last result shows surplus ones.
        for _ in range(50 * number):
            ready = bool(rng.random() >= stall)
            ctx.set(sink.ready, ready)
            _, _, valid, word = await ctx.tick().sample(sink.valid, sink.payload.as_value())
            quiet += sent == len(payloads)
            if valid and ready:
                taken.append(word)
                quiet = 0
            if quiet > 100:
                return
        raise AssertionError("timeout")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(take)
    simulator.run()
    assert sent == len(payloads)
    assert len(taken) == number
    return taken


def statistics(table: PerformanceTable, rng):
    """Golden blocks, and the payloads that describe them."""
    shape = rng.integers(0, len(SHAPES), NUMBER)
    sizes = np.array([depth * columns for depth, columns in SHAPES])
    histogram = random_histograms(rng, shape)
    stored = rng.integers(0, sizes[shape] + 1)
    infeasible = rng.random((NUMBER, len(CANDIDATES))) < 0.2
    blocks = describe_blocks(table, CANDIDATES, shape, histogram, stored, infeasible)
    payloads = [
        {
            "block_shape": int(shape[row]),
            "octaves": histogram[row, 1:].tolist(),
            "stored": int(stored[row]),
            "error": blocks.error[row].tolist(),
            "infeasible": sum(int(bit) << n for n, bit in enumerate(infeasible[row])),
        }
        for row in range(NUMBER)
    ]
    return blocks, payloads


@pytest.mark.parametrize("stall", [0, 0.4])
def test_every_beat(table, stall: float, rng):
    blocks, payloads = statistics(table, rng)
    dut = StatisticsFeed(CANDIDATES, [depth * columns for depth, columns in SHAPES])
    layout = dut.statistics.payload.shape()
    size = NUMBER * len(CANDIDATES)
    got = run_blocks(dut, dut.blocks, dut.statistics, payloads, size, stall, rng)
    for place, word in enumerate(got):
        row, number = divmod(place, len(CANDIDATES))
        beat = layout.from_bits(word)
        assert (beat.count, beat.bin, beat.error) == (
            blocks.count[row, number],
            blocks.bin[row, number],
            blocks.error[row, number],
        )
        assert beat.kernel == blocks.kernels[number]
        assert beat.block_shape == blocks.shape[row]
        assert beat.infeasible == blocks.infeasible[row, number]
        assert beat.empty == blocks.empty[row]
        assert beat.last == (number == len(CANDIDATES) - 1)
    assert set(np.unique(blocks.bin)) == set(range(BINS))
    assert blocks.empty.any()


def test_rate_and_latency(table, rng):
    _, payloads = statistics(table, rng)
    dut = StatisticsFeed(CANDIDATES, [depth * columns for depth, columns in SHAPES])
    arrivals = []

    async def bench(ctx):
        ctx.set(dut.statistics.ready, 1)
        at = 0
        for cycle in range(100):
            ctx.set(dut.blocks.payload, payloads[at])
            ctx.set(dut.blocks.valid, 1)
            if ctx.get(dut.statistics.valid):
                arrivals.append(cycle)
            at += ctx.get(dut.blocks.ready)
            await ctx.tick()
        assert at == 100 // len(CANDIDATES)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert arrivals == list(range(dut.latency_cycles, 100))


class Chain(wiring.Component):
    """Feed and selector."""

    def __init__(self) -> None:
        self.feed = StatisticsFeed(CANDIDATES, [depth * columns for depth, columns in SHAPES])
        self.selector = FuseSelector(candidates=len(CANDIDATES), shapes=len(SHAPES))
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.feed, m.submodules.selector = self.feed, self.selector
        wiring.connect(m, self.feed.statistics, self.selector.statistics)
        return m


@pytest.mark.parametrize("stall", [0, 0.3])
def test_feed_and_selector_choose_like_golden(table, stall: float, rng):
    blocks, payloads = statistics(table, rng)
    registers = Registers(alpha=300, beta=40, alpha_max=9000, beta_min=3, budget=900)
    expected = Selector(table, registers).run(blocks)
    dut = Chain()
    selector = dut.selector

    async def prepare(ctx):
        for address, word in enumerate(table.rom_image()):
            ctx.set(selector.table_enable, 1)
            ctx.set(selector.table_address, address)
            ctx.set(selector.table_data, int(word))
            await ctx.tick()
        ctx.set(selector.table_enable, 0)
        for name in ("alpha", "beta", "alpha_max", "beta_min", "budget", "adapt"):
            ctx.set(getattr(selector, name), int(getattr(registers, name)))
        ctx.set(selector.restart, 1)
        await ctx.tick()
        ctx.set(selector.restart, 0)

    got = run_blocks(dut, dut.feed.blocks, selector.choices, payloads, NUMBER, stall, rng, prepare)
    layout = selector.choices.payload.shape()
    for row, word in enumerate(got):
        choice = layout.from_bits(word)
        assert (choice.candidate, choice.kernel, choice.cost, choice.error) == (
            expected.candidate[row],
            expected.kernel[row],
            expected.cost[row],
            expected.error[row],
        )
    assert len(np.unique(expected.candidate)) > 2


@pytest.mark.parametrize(
    ("candidates", "sizes", "message"),
    [
        ((), (64,), "candidates must have 1 to 256 entries, got 0"),
        (CANDIDATES, (), "sizes must have 1 to 64 entries, got 0"),
        (CANDIDATES, (1 << 24,), r"sizes must be 1 to 2\*\*24 - 1, got 16777216"),
    ],
)
def test_parameters_are_checked(candidates, sizes, message: str, monkeypatch):
    # A component that failed to be built is never elaborated; Amaranth would warn of that.
    monkeypatch.setattr(StatisticsFeed, "_MustUse__silence", True, raising=False)
    with pytest.raises(ValueError, match=message):
        StatisticsFeed(candidates, sizes)
    gc.collect()
