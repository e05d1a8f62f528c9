"""Blocks through the feed in RTL, against the golden statistics; rate and latency."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.selector.candidates import Candidate
from golden.selector.table import BINS
from golden.selector.unit import UnitParameters, describe_raw, raw_statistics
from rtl_gen.fuse.feed import StatisticsFeed
from tests.bins import draws
from tests.rtl_gen.fuse_blocks import SHAPES, random_table, raw_blocks

EXACT = (Candidate("raw"), Candidate("dense"))
LOSSY = (Candidate("raw"), Candidate("dense", 2), Candidate("raw", 2), Candidate("raw", 8))
NUMBER = 60


def parameters(candidates: tuple[Candidate, ...]) -> UnitParameters:
    sizes = tuple(depth * columns for depth, columns in SHAPES)
    return UnitParameters(candidates=candidates, sizes=sizes, k_tile=64, columns=16, dense_rows=8)


def counts(p: UnitParameters, shape: int, block: np.ndarray) -> dict:
    """Payload of one block, from its golden statistics."""
    histogram, _ = raw_statistics(block, p)
    energy = histogram[1:] << np.arange(0, 16, 2)
    payload = {
        "block_shape": shape,
        "kept": [int(histogram[t + 1 :].sum()) for t in p.thresholds],
        "ragged": int(len(block) % p.dense_rows != 0),
    }
    if p.lossy:
        payload["dropped"] = {f"below_{t}": int(energy[:t].sum()) for t in p.thresholds[1:]}
        payload["energy"] = int(energy.sum())
    return payload


@pytest.mark.parametrize("stall", [0, 0.4])
@pytest.mark.parametrize("candidates", [EXACT, LOSSY], ids=["exact", "lossy"])
def test_every_beat(candidates: tuple[Candidate, ...], stall: float, rng):
    p = parameters(candidates)
    table = random_table(rng)
    blocks = None

    def filled() -> bool:
        assert blocks is not None
        everything = (blocks.error == 0xFFFF).any() or not p.lossy
        bins = set(np.unique(blocks.bin)) == set(range(BINS))
        return bool(bins and blocks.infeasible.any() and everything)

    for _ in draws(1, filled, most=300):
        shape, raw = raw_blocks(rng, NUMBER)
        # Corners of density bins: nothing, one value, all values.
        raw[0], raw[1] = np.zeros((64, 16), np.int8), np.eye(1, 3, dtype=np.int8)
        raw[2] = np.ones((64, 16), np.int8)
        shape[:3] = len(SHAPES) - 1
        blocks = describe_raw(table, p, shape, raw)
    assert blocks is not None
    payloads = [counts(p, int(s), b) for s, b in zip(shape, raw, strict=True)]
    dut = StatisticsFeed(p)
    taken = []
    sent = 0

    async def drive(ctx):
        nonlocal sent
        for payload in payloads:
            while rng.random() < stall:
                ctx.set(dut.blocks.valid, 0)
                await ctx.tick()
            ctx.set(dut.blocks.payload, payload)
            ctx.set(dut.blocks.valid, 1)
            await ctx.tick().until(dut.blocks.ready)
            sent += 1
        ctx.set(dut.blocks.valid, 0)

    async def take(ctx):
        quiet = 0
        while quiet < 60:
            ready = bool(rng.random() >= stall)
            ctx.set(dut.statistics.ready, ready)
            _, _, valid, beat = await ctx.tick().sample(
                dut.statistics.valid, dut.statistics.payload
            )
            quiet = 0 if valid or sent < NUMBER else quiet + 1
            if valid and ready:
                taken.append(beat)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(take)
    simulator.run()
    assert sent == NUMBER
    assert len(taken) == NUMBER * len(candidates)
    for place, beat in enumerate(taken):
        row, number = divmod(place, len(candidates))
        assert (beat.count, beat.bin) == (blocks.count[row, number], blocks.bin[row, number])
        assert beat.kernel == blocks.kernels[number]
        assert beat.block_shape == blocks.shape[row]
        assert beat.infeasible == blocks.infeasible[row, number]
        assert beat.empty == blocks.empty[row]
        assert beat.last == (number == len(candidates) - 1)
        if p.lossy and not blocks.empty[row]:
            assert beat.error == blocks.error[row, number]
    assert blocks.empty.any()


@pytest.mark.parametrize("candidates", [EXACT, LOSSY], ids=["exact", "lossy"])
def test_rate_and_latency(candidates: tuple[Candidate, ...], rng):
    p = parameters(candidates)
    payload = counts(p, 0, np.ones((4, 4), np.int8))
    dut = StatisticsFeed(p)
    first, taken = [], []

    async def bench(ctx):
        ctx.set(dut.statistics.ready, 1)
        ctx.set(dut.blocks.payload, payload)
        ctx.set(dut.blocks.valid, 1)
        for cycle in range(6 * p.block_cycles):
            if ctx.get(dut.statistics.valid):
                first.append(cycle)
            if ctx.get(dut.blocks.ready):
                taken.append(cycle)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert first[0] == dut.latency_cycles
    assert taken == [n * p.block_cycles - 1 for n in range(1, 7)]
