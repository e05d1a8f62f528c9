"""The selector's bench: its parts on small instances."""

from typing import Any, cast

import numpy as np
import pytest

from flows.bench import BENCHES
from flows.bench import selector as bench
from flows.operand import operand_table
from golden.selector.selector import Selector
from golden.selector.unit import UnitParameters, describe_raw


class Model:
    """Answers like the compiler, but for the blocks of ``wrong``."""

    def __init__(self, wrong: tuple[int, ...]) -> None:
        self.parameters = UnitParameters.of_operand(bench.bench_config(lossy=True).shape, True)
        self.wrong = list(wrong)

    def play(self, table, registers, shape, blocks):
        selector = Selector(table, registers, cycle_bits=self.parameters.cycle_bits)
        choice = selector.run(describe_raw(table, self.parameters, shape, blocks))
        choice.cost[self.wrong] += 1

        class Played:
            pass

        played = Played()
        played.choice = choice
        return played


@pytest.mark.parametrize("wrong", [(), (3, 40)])
def test_unlike_decisions_are_counted(wrong: tuple[int, ...], fixed_rng):
    table = operand_table(bench.bench_config(lossy=True))
    blocks = [bench.mixed_block(fixed_rng, 64, 16) for _ in range(60)]
    others = bench.scrambled(table, fixed_rng)
    for used in (table, others):
        played, unlike = bench.compare(cast(Any, Model(wrong)), used, blocks)
        assert unlike == len(wrong)
        assert len(np.unique(played.choice.candidate)) > 1
    assert not np.array_equal(others.rom_image(), table.rom_image())


def test_mixed_blocks_are_of_every_kind(fixed_rng):
    blocks = [bench.mixed_block(fixed_rng, 64, 16) for _ in range(200)]
    shares = np.array([np.count_nonzero(block) / block.size for block in blocks])
    assert (shares == 0).any()
    assert (shares > 0.9).any()
    assert ((shares > 0.02) & (shares < 0.4)).any()


def test_added_cycles():
    came = np.array([10, 20, 30, 40])
    # Engines busy longer than the delivery: only each one's first block waits for its choice.
    assert bench.added_cycles([100] * 4, came, came + 5, 2) == (220, 225, 0)
    # Engines that wait for their operand anyway wait for every choice, but end 5 later once.
    assert bench.added_cycles([3] * 4, came, came + 5, 2) == (43, 48, 10)
    assert bench.added_cycles([3] * 4, came, came, 2) == (43, 43, 0)


def test_the_report_has_its_bars():
    assert BENCHES["selector"] is bench.run
    area = {"lut": 100, "lutram": 8, "dsp": 2}
    share = {
        "data_bits": 64,
        "groups": 1,
        "candidates": "exact",
        "word_bits": 64,
        "fusion_lut": 100,
        "array_lut": 1000,
        "array_lutram": 10,
        "array_dsp": 128,
        "selector": area,
        "lut": 200,
        "dsp": 4,
        "lutram": 8,
        "share": 0.2,
        "tool": "Yosys",
    }
    decided = {"candidates": "exact", "unlike": 0, "bubbles": 1, "chosen": [5, 3, 2]}
    layer = {"candidates": "exact", "layer": "mixed", "added": 1, "cycles": 50, "share": 0.02}
    report = bench._report([share], [decided], [layer], [])
    assert [len(row) for row in report["rows"]] == [len(report["header"])]
    assert [bar["met"] for bar in report["bars"]] == [True, True, True, False, False]
