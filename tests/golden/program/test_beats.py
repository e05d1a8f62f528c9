"""Order of beats on a shared weight port: a naive engine must never need what is still to come."""

from dataclasses import replace

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.formats import KERNELS, STORED
from golden.planner.product import plan_matmul
from golden.program.beats import INDEX, VALUES, runs_of
from golden.program.plan import Plan
from tests.golden.plans import BASE, widths

SMALL = replace(
    BASE, lanes=4, engines=2, group=2, columns=480, index_words=1024, value_words=32, **widths(512),
    kernels=STORED,
)  # fmt: skip


def thin(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """One value a column, now and then a full one."""
    w = np.zeros((depth, outputs), np.int8)
    w[rng.integers(0, depth, outputs), np.arange(outputs)] = rng.integers(1, 127, outputs)
    full = rng.random(outputs) < 0.05
    w[:, full] = rng.integers(1, 127, (depth, int(full.sum())))
    return w


def planned(rng: np.random.Generator, kernel: str, depth: int, outputs: int) -> Plan:
    w = thin(rng, depth, outputs)
    if kernel == "nm":
        w[np.arange(depth) % SMALL.nm_m >= SMALL.nm_n] = 0
    a = np.ones((SMALL.lanes, depth), np.int8)
    plan = plan_matmul(SMALL, a, w, kernel, drop_weight_rows=False)
    assert not plan.replay
    return plan


@pytest.mark.parametrize("kernel", STORED)
def test_a_beat_of_values_follows_its_index_words_and_no_more(kernel: str, rng):
    plan = planned(rng, kernel, 150, 300)
    words = SMALL.words_per_beat
    for stream in plan.streams:
        # The index word that each value byte is found in, by walking the decoder's steps.
        found, word = [], 0
        parts = zip(stream.blocks, stream.kernels, stream.index_cuts, strict=True)
        for block, name, cut in parts:
            steps = KERNELS[name].configured(SMALL).steps(block)
            word += 1
            for events, used in zip(steps.events, steps.word, strict=True):
                found += [word if steps.word.any() else word - 1] * int(events)
                word += int(used)
            assert word == cut
        sent = {INDEX: 0, VALUES: 0}
        for run in runs_of(SMALL, stream, replay=False):
            assert run.low == sent[run.ring]
            sent[run.ring] = run.high
            if run.ring == VALUES:
                first = 8 * words * run.low
                assert found[first] // words < sent[INDEX], "the word of its first event"
            elif 8 * words * sent[VALUES] < len(found):
                # Index words wait for no value: the next value's word is not behind them.
                assert run.high - 1 <= found[8 * words * sent[VALUES]] // words
        assert sent[INDEX] == -(-len(stream.index) // words)
        assert sent[VALUES] == -(-len(stream.values) // words)


@pytest.mark.parametrize("kernel", ["bitmap", "auto"])
def test_columns_with_one_value_each_end(kernel: str, rng):
    w = np.zeros((64, 960), np.int8)
    w[rng.integers(0, 64, 960), np.arange(960)] = 1
    plan = plan_matmul(SMALL, np.ones((4, 64), np.int8), w, kernel)
    assert not plan.replay
    assert count_cycles(plan).events == 960
