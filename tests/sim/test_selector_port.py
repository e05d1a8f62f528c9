"""The fuse selector beside the array: decisions through registers and streams, while it works."""

from collections.abc import Iterator

import numpy as np
import pytest

from flows.build import open_device
from golden.cycles.count import count_cycles
from golden.operators.matmul import matmul
from golden.program.plan import plan_matmul
from golden.selector.selector import Registers, Selector
from golden.selector.unit import describe_raw
from rtl_gen.config import Derived, derive, parse
from rtl_gen.top.registers import SELECTOR_REGISTERS
from sim.verilator import ArrayDevice
from sim.verilator.selector_host import SelectorHost
from tests.bins import draws
from tests.rtl_gen.fuse_blocks import random_table

pytestmark = pytest.mark.slow  # builds simulators

FIELDS = ("candidate", "kernel", "cost", "error")
BAD_SELECTOR = 1 << 5


def derived(selector: str) -> Derived:
    intent = {
        "name": "chooser",
        "target": {"device": "lfe5u-85f"},
        "schedule": {
            "unroll": {"m": 4, "n": 4},
            "tile": {"m": 4, "n": 64, "k": 64},
            "kernels": ["dense", "bitmap", "block"],
            "selector": selector,
        },
        "interface": {"data_bits": 64},
    }
    return derive(parse(intent, "test"))


@pytest.fixture(scope="module", params=["exact", "lossy"])
def opened(request) -> Iterator[tuple[Derived, ArrayDevice]]:
    made = derived(request.param)
    with open_device(made) as device:
        yield made, device


def raw_block(rng: np.random.Generator, whole: bool = False) -> np.ndarray:
    depth, columns = (64, 16) if whole else (int(rng.integers(1, 65)), int(rng.integers(1, 17)))
    values = rng.integers(-128, 128, (depth, columns)) >> rng.integers(0, 8)
    values[rng.random((depth, columns)) >= rng.choice([0, 0.05, 0.2, 0.5, 1])] = 0
    if rng.random() < 0.1:
        values = rng.choice(np.array([-128, 127, 0]), (depth, columns))
    return values.astype(np.int8)


def host_of(
    opened: tuple[Derived, ArrayDevice], rng: np.random.Generator, registers: Registers
) -> tuple[SelectorHost, Selector, list[np.ndarray], object]:
    made, device = opened
    parameters = made.selector
    assert parameters is not None
    device.write("CONTROL", 2)
    blocks = [raw_block(rng) for _ in range(300)]
    # A table under which three candidates are chosen; of some one is always the cheapest.
    chosen: set[int] = set()
    for _ in draws(1, lambda: len(chosen) > 2, most=300):
        table = random_table(rng, shapes=[(64, 16)])
        golden = Selector(table, registers, cycle_bits=parameters.cycle_bits)
        expected = golden.run(describe_raw(table, parameters, np.zeros(300, int), blocks))
        chosen.clear()
        chosen.update(expected.candidate.tolist())
    host = SelectorHost(device, parameters)
    host.load(table)
    host.set(registers)
    return host, golden, blocks, expected


@pytest.mark.parametrize(("idle", "stall"), [(0, 0), (300, 500)])
def test_choices_while_a_product_runs(opened, idle: int, stall: int, rng):
    made, device = opened
    # No error is small enough, so that any moves the weights.
    registers = Registers(alpha=300, beta=400, alpha_max=9000, beta_min=3, budget=0)
    host, golden, blocks, expected = host_of(opened, rng, registers)
    a = rng.integers(-128, 128, (9, 200)).astype(np.int8)
    w = rng.integers(-128, 128, (200, 300)).astype(np.int8)
    plan = plan_matmul(made.shape, a, w, "bitmap")
    host.begin(blocks, idle=idle, stall=stall, seed=int(rng.integers(1 << 32)))
    before = device.cycles
    output = device.matmul(plan, a)
    during = host.chosen
    found = host.finish()
    assert np.array_equal(output, matmul(a, w))
    assert device.cycles - before == count_cycles(plan).cycles
    assert during > 10, "the streams must overlap"
    for name in FIELDS:
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    assert device.read("SELECTOR_CHOICES") == len(blocks)
    if made.selector.lossy:
        assert host.state == (golden.running_error, golden.alpha, golden.beta)
        assert golden.running_error == 0 or golden.alpha > registers.alpha
    assert device.read("ERROR") == 0


def test_a_word_per_cycle(opened, rng):
    _, device = opened
    host, *_ = host_of(opened, rng, Registers())
    blocks = [raw_block(rng, whole=True) for _ in range(20)]
    host.begin(blocks)
    device.wait(20 * 64 * 16 // 8)
    # 128 words to a block, none of them waits.
    assert device.selector_progress[0] == 20 * 128
    host.finish()


def test_reset_registers_and_reset(opened, rng):
    made, device = opened
    host, _, blocks, _ = host_of(opened, rng, Registers(alpha=5, beta=7, budget=0))
    held = {r.name: device.read(r.name) for r in SELECTOR_REGISTERS}
    host.begin(blocks)
    device.wait(500)
    assert host.chosen
    device.begin_selector(np.zeros((0, 10), np.uint8), np.zeros((0, 16), np.uint8), 0, 0, 0)
    device.write("CONTROL", 2)
    device.wait(5)
    assert {r.name: device.read(r.name) for r in SELECTOR_REGISTERS} == held
    assert host.state[1:] == (5, 7)
    # A block cut short leaves nothing behind.
    table = random_table(rng, shapes=[(64, 16)])
    host.load(table)
    host.begin(blocks)
    expected = Selector(
        table, Registers(alpha=5, beta=7, budget=0), cycle_bits=made.selector.cycle_bits
    ).run(describe_raw(table, made.selector, np.zeros(300, int), blocks))
    found = host.finish()
    for name in FIELDS:
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize(
    ("settings", "held"),
    [
        ([("SELECTOR_BUDGET", 1 << 16)], ("SELECTOR_BUDGET", 0x8000_FFFF)),
        ([("TABLE_ADDRESS", 64)], ("TABLE_ADDRESS", 3)),
        ([("TABLE_ADDRESS", 63), ("TABLE_HIGH", 0), ("TABLE_HIGH", 0)], ("TABLE_ADDRESS", 64)),
        ([("SELECTOR_ALPHA", 0x0001_0002), ("SELECTOR_CONTROL", 1)], ("SELECTOR_ERROR", 0)),
        ([("SELECTOR_BETA", 0x0009_0002), ("SELECTOR_CONTROL", 1)], ("SELECTOR_ERROR", 0)),
    ],
)
def test_bad_settings(opened, settings: list[tuple[str, int]], held: tuple[str, int], rng):
    _, device = opened
    host, _, blocks, _ = host_of(opened, rng, Registers())
    device.write("TABLE_ADDRESS", 3)
    assert device.read("ERROR") == 0
    for name, value in settings:
        device.write(name, value)
    assert device.read("ERROR") == BAD_SELECTOR
    assert device.read(held[0]) == held[1]
    # Neither the array nor the selector stops.
    assert device.read("STATUS") & 4 == 0
    host.begin(blocks[:20])
    assert len(host.finish().cost) == 20
    device.write("CONTROL", 2)
    assert device.read("ERROR") == 0
    device.write("SELECTOR_ALPHA", 0xFFFF_0100)
    device.write("SELECTOR_BETA", 0x0000_0100)
