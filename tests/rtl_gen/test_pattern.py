"""Pattern analyser against the golden analysis: structures, odd sizes, stalls, exact latency."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import pytest
from amaranth.lib import data
from amaranth.sim import Simulator

from golden.selector.pattern import Pattern, PatternParameters, analyse
from rtl_gen.emit import verilog
from rtl_gen.fuse.pattern import PatternAnalyser

WORD = 64
LIMIT_CYCLES = 20_000


def words(block: np.ndarray) -> list[dict]:
    """A block as the stream's payloads."""
    depth, columns = block.shape
    padded = np.zeros((columns, -(-depth // WORD) * WORD), np.int8)
    padded[:, :depth] = block.T
    stream = []
    for column in range(columns):
        for start in range(0, depth, WORD):
            ends = start + WORD >= depth
            stream.append(
                {
                    "values": padded[column, start : start + WORD].tolist(),
                    "last_row": (depth - 1) % WORD if ends else 0,
                    "column_end": ends,
                    "block_end": ends and column == columns - 1,
                }
            )
    return stream


def received(payload: data.Const, parameters: PatternParameters) -> Pattern:
    """A payload as the golden model's pattern."""
    fields = {}
    for name, _ in payload.shape():
        value = payload[name]
        fields[name] = tuple(value) if isinstance(value, data.Const) else value
    return Pattern(gap_bits=parameters.gap_bits, **fields)


def run(
    parameters: PatternParameters,
    blocks: Sequence[np.ndarray],
    valid: Callable[[], bool],
    ready: Callable[[], bool],
) -> tuple[list[int], list[int], int]:
    """Stream blocks through the hardware and compare every pattern.

    Returns the cycles in which each block's last word was accepted, the cycles in which each
    pattern was first offered, and the cycles in which a valid word had to wait.
    """
    dut = PatternAnalyser(parameters)
    expected = [analyse(block, parameters) for block in blocks]
    stimulus = [word for block in blocks for word in words(block)]
    accepted: list[int] = []
    offered: list[int] = []
    held_back = 0
    taken: list[Pattern] = []

    async def bench(ctx):
        nonlocal held_back
        at = 0
        sending = fresh = False
        for cycle in range(LIMIT_CYCLES):
            if not sending and at < len(stimulus) and valid():
                sending = True
                ctx.set(dut.words.payload, stimulus[at])
            ctx.set(dut.words.valid, sending)
            take = ready()
            ctx.set(dut.pattern.ready, take)
            if ctx.get(dut.pattern.valid):
                pattern = received(ctx.get(dut.pattern.payload), parameters)
                # A waiting pattern must not change, however long it waits.
                assert pattern == expected[len(taken)]
                if not fresh:
                    offered.append(cycle)
                fresh = not take
                if take:
                    taken.append(pattern)
            if sending and ctx.get(dut.words.ready):
                if stimulus[at]["block_end"]:
                    accepted.append(cycle)
                at, sending = at + 1, False
            elif sending:
                held_back += 1
            await ctx.tick()
            if len(taken) == len(expected):
                break
        assert at == len(stimulus)
        # Exactly one pattern for each block and nothing behind them.
        ctx.set(dut.words.valid, 0)
        ctx.set(dut.pattern.ready, 1)
        for _ in range(8):
            assert not ctx.get(dut.pattern.valid)
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert taken == expected
    return accepted, offered, held_back


def blocks(rng: np.random.Generator, parameters: PatternParameters) -> list[np.ndarray]:
    """Corner, random and structured blocks of odd sizes within the limits."""
    most = parameters.k_tile
    depths = [d for d in (1, 2, 13, 16, 37, 64, 65, 101, 128, 197, 256, 512) if d <= most]
    made = []
    for depth in depths:
        size = (depth, int(rng.integers(1, min(8, parameters.columns) + 1)))
        values = rng.integers(-128, 128, size)
        row, column = np.mgrid[: size[0], : size[1]]
        runs = rng.random((-(-depth // 24), size[1])) < 0.3
        masks = [
            np.zeros(size, bool),
            np.ones(size, bool),
            rng.random(size) < 0.5,
            rng.random(size) < 0.04,
            np.abs(row * size[1] - column * depth) <= 3 * depth,
            (row - column) % 17 == 0,
            np.repeat(runs, 24, axis=0)[:depth],
            np.isin(row, [0, depth - 1]),
            row % 4 == rng.integers(0, 4, size),
        ]
        made += [np.where(mask, values, 0).astype(np.int8) for mask in masks]
        made.append(np.full(size, -128, np.int8))
        made.append(rng.choice(np.array([-128, -127, 0, 1, -1, 127], np.int8), size))
        made.append((values >> rng.integers(0, 8, size)).astype(np.int8))
    rng.shuffle(cast(Any, made))
    return made


PARAMETERS = {
    "usual": PatternParameters(k_tile=256, columns=8),
    "short gaps": PatternParameters(
        k_tile=128, columns=9, gap_bits=3, signature_bits=18, cell_columns=1, seed=99
    ),
    "long gaps": PatternParameters(
        k_tile=512, columns=16, gap_bits=6, signature_bits=8, cell_columns=2
    ),
    "gaps beyond a word": PatternParameters(k_tile=512, columns=8, gap_bits=8, signature_bits=8),
    "small tile": PatternParameters(k_tile=16, columns=5, gap_bits=5, signature_bits=9),
}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("stalls", [False, True], ids=["full rate", "stalls"])
def test_patterns(name: str, stalls: bool, rng: np.random.Generator):
    parameters = PARAMETERS[name]
    share = 1.0 if not stalls else 0.6
    chosen = blocks(rng, parameters)[: 8 if stalls else 14]
    accepted, offered, _ = run(
        parameters, chosen, lambda: rng.random() < share, lambda: rng.random() < share
    )
    assert len(accepted) == len(offered) == len(chosen)


def test_latency_and_no_bubble(rng: np.random.Generator):
    parameters = PARAMETERS["usual"]
    chosen = blocks(rng, parameters)[:6] + [np.ones((1, 1), np.int8)] * 10
    accepted, offered, held_back = run(parameters, chosen, lambda: True, lambda: True)
    ends = np.cumsum([len(words(block)) for block in chosen]) - 1
    # A word in every cycle, across columns and blocks.
    assert accepted == ends.tolist()
    assert held_back == 0
    assert set(np.subtract(offered, accepted).tolist()) == {PatternAnalyser.latency_cycles}


def test_words_wait_only_while_two_patterns_are_complete(rng: np.random.Generator):
    parameters = PARAMETERS["usual"]
    chosen = [rng.integers(-128, 128, (64, 8)).astype(np.int8) for _ in range(6)]
    # Blocks of 8 words, patterns taken in cycles 11, 23, 35 and so on.
    clock = iter(range(LIMIT_CYCLES))
    accepted, offered, held_back = run(
        parameters, chosen, lambda: True, lambda: next(clock) % 12 == 11
    )
    assert accepted[:4] == [7, 15, 23, 31]
    assert held_back > 0
    # From the fourth on each replaces the one before in the cycle in which that is taken.
    assert offered == [11, 19, 27, 36, 48, 60]


def test_emitted_verilog_is_named_by_its_parameters():
    parameters = PatternParameters(k_tile=16, columns=1, signature_bits=8, cell_columns=1, seed=1)
    text = verilog(PatternAnalyser(parameters))
    assert "module sf_pattern_k16_n1_g4_s8_c1_1(" in text
