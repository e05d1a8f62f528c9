"""Random starts: every register and memory of the emitted Verilog, by seed."""

import re

import pytest

from rtl_gen.config import derive, load
from rtl_gen.emit import verilog
from rtl_gen.top.array_top import ArrayTop
from sim.benches.power_up import powered_up


@pytest.fixture(scope="module")
def text() -> str:
    derived = derive(load("kernels"))
    return verilog(ArrayTop(derived.shape, 1, derived.selector))


def test_every_register_and_memory_begins_at_random(text: str):
    started = powered_up(text, 3)
    declared = re.findall(r"^ *reg\b.*", text, re.MULTILINE)
    found = re.findall(r"^ *reg\b.*", started, re.MULTILINE)
    memories = [line for line in declared if line.rstrip(";").endswith(":0]")]
    assert memories
    assert started.count("initial begin : power_up_") == len(memories)
    # All but the memories' own filling.
    begun = [line for line in found if re.search(r"= \d+'h[0-9a-f]+;$", line)]
    assert len(begun) == len(declared) - len(memories)
    assert len({line.split("=")[1] for line in begun}) > 50


def test_the_seed_decides(text: str):
    assert powered_up(text, 3) == powered_up(text, 3)
    assert powered_up(text, 3) != powered_up(text, 4)


def test_other_verilog_is_refused():
    with pytest.raises(ValueError, match="must declare registers"):
        powered_up("module m; endmodule\n", 1)
