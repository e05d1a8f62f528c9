"""Occupancy of activation rows in Amaranth's simulator against the golden function."""

import gc

import numpy as np
import pytest
from amaranth.lib import wiring
from amaranth.sim import Simulator

from golden.errors import BadInput
from golden.operators.detection import pack_occupancy, row_occupancy
from golden.shape import ArrayShape
from rtl_gen.detect import RowOccupancy


def simulate(dut: wiring.Component, bench) -> None:
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def shape_of(lanes: int, data_bits: int) -> ArrayShape:
    return ArrayShape(
        lanes=lanes,
        engines=1,
        group=1,
        k_tile=64,
        columns=4,
        activation_tiles=2,
        index_words=64,
        value_words=64,
        queue=4,
        data_bits=data_bits,
        kernels=("bitmap",),
        mac="packed",
    )


@pytest.mark.parametrize(
    ("lanes", "data_bits", "word_rows"),
    [(8, 64, 1), (8, 64, 16), (2, 64, 4), (4, 128, 16), (16, 64, 1), (32, 64, 8), (8, 64, 64)],
)
def test_row_occupancy(lanes: int, data_bits: int, word_rows: int, rng: np.random.Generator):
    shape = shape_of(lanes, data_bits)
    dut = RowOccupancy(shape, word_rows=word_rows)
    tiles = []
    for rows in (64, 1, 13, 17, 64, int(rng.integers(1, 65))):
        tile = rng.integers(-128, 128, (rows, lanes)).astype(np.int8)
        tile[rng.random((rows, lanes)) < 0.5] = 0
        tile[rng.random(rows) < 0.5] = 0
        tiles.append(tile)
    seen: list[tuple] = []
    expected = []
    beats = []
    for tile in tiles:
        packed = pack_occupancy(row_occupancy(tile), word_rows)
        for word, bits in enumerate(packed):
            value = sum(int(bit) << i for i, bit in enumerate(bits))
            expected.append((value, word, word == len(packed) - 1))
        raw = tile.tobytes()
        size = data_bits // 8
        parts = [raw[i : i + size] for i in range(0, len(raw), size)]
        beats += [(int.from_bytes(p, "little"), i == len(parts) - 1) for i, p in enumerate(parts)]

    async def bench(ctx):
        pending = list(beats)
        previous = False
        for _ in range(4 * len(beats) + 20):
            accept = bool(pending) and rng.random() < 0.7
            ctx.set(dut.accept, accept)
            if accept:
                bits, last = pending.pop(0)
                ctx.set(dut.beat, {"data": bits, "last": last})
            await ctx.tick()
            if ctx.get(dut.valid):
                assert accept, "a word may only follow its beat by one cycle"
                word = ctx.get(dut.occupied)
                seen.append((word.rows, word.word, bool(word.last)))
                previous |= bool(word.rows)
        assert not pending
        assert previous

    simulate(dut, bench)
    assert seen == expected


def test_occupancy_recovers_from_an_overlong_tile():
    shape = shape_of(8, 64)
    dut = RowOccupancy(shape, word_rows=16)
    seen = []

    async def bench(ctx):
        ctx.set(dut.accept, 1)
        for beat in range(70 + 2):
            ctx.set(dut.beat, {"data": 1, "last": beat in (69, 71)})
            await ctx.tick()
            if ctx.get(dut.valid):
                word = ctx.get(dut.occupied)
                seen.append((word.rows, word.word, bool(word.last)))

    simulate(dut, bench)
    assert seen == [*((0xFFFF, word, False) for word in range(4)), (3, 0, True)]


def test_bad_parameters(monkeypatch: pytest.MonkeyPatch):
    # What was refused is never elaborated, of which Amaranth would warn.
    monkeypatch.setattr(RowOccupancy, "_MustUse__silence", True, raising=False)
    with pytest.raises(BadInput, match="word_rows: must be an integer, 4 to 64, got 2"):
        RowOccupancy(shape_of(2, 64), word_rows=2)
    gc.collect()
