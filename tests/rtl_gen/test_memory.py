"""On-chip memories against plain Python: both width ratios, and the replay ring's rules."""

import gc
from collections.abc import Callable

import numpy as np
import pytest
from amaranth.lib import wiring
from amaranth.sim import Simulator

from rtl_gen.memory import ReplayRing, TwoWidthMemory


def simulate(dut: wiring.Component, bench: Callable) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def join(words: list[int], bits: int) -> int:
    return sum(word << (bits * i) for i, word in enumerate(words))


@pytest.mark.parametrize(
    ("read_bits", "write_bits", "fetch_bits"),
    [
        *((32, 32, None), (16, 64, None), (8, 16, None), (64, 16, None), (32, 16, None)),
        *((8, 64, 32), (8, 32, 64), (8, 64, 64)),
    ],
)
def test_two_width_memory(
    read_bits: int, write_bits: int, fetch_bits: int | None, rng: np.random.Generator
):
    depth = 16
    unit = min(read_bits, write_bits)
    units = np.zeros(depth * read_bits // unit, object)
    beats = depth * read_bits // write_bits
    dut = TwoWidthMemory(
        read_bits=read_bits, write_bits=write_bits, depth=depth, fetch_bits=fetch_bits
    )

    async def bench(ctx):
        expected = 0
        for _ in range(400):
            beat, word = int(rng.integers(beats)), int(rng.integers(depth))
            write, read = bool(rng.integers(2)), bool(rng.integers(2))
            per_beat, per_word = write_bits // unit, read_bits // unit
            overlap = set(range(beat * per_beat, (beat + 1) * per_beat)) & set(
                range(word * per_word, (word + 1) * per_word)
            )
            read &= not (write and overlap)  # undefined, and never done
            values = [int(v) for v in rng.integers(0, 1 << min(unit, 32), per_beat)]
            ctx.set(dut.write_enable, write)
            ctx.set(dut.write_address, beat)
            ctx.set(dut.write_data, join(values, unit))
            ctx.set(dut.read_enable, read)
            ctx.set(dut.read_address, word)
            if read:
                expected = join(list(units[word * per_word : (word + 1) * per_word]), unit)
            if write:
                units[beat * per_beat : (beat + 1) * per_beat] = values
            await ctx.tick()
            # One cycle later, and held while no read is enabled.
            assert ctx.get(dut.read_data) == expected
        assert any(units)

    simulate(dut, bench)


def test_two_width_memory_refuses_odd_ratios(monkeypatch: pytest.MonkeyPatch):
    # What was refused is never elaborated, of which Amaranth would warn.
    monkeypatch.setattr(TwoWidthMemory, "_MustUse__silence", True, raising=False)
    with pytest.raises(ValueError, match="must be a multiple or a divisor of read_bits 24"):
        TwoWidthMemory(read_bits=24, write_bits=16, depth=8)
    gc.collect()


def beat_of(start: int, beat_words: int) -> int:
    return join([1000 + start + i for i in range(beat_words)], 64)


@pytest.mark.parametrize("beat_words", [1, 2, 4])
def test_ring_latency_and_rate(beat_words: int):
    dut = ReplayRing(depth=16, beat_words=beat_words)

    async def bench(ctx):
        ctx.set(dut.write_enable, 1)
        ctx.set(dut.write_data, beat_of(0, beat_words))
        await ctx.tick()
        ctx.set(dut.write_data, beat_of(beat_words, beat_words))
        assert not ctx.get(dut.words.valid)
        await ctx.tick()
        ctx.set(dut.write_enable, 0)
        assert not ctx.get(dut.words.valid)
        await ctx.tick()
        assert not ctx.get(dut.words.valid)
        await ctx.tick()
        # Four cycles after its beat was written, then two words in three cycles.
        ctx.set(dut.words.ready, 1)
        for word in range(2 * beat_words):
            assert ctx.get(dut.words.valid)
            assert ctx.get(dut.words.payload) == 1000 + word
            await ctx.tick()
            if word % 2 == 1 and word < 2 * beat_words - 1:
                assert not ctx.get(dut.words.valid)
                await ctx.tick()
        assert not ctx.get(dut.words.valid)

    simulate(dut, bench)


@pytest.mark.parametrize("beat_words", [1, 2, 4])
@pytest.mark.parametrize("hold", [0, 1])
def test_ring_keeps_one_beat_free(beat_words: int, hold: int):
    depth = 32
    dut = ReplayRing(depth=depth, beat_words=beat_words)

    async def bench(ctx):
        ctx.set(dut.hold, hold)
        written = 0
        while ctx.get(dut.space):
            ctx.set(dut.write_enable, 1)
            ctx.set(dut.write_data, beat_of(written * beat_words, beat_words))
            await ctx.tick()
            written += 1
            ctx.set(dut.write_enable, 0)
        assert written == depth // beat_words - 1
        for _ in range(4):
            await ctx.tick()
        # Reading makes space, unless the words may be read again.
        ctx.set(dut.words.ready, 1)
        for word in range(beat_words):
            while not ctx.get(dut.words.valid):
                await ctx.tick()
            assert ctx.get(dut.words.payload) == 1000 + word
            await ctx.tick()
        assert not ctx.get(dut.space)
        await ctx.tick()
        assert ctx.get(dut.space) == 1 - hold

    simulate(dut, bench)


def test_ring_head_is_absent_for_four_cycles_after_a_rewind():
    dut = ReplayRing(depth=16, beat_words=2)

    async def bench(ctx):
        ctx.set(dut.hold, 1)
        for beat in range(2):
            ctx.set(dut.write_enable, 1)
            ctx.set(dut.write_data, beat_of(2 * beat, 2))
            await ctx.tick()
        ctx.set(dut.write_enable, 0)
        for _ in range(2):
            await ctx.tick()
        for word in range(2):
            assert ctx.get(dut.words.valid)
            assert ctx.get(dut.words.payload) == 1000 + word
            ctx.set(dut.words.ready, 1)
            ctx.set(dut.rewind, word == 1)
            await ctx.tick()
        ctx.set(dut.rewind, 0)
        for _ in range(4):
            assert not ctx.get(dut.words.valid)
            await ctx.tick()
        assert ctx.get(dut.words.valid)
        assert ctx.get(dut.words.payload) == 1000

    simulate(dut, bench)


@pytest.mark.parametrize("beat_words", [1, 2, 8])
def test_ring_replays_segments_under_random_traffic(beat_words: int, rng: np.random.Generator):
    depth = 64
    dut = ReplayRing(depth=depth, beat_words=beat_words)
    # Lengths do not respect beats; a segment and the beats it shares fit the ring.
    lengths = rng.integers(1, depth - 3 * beat_words, 12).tolist()
    plays = rng.integers(1, 5, len(lengths)).tolist()
    expected = []
    start = 0
    for length, times in zip(lengths, plays, strict=True):
        for play in range(times):
            expected += [(start + i, i == length - 1, play < times - 1) for i in range(length)]
        start += length
    beats = -(-start // beat_words)

    async def bench(ctx):
        at = written = waited = 0
        accepted = False
        read_slowly = rng.random() * 0.7
        while at < len(expected):
            # The beat accepted in one cycle is written in the next, as behind the array's port.
            ctx.set(dut.write_enable, accepted)
            ctx.set(dut.write_data, beat_of(written * beat_words, beat_words))
            written += accepted
            accepted = bool(ctx.get(dut.space) and written < beats and rng.random() < 0.6)
            word, ends, again = expected[at]
            ready = rng.random() > read_slowly
            ctx.set(dut.hold, again)
            ctx.set(dut.words.ready, ready)
            valid = ctx.get(dut.words.valid)
            taken = ready and valid
            if valid:
                assert ctx.get(dut.words.payload) == 1000 + word
            ctx.set(dut.rewind, bool(taken and ends))
            at += taken
            waited = 0 if taken else waited + 1
            assert waited < 200
            await ctx.tick()
        ctx.set(dut.words.ready, 0)
        ctx.set(dut.rewind, 0)
        ctx.set(dut.write_enable, 0)
        # Nothing is left but the padding of the last beat, and aligning discards that.
        ctx.set(dut.align, 1)
        await ctx.tick().repeat(2 * beat_words + 2)
        ctx.set(dut.align, 0)
        assert written == beats
        assert not ctx.get(dut.words.valid)
        ctx.set(dut.write_enable, 1)
        ctx.set(dut.write_data, beat_of(5000, beat_words))
        await ctx.tick()
        ctx.set(dut.write_enable, 0)
        await ctx.tick().repeat(3)
        assert ctx.get(dut.words.valid)
        assert ctx.get(dut.words.payload) == 6000

    simulate(dut, bench)


def test_ring_discards_nothing_when_aligned():
    dut = ReplayRing(depth=16, beat_words=2)

    async def bench(ctx):
        ctx.set(dut.align, 1)
        ctx.set(dut.write_enable, 1)
        ctx.set(dut.write_data, beat_of(0, 2))
        await ctx.tick()
        ctx.set(dut.write_enable, 0)
        for _ in range(6):
            await ctx.tick()
        ctx.set(dut.align, 0)
        assert ctx.get(dut.words.valid)
        assert ctx.get(dut.words.payload) == 1000

    simulate(dut, bench)
