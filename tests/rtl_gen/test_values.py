"""The value reader: segments of any length, plays, stalls, beats of any width."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.cycles.count import VALUE_LATENCY
from rtl_gen.kernels.values import ValueReader

K_BITS = 8


def segment(rng: np.random.Generator, most: int) -> list[int | None]:
    """Values of one segment's rows, None for a close token; the last row closes the segment."""
    rows = int(rng.integers(1, most))
    values = rng.integers(1, 256, rows).tolist()
    return [None if rng.random() < 0.2 else value for value in values]


@pytest.mark.parametrize(("beat_words", "byte_ports"), [(1, True), (2, False), (8, True)])
def test_rows_meet_their_bytes_in_every_play(
    beat_words: int, byte_ports: bool, rng: np.random.Generator
):
    depth = 64
    segments = [segment(rng, 8 * (depth - 3 * beat_words)) for _ in range(6)]
    plays = rng.integers(1, 4, len(segments)).tolist()
    stored = bytearray()
    rows = []
    for number, (values, times) in enumerate(zip(segments, plays, strict=True)):
        kept = bytes(value for value in values if value is not None)
        stored += kept + bytes(-len(kept) % 8)
        for play in range(times):
            for place, value in enumerate(values):
                ends = place == len(values) - 1
                flags = {"last": ends, "segment_end": ends, "hold": play < times - 1}
                done = ends and play == times - 1 and number == len(segments) - 1
                rows.append((value, {"k": place % 256, "job_end": done, **flags}))
    stored += bytes(-len(stored) % (8 * beat_words))
    beats = [
        int.from_bytes(stored[at : at + 8 * beat_words], "little")
        for at in range(0, len(stored), 8 * beat_words)
    ]
    dut = ValueReader(K_BITS, depth=depth, beat_words=beat_words, byte_ports=byte_ports)
    seen: list[tuple[int, int | None]] = []
    slow = rng.random() * 0.5

    async def bench(ctx):
        at = written = idle = 0
        accepted = False
        for job in range(2):
            ctx.set(dut.start, 1)
            ctx.set(dut.rows.valid, 0)
            await ctx.tick()
            ctx.set(dut.start, 0)
            at = written = 0
            # What stalls may hold back the last row for any time: 1000 cycles can't be missed.
            while at < len(rows) or idle < 8 or (len(seen) < (job + 1) * len(rows) and idle < 1000):
                ctx.set(dut.write_enable, accepted)
                if accepted:
                    ctx.set(dut.write_data, beats[written])
                    written += 1
                accepted = bool(ctx.get(dut.space) and written < len(beats) and rng.random() < 0.6)
                enable, opened = bool(rng.random() > slow), bool(rng.random() > slow)
                ctx.set(dut.enable, enable)
                ctx.set(dut.rows_open, opened)
                ctx.set(dut.rows.valid, at < len(rows))
                if at < len(rows):
                    value, fields = rows[at]
                    ctx.set(dut.rows.payload, {"valued": value is not None, **fields})
                if enable and ctx.get(dut.valid):
                    event = ctx.get(dut.events)
                    seen.append((event.k, event.value if event.valued else None))
                taken = at < len(rows) and bool(ctx.get(dut.rows.ready))
                assert not taken or (enable and opened)
                at += taken
                idle = 0 if at < len(rows) else idle + 1
                await ctx.tick()
            assert written == len(beats), job
            idle = 0

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == 2 * [(fields["k"], value) for value, fields in rows]


def test_latency_is_that_of_the_cycle_model():
    dut = ValueReader(K_BITS, depth=16, beat_words=1)
    cycles = []

    async def bench(ctx):
        ctx.set(dut.enable, 1)
        ctx.set(dut.rows_open, 1)
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        ctx.set(dut.rows.valid, 1)
        ctx.set(dut.rows.payload, {"k": 3, "last": 1})
        for cycle in range(5):
            if ctx.get(dut.valid):
                cycles.append(cycle)
            await ctx.tick()
            ctx.set(dut.rows.valid, 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert cycles == [dut.latency_cycles] == [VALUE_LATENCY]
