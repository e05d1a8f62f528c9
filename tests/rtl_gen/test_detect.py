"""Detector units in Amaranth's simulator: events and cycles against the golden model."""

import gc

import numpy as np
import pytest
from amaranth.lib import wiring
from amaranth.sim import Simulator

from golden.errors import BadInput
from golden.operators.detection import (
    WIDTHS,
    RawWords,
    array_cycles,
    detect,
    detect_naive,
    raw_words,
    unit_cycles,
)
from rtl_gen.detect import DetectorArray, DetectorScan, DetectorUnit
from rtl_gen.emit import convert, verilog

K_BITS = 7
LIMIT = 20_000


def simulate(dut: wiring.Component, *benches) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


def operand(rng: np.random.Generator, count: int, density: float) -> list[np.ndarray]:
    """Vectors of odd, prime and full sizes, corners of INT8 among the values."""
    vectors = []
    for _ in range(count):
        size = int(rng.choice([1, 2, 7, 13, 16, 31, 64, 97, 128]))
        values = rng.integers(-128, 128, size)
        corner = rng.random(size) < 0.3
        values = np.where(corner, rng.choice([-128, -127, 127, 126], size), values)
        vectors.append(np.where(rng.random(size) < density, values, 0).astype(np.int8))
    return vectors


def word_bits(words: RawWords, index: int) -> dict[str, int]:
    data = int.from_bytes(words.data[index].tobytes(), "little")
    keep = sum(int(bit) << i for i, bit in enumerate(words.keep[index]))
    return {"data": data, "keep": keep, "last": int(words.last[index])}


class Streams:
    """Drives words into one unit and takes its events, each with its own pattern of pauses."""

    def __init__(self, words, events, raw: RawWords, total: int, offer, ready) -> None:
        self.words, self.events = words, events
        self.raw, self.total = raw, total
        self.offer, self.ready = offer, ready
        self.seen: list[tuple] = []
        self.accepted: list[int] = []
        self.taken: list[int] = []

    async def drive(self, ctx):
        cycle = 0
        while len(self.accepted) < len(self.raw.last):
            valid = bool(self.offer[cycle % len(self.offer)])
            ctx.set(self.words.valid, valid)
            if valid:
                ctx.set(self.words.payload, word_bits(self.raw, len(self.accepted)))
            *_, ready = await ctx.tick().sample(self.words.ready)
            if valid and ready:
                self.accepted.append(cycle)
            cycle += 1
            assert cycle < LIMIT
        ctx.set(self.words.valid, 0)

    async def take(self, ctx):
        cycle = 0
        while len(self.seen) < self.total:
            ready = bool(self.ready[cycle % len(self.ready)])
            ctx.set(self.events.ready, ready)
            *_, valid, payload = await ctx.tick().sample(self.events.valid, self.events.payload)
            if valid and ready:
                value = payload.value - 256 * (payload.value >> 7)
                event = (payload.k, value, bool(payload.valued), bool(payload.last))
                self.seen.append(event)
                self.taken.append(cycle)
            cycle += 1
            assert cycle < LIMIT
        # Nothing may follow.
        ctx.set(self.events.ready, 1)
        for _ in range(40):
            *_, valid = await ctx.tick().sample(self.events.valid)
            assert not valid

    def cycles(self) -> int:
        return self.taken[-1] - self.accepted[0] + 1


def run_unit(vectors, threshold: int, width: int, queue: int = 8, offer=(1,), ready=(1,)):
    dut = DetectorUnit(width=width, k_bits=K_BITS, queue=queue)
    expected = detect_naive(vectors, threshold, width)
    streams = Streams(dut.words, dut.events, raw_words(vectors, width), len(expected), offer, ready)

    async def setup(ctx):
        ctx.set(dut.threshold, threshold)

    async def take(ctx):
        await streams.take(ctx)
        assert not ctx.get(dut.busy)
        assert not ctx.get(dut.fault)

    simulate(dut, setup, streams.drive, take)
    assert streams.seen == expected
    return streams


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("threshold", [0, 126, 127, 128])
def test_events_and_cycles(width: int, threshold: int, rng: np.random.Generator):
    density = float(rng.choice([0.03, 0.3, 1.0]))
    vectors = operand(rng, 8, density)
    vectors += [np.zeros(33, np.int8), np.array([-128], np.int8), np.zeros(1, np.int8)]
    streams = run_unit(vectors, threshold, width)
    assert streams.accepted[0] == 0
    assert streams.cycles() == unit_cycles(vectors, threshold, width=width).cycles


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("queue", [2, 8])
def test_pauses_on_both_sides(width: int, queue: int, rng: np.random.Generator):
    vectors = operand(rng, 10, 0.3)
    offer = rng.random(97) < rng.choice([0.3, 0.8])
    ready = rng.random(89) < rng.choice([0.3, 0.8])
    threshold = int(rng.integers(0, 129))
    streams = run_unit(vectors, threshold, width, queue, offer, ready)
    # Pauses change when the events come, and never to the better.
    assert streams.cycles() >= unit_cycles(vectors, threshold, width=width, queue=queue).cycles


@pytest.mark.parametrize("width", WIDTHS)
def test_cycles_with_a_pausing_output(width: int, rng: np.random.Generator):
    queue = int(rng.choice([2, 4, 16]))
    vectors = operand(rng, 12, float(rng.choice([0.1, 0.6])))
    ready = rng.random(61) < rng.choice([0.2, 0.5, 0.9])
    ready[int(rng.integers(61))] = True
    streams = run_unit(vectors, 5, width, queue, ready=ready)
    count = unit_cycles(vectors, 5, width=width, queue=queue, ready=ready)
    assert streams.cycles() == count.cycles


@pytest.mark.parametrize("unit", [DetectorScan, DetectorUnit])
def test_latency(unit: type):
    queue = {"queue": 4} if unit is DetectorUnit else {}
    dut = unit(width=4, k_bits=K_BITS, **queue)
    raw = raw_words([np.array([0, 9], np.int8)], 4)
    streams = Streams(dut.words, dut.events, raw, 1, (1,), (1,))
    simulate(dut, streams.drive, streams.take)
    assert streams.seen == [(1, 9, True, True)]
    assert streams.taken[0] - streams.accepted[0] == dut.latency_cycles


@pytest.mark.parametrize("width", [1, 4, 16])
def test_words_with_any_bytes_kept(width: int, rng: np.random.Generator):
    """Gaps in ``keep`` and words that keep nothing: rows are counted, but hold no event."""
    count = 80
    data = rng.integers(-128, 128, (count, width)).astype(np.int8)
    last = rng.random(count) < 0.2
    last[-1] = True
    raw = RawWords(data, rng.random((count, width)) < 0.3, last)
    events = detect(raw, 40)
    dut = DetectorUnit(width=width, k_bits=16, queue=4)
    streams = Streams(dut.words, dut.events, raw, len(events.k), (1, 1, 0), (1, 0, 1, 1))

    async def setup(ctx):
        ctx.set(dut.threshold, 40)

    simulate(dut, setup, streams.drive, streams.take)
    fields = (events.k, events.value, events.valued, events.last)
    assert streams.seen == list(zip(*(field.tolist() for field in fields), strict=True))


@pytest.mark.parametrize(
    ("k_bits", "rows", "fault"), [(4, 16, 0), (4, 17, 1), (2, 4, 0), (2, 5, 1)]
)
def test_a_vector_longer_than_k_counts_is_a_fault(k_bits: int, rows: int, fault: int):
    dut = DetectorUnit(width=4, k_bits=k_bits, queue=4)
    raw = raw_words([np.ones(rows, np.int8)], 4)
    streams = Streams(dut.words, dut.events, raw, rows, (1,), (1,))

    async def check(ctx):
        await streams.take(ctx)
        assert ctx.get(dut.fault) == fault

    simulate(dut, streams.drive, check)


def test_busy_while_a_vector_is_open():
    dut = DetectorUnit(width=4, k_bits=K_BITS, queue=4)

    async def bench(ctx):
        ctx.set(dut.events.ready, 1)
        assert not ctx.get(dut.busy)
        ctx.set(dut.words.payload, {"data": 0, "keep": 15, "last": 0})
        ctx.set(dut.words.valid, 1)
        await ctx.tick()
        ctx.set(dut.words.valid, 0)
        for _ in range(6):
            assert ctx.get(dut.busy)
            await ctx.tick()
        ctx.set(dut.words.payload, {"data": 0, "keep": 1, "last": 1})
        ctx.set(dut.words.valid, 1)
        await ctx.tick()
        ctx.set(dut.words.valid, 0)
        for _ in range(dut.latency_cycles):
            assert ctx.get(dut.busy)
            await ctx.tick()
        assert not ctx.get(dut.busy)

    simulate(dut, bench)


def test_array_counts_and_cycles(rng: np.random.Generator):
    units, width, threshold = 5, 4, 20
    lists = [operand(rng, int(rng.integers(1, 6)), 0.3) for _ in range(units)]
    count = array_cycles(lists, threshold, width=width)
    dut = DetectorArray(units=units, width=width, k_bits=K_BITS, queue=8)
    streams = []
    for u, vectors in enumerate(lists):
        ports = getattr(dut, f"words_{u}"), getattr(dut, f"events_{u}")
        raw = raw_words(vectors, width)
        total = len(detect_naive(vectors, threshold, width))
        streams.append(Streams(*ports, raw, total, (1,), (1,)))

    async def counters(ctx):
        ctx.set(dut.threshold, threshold)
        cycles = 0
        *_, busy = await ctx.tick().sample(dut.busy)
        while busy or cycles == 0:
            *_, busy = await ctx.tick().sample(dut.busy)
            cycles += 1
            assert cycles < LIMIT
        # Busy from the cycle after the first word to the one that takes the last event.
        assert cycles == count.cycles
        await ctx.tick().repeat(dut.counter_latency_cycles)
        assert ctx.get(dut.events) == count.events.sum()
        assert ctx.get(dut.words) == count.words.sum()
        assert ctx.get(dut.empty_words) == count.empty_words.sum()
        assert not ctx.get(dut.fault)
        ctx.set(dut.clear, 1)
        await ctx.tick()
        assert ctx.get(dut.events) == ctx.get(dut.words) == ctx.get(dut.empty_words) == 0

    simulate(dut, *(s.drive for s in streams), *(s.take for s in streams), counters)
    for u, (stream, vectors) in enumerate(zip(streams, lists, strict=True)):
        assert stream.seen == detect_naive(vectors, threshold, width)
        assert stream.cycles() == count.unit_cycles[u]


def test_array_is_emitted_with_one_unit():
    array = DetectorArray(units=64, width=8, k_bits=10, queue=8)
    texts = convert(array)
    assert list(texts) == [array.module_name, "sf_detector_w8_k10_q8"]
    again = DetectorArray(units=64, width=8, k_bits=10, queue=8)
    assert convert(again) == texts
    small = verilog(DetectorArray(units=2, width=4, k_bits=8, queue=4))
    assert small.count("module sf_detector_w4_k8_q4(") == 1


def test_bad_parameters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(DetectorUnit, "_MustUse__silence", True, raising=False)
    with pytest.raises(BadInput, match="width: must be one of 1, 2, 4, 8, 16, got 32"):
        DetectorUnit(width=32, k_bits=8, queue=8)
    gc.collect()
