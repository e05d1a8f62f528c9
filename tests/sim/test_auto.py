"""`--kernel auto` on the verilated array: every plan that competes is exact, cycle for cycle."""

from collections.abc import Iterator

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.operators.matmul import matmul
from golden.planner.compete import compile_product
from golden.planner.model_table import computed_table
from golden.selector.table import PerformanceTable
from golden.shape import ArrayShape
from sim.verilator import ArrayDevice
from tests.sim.opened import opened_device

pytestmark = pytest.mark.slow  # builds simulators

SHAPE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=64,
    kernels=("dense", "bitmap", "runlength", "nm", "block"), mac="packed",
)  # fmt: skip


@pytest.fixture(scope="module")
def device() -> Iterator[ArrayDevice]:
    with opened_device(SHAPE) as opened:
        yield opened


@pytest.fixture(scope="module")
def table() -> PerformanceTable:
    return computed_table(SHAPE, "0" * 64)


def patchwork(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """Patches of 64 rows and a quarter of the columns, each of a structure of its own."""
    keep = np.zeros((depth, outputs), bool)
    for low in range(0, depth, 64):
        for columns in np.array_split(rng.permutation(outputs), 4):
            rows = min(64, depth - low)
            size = (rows, len(columns))
            kind = rng.integers(5)
            if kind == 0:
                patch = rng.random(size) < 0.25
            elif kind == 1:
                patch = (rng.random((8, len(columns))) < 0.25).repeat(8, axis=0)[:rows]
            elif kind == 2:
                rank = rng.random((16, 4, len(columns))).argsort(axis=1).argsort(axis=1)
                patch = (rank < 2).reshape(64, -1)[:rows]
            elif kind == 3:
                start = rng.integers(0, 64, len(columns))
                patch = (np.arange(rows)[:, None] - start) % 64 < 14
            else:
                patch = np.zeros(size, bool)
            keep[low : low + rows, columns] = patch
    values = rng.choice([-128, -127, -1, 1, 127], (depth, outputs))
    return np.where(keep, values, 0).astype(np.int8)


@pytest.mark.parametrize("objective", ["cycles", "product"])
def test_every_competing_plan_is_exact_on_the_rtl(
    objective: str,
    device: ArrayDevice,
    table: PerformanceTable,
    rng: np.random.Generator,
    fixed_rng: np.random.Generator,
):
    names, kernels, parts = set(), set(), 0
    # The fixed one alone brings every plan and three kernels into play.
    drawn = ((5, 192, 24), fixed_rng), ((9, 131, 29), rng)
    cases = [(size, patchwork(generator, *size[1:])) for size, generator in drawn]
    # Full runs and stray non-zeros: a block in two parts.
    beside = np.zeros((64, 32), np.int8)
    beside[32:] = 5
    for column in range(32):
        beside[column % 7 : 28 : 7, column] = -128
    for size, weights in [*cases, ((3, 64, 32), beside)]:
        rows, depth, _ = size
        activations = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        compiled = compile_product(SHAPE, activations, weights, lambda: table, objective=objective)
        assert compiled.chosen in compiled.candidates
        for candidate in compiled.candidates:
            before = device.cycles
            output = device.matmul(candidate.plan, activations, limit=50_000)
            np.testing.assert_array_equal(output, matmul(activations, weights), candidate.name)
            cycles = count_cycles(candidate.plan).cycles
            assert device.cycles - before == cycles == candidate.cycles, (size, candidate.name)
            names.add(candidate.name)
            kernels |= set(candidate.plan.kernel_blocks)
            blocks = sum(len(np.unique(stream.tiles)) for stream in candidate.plan.streams)
            parts += sum(len(stream.blocks) for stream in candidate.plan.streams) - blocks
    assert {"selector", "selector, grouped columns"} <= names
    assert len(kernels) >= 3, kernels
    assert parts or objective == "cycles"
