"""The operand feeder in the cycle model; that it is the RTL's is for tests/sim/test_operand.py."""

from typing import Any, cast

import numpy as np
import pytest

from golden.cycles.operand import choice_latency, choice_spacing, count_operand
from golden.program.deal import deal_operand
from golden.program.operand import plan_operand
from golden.selector.selector import Registers, Selector
from rtl_gen.fuse.unit import FuseUnit
from tests.operands import operand_config
from tests.rtl_gen.fuse_blocks import random_table


@pytest.mark.parametrize("selector", ["exact", "lossy"])
def test_only_the_first_block_waits_for_its_choice(selector: str, monkeypatch, rng):
    """Choices that took no time would save their latency once, whatever the number of blocks."""
    made = operand_config(selector, data_bits=128)
    p = made.selector
    assert p is not None
    table = random_table(rng, ["raw", "dense"], [(64, p.columns)])
    operand = rng.integers(-128, 128, (192, 128)).astype(np.int8)
    deal = deal_operand(made.shape, p, *operand.shape, 1)
    assert len(deal.blocks) == 48
    assert min(block.words for block in deal.blocks) > choice_spacing(p)
    jobs = plan_operand(deal, p, Selector(table, Registers()), table, operand, 4)
    taken = count_operand(jobs, p).cycles
    monkeypatch.setattr("golden.cycles.operand.choice_latency", lambda _: 0)
    assert 0 < taken - count_operand(jobs, p).cycles <= choice_latency(p)


@pytest.mark.parametrize("selector", ["exact", "lossy"])
def test_the_selectors_times_are_its_own(selector: str):
    p = operand_config(selector).selector
    assert p is not None
    unit = FuseUnit(p)
    cast(Any, unit)._MustUse__silence = True
    assert (unit.latency_cycles, unit.free_words) == (choice_latency(p), choice_spacing(p))
