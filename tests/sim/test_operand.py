"""Run-time operands on the RTL: what the selector chose is what runs, in the foreseen cycles."""

from collections.abc import Iterator

import numpy as np
import pytest

from flows.build import open_device
from golden.cycles.count import count_cycles
from golden.cycles.operand import count_operand
from golden.errors import CheckFailed
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.program.deal import Deal, deal_operand
from golden.program.operand import OperandJob, plan_operand
from golden.selector.selector import Registers, Selector
from rtl_gen.config import Derived
from rtl_gen.top.registers import SELECTOR_REGISTERS
from sim.verilator import ArrayDevice
from sim.verilator.selector_host import SelectorHost
from tests.bins import draws
from tests.operands import BUILT, random_operand
from tests.rtl_gen.fuse_blocks import random_table

# Errors move the weights, in both directions.
REGISTERS = Registers(alpha=300, beta=400, alpha_max=9000, beta_min=3, budget=900)
BAD_START, BAD_SELECTOR, OPERAND_LENGTH = 1 << 3, 1 << 5, 1 << 6

Opened = tuple[Derived, ArrayDevice]


@pytest.fixture(scope="module", params=sorted(BUILT))
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    made = BUILT[request.param]
    with open_device(made, level="-O1") as device:
        yield made, device


class Bench:
    """One device and its golden twin, both at rest, with any table at all."""

    def __init__(self, opened: Opened, rng: np.random.Generator) -> None:
        self.made, self.device = opened
        assert self.made.selector is not None
        self.parameters = self.made.selector
        self.rng = rng
        self.device.write("CONTROL", 2)
        self.device.pace(0, 0, 0)
        shapes = [(self.parameters.k_tile, self.parameters.columns)]
        self.table = random_table(rng, ["raw", "dense"], shapes)
        self.host = SelectorHost(self.device)
        self.host.load(self.table)
        self.host.set(REGISTERS)
        self.golden = Selector(self.table, REGISTERS, cycle_bits=self.parameters.cycle_bits)

    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        rows, depth, outputs = (int(self.rng.integers(1, most)) for most in (30, 300, 100))
        if self.rng.random() < 0.4:
            depth = 64 * int(self.rng.integers(1, 5))
        a = self.rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        return a, random_operand(self.rng, depth, outputs)

    def plan(self, a: np.ndarray, operand: np.ndarray) -> tuple[Deal, list[OperandJob]]:
        p, shape = self.parameters, self.made.shape
        deal = deal_operand(shape, p, *operand.shape, -(-len(a) // shape.lanes))
        return deal, plan_operand(deal, p, self.golden, self.table, operand, len(a))

    def expected(self, a: np.ndarray, jobs: list[OperandJob]) -> np.ndarray:
        lanes = self.made.shape.lanes
        return np.concatenate(
            [matmul(a[j.tokens.start * lanes : j.tokens.stop * lanes], j.multiplied) for j in jobs]
        )

    def state(self) -> tuple[int, int, int]:
        return self.golden.running_error, self.golden.alpha, self.golden.beta


def test_random_products(opened: Opened, rng):
    bench = Bench(opened, rng)
    device, seen = bench.device, set()
    blocks = 0
    for number in draws(25, lambda: len(seen) > 1):
        if number and number % 5 == 0:
            # A table may price one candidate below the other everywhere.
            bench, blocks = Bench(opened, rng), 0
        a, operand = bench.operands()
        deal, jobs = bench.plan(a, operand)
        before = device.cycles, device.events
        output = bench.host.multiply(jobs, a, operand, limit=5000)
        np.testing.assert_array_equal(output, bench.expected(a, jobs))
        count = count_operand(jobs, bench.parameters)
        assert (device.cycles - before[0], device.events - before[1]) == (
            count.cycles,
            count.events,
        )
        blocks += len(deal.blocks) * len(jobs)
        for job in jobs:
            seen.update(job.candidates.tolist())
        chosen = device.read("SELECTOR_CHOICES")
        assert chosen == blocks
        if bench.parameters.lossy:
            assert bench.host.state == bench.state()
    assert len(seen) > 1


def test_a_paced_host(opened: Opened, rng):
    """Streams that idle and results that wait change no bit, and no choice."""
    bench = Bench(opened, rng)
    for idle, stall in ((300, 0), (0, 600), (500, 300)):
        bench.device.pace(idle, stall, int(rng.integers(1 << 32)))
        for _ in range(3):
            a, operand = bench.operands()
            _, jobs = bench.plan(a, operand)
            output = bench.host.multiply(jobs, a, operand, limit=5000)
            np.testing.assert_array_equal(output, bench.expected(a, jobs))
    if bench.parameters.lossy:
        assert bench.host.state == bench.state()


def test_stored_weights_between_operands(opened: Opened, rng):
    bench = Bench(opened, rng)
    for kernel in ("raw", "dense"):
        a, operand = bench.operands()
        _, jobs = bench.plan(a, operand)
        found = bench.host.multiply(jobs, a, operand, limit=5000)
        np.testing.assert_array_equal(found, bench.expected(a, jobs))
        plan = plan_matmul(bench.made.shape, a, operand, kernel)
        before = bench.device.cycles
        found = bench.device.matmul(plan, a, limit=5000)
        np.testing.assert_array_equal(found, matmul(a, operand))
        assert bench.device.cycles - before == count_cycles(plan).cycles


def test_bytes_behind_a_columns_last_row_are_not_looked_at(opened: Opened, rng, monkeypatch):
    """An operand of odd depth needs no padding of zeros."""
    bench = Bench(opened, rng)
    a = rng.integers(-128, 128, (5, 67)).astype(np.int8)
    operand = random_operand(rng, 67, 30)
    deal, jobs = bench.plan(a, operand)
    words = deal.words(operand).view(np.int8).reshape(-1, 8).copy()
    at = 0
    for block in deal.blocks:
        per_column = -(-block.depth // 8)
        for column in range(block.columns):
            last = at + (column + 1) * per_column - 1
            words[last, (block.depth - 1) % 8 + 1 :] = -77
        at += block.words
    assert at == len(words)
    monkeypatch.setattr(Deal, "words", lambda *_: words.reshape(-1).view(np.uint64))
    found = bench.host.multiply(jobs, a, operand, limit=5000)
    np.testing.assert_array_equal(found, bench.expected(a, jobs))


def test_a_wrong_length_stops_the_array_until_reset(opened: Opened, rng, monkeypatch):
    bench = Bench(opened, rng)
    a, operand = bench.operands()
    deal, jobs = bench.plan(a, operand)
    words = deal.words(operand)
    for wrong in (words[:-1], np.append(words, words[-1:])):
        with monkeypatch.context() as patch:
            patch.setattr(Deal, "words", lambda *_, wrong=wrong: wrong)
            if len(wrong):
                with pytest.raises(CheckFailed, match="operand_length"):
                    bench.host.multiply(jobs, a, operand, limit=300)
                assert bench.device.read("STATUS") & 4
        bench.device.write("CONTROL", 2)
        assert bench.device.read("ERROR") == 0
    # Reset took the selector back to rest, and registers and table stayed.
    bench.golden.reset()
    deal, jobs = bench.plan(a, operand)
    output = bench.host.multiply(jobs, a, operand, limit=5000)
    np.testing.assert_array_equal(output, bench.expected(a, jobs))


@pytest.mark.parametrize(
    ("settings", "error", "held"),
    [
        ([("SELECTOR_BUDGET", 1 << 16)], BAD_SELECTOR, ("SELECTOR_BUDGET", 0x8000_0384)),
        ([("TABLE_ADDRESS", 64)], BAD_SELECTOR, ("TABLE_ADDRESS", 3)),
        (
            [("TABLE_ADDRESS", 63), ("TABLE_HIGH", 0), ("TABLE_HIGH", 0)],
            BAD_SELECTOR,
            ("TABLE_ADDRESS", 64),
        ),
        (
            [("SELECTOR_ALPHA", 0x0001_0002), ("SELECTOR_CONTROL", 1)],
            BAD_SELECTOR,
            ("SELECTOR_ERROR", 0),
        ),
        (
            [("SELECTOR_BETA", 0x0009_0002), ("SELECTOR_CONTROL", 1)],
            BAD_SELECTOR,
            ("SELECTOR_ERROR", 0),
        ),
        ([("OPERAND_SHARE", 9)], BAD_SELECTOR, ("OPERAND_SHARE", 0)),
        ([("OPERAND_ROWS", (1 << 17) + 1)], BAD_SELECTOR, ("OPERAND_ROWS", 5)),
        ([("OPERAND_COLUMNS", 1 << 20)], BAD_SELECTOR, ("OPERAND_COLUMNS", 7)),
        (
            [("OPERAND_SHARE", 1), ("OPERAND_ROWS", 0), ("CONTROL", 1)],
            BAD_START,
            ("OPERAND_ROWS", 0),
        ),
        (
            [("OPERAND_SHARE", 8), ("OPERAND_COLUMNS", 0), ("CONTROL", 1)],
            BAD_START,
            ("OPERAND_COLUMNS", 0),
        ),
    ],
)
def test_bad_settings(
    opened: Opened, settings: list[tuple[str, int]], error: int, held: tuple[str, int], rng
):
    bench = Bench(opened, rng)
    device = bench.device
    for name, value in (("TABLE_ADDRESS", 3), ("OPERAND_ROWS", 5), ("OPERAND_COLUMNS", 7)):
        device.write(name, value)
    assert device.read("ERROR") == 0
    for name, value in settings:
        device.write(name, value)
    assert device.read("ERROR") == error
    assert device.read(held[0]) == held[1]
    # Nothing stops.
    assert device.read("STATUS") & 5 == 0
    device.write("CONTROL", 2)
    device.write("OPERAND_SHARE", 0)
    assert device.read("ERROR") == 0


def test_reset_keeps_the_registers(opened: Opened, rng):
    bench = Bench(opened, rng)
    a, operand = bench.operands()
    _, jobs = bench.plan(a, operand)
    bench.host.multiply(jobs, a, operand, limit=5000)
    bench.device.write("CONTROL", 2)
    held = {r.name: bench.device.read(r.name) for r in SELECTOR_REGISTERS if r.access == "rw"}
    assert held["SELECTOR_ALPHA"] == 300 | 9000 << 16
    assert held["OPERAND_COLUMNS"] == operand.shape[1]
    assert bench.device.read("SELECTOR_CHOICES") == 0
    if bench.parameters.lossy:
        assert bench.host.state == (0, 300, 400)
