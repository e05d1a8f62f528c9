"""Raw blocks among blocks of other kernels on the RTL: bytes from two places in one stream."""

from collections.abc import Iterator

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.formats import KERNELS
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape
from sim.verilator import ArrayDevice
from tests.bins import draws
from tests.golden.plans import BlockByBlock
from tests.sim.opened import opened_device

pytestmark = pytest.mark.slow  # builds simulators

SHAPE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=64, kernels=tuple(KERNELS), mac="packed",
)  # fmt: skip


@pytest.fixture(scope="module")
def device() -> Iterator[ArrayDevice]:
    with opened_device(SHAPE) as opened:
        yield opened


def test_blocks_of_all_kernels_in_turn(device: ArrayDevice, rng: np.random.Generator):
    """Each block is cut into rows of two kernels, one of them raw in every second block."""
    others = ("dense", "bitmap", "runlength", "block")
    used: set[str] = set()
    for _ in draws(30, lambda: used == {*others, "raw"}):
        rows, depth = int(rng.integers(1, 20)), int(rng.integers(2, 200))
        outputs = int(rng.integers(1, 30))
        a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
        w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
        w[rng.random(w.shape) < rng.choice([0.0, 0.5, 0.9])] = 0
        # The same for every call with the same block, which is planned more than once.
        salt = int(rng.integers(1 << 30))

        def split(block: np.ndarray, salt: int = salt) -> list[tuple[str, np.ndarray]]:
            mine = np.random.default_rng([salt, int(np.abs(block.astype(int)).sum())])
            first = mine.random(len(block)) < 0.5
            names = [str(mine.choice(others)), "raw"] if mine.random() < 0.7 else ["bitmap", "raw"]
            mine.shuffle(names)
            used.update(names)
            parts = (np.where(first[:, None], block, 0), np.where(first[:, None], 0, block))
            return [(n, part.astype(np.int8)) for n, part in zip(names, parts, strict=True)]

        plan = plan_matmul(SHAPE, a, w, "raw") if rng.random() < 0.2 else None
        if plan is None:
            plan = plan_matmul(SHAPE, a, w, chooser=BlockByBlock(SHAPE, split))
        count = count_cycles(plan)
        before = device.cycles, device.events
        np.testing.assert_array_equal(device.matmul(plan, a, limit=20_000), matmul(a, w))
        assert (device.cycles - before[0], device.events - before[1]) == (
            count.cycles,
            count.events,
        )


@pytest.mark.parametrize("depth", [1, 7, 8, 9, 63, 64, 65])
def test_bytes_behind_the_last_row_are_not_looked_at(
    device: ArrayDevice, depth: int, rng: np.random.Generator
):
    """Run-time operands need no padding of zeros."""
    a = rng.integers(-128, 128, (5, depth)).astype(np.int8)
    w = rng.integers(-128, 128, (depth, 6)).astype(np.int8)
    w[:, 1] = 0
    plan = plan_matmul(SHAPE, a, w, "raw")
    for stream in plan.streams:
        at = 0
        for block in stream.blocks:
            words = -(-block.shape[0] // 8)
            end = at + 1 + words * block.shape[1]
            spare = 8 * (8 * words - block.shape[0])
            if spare:
                filling = np.uint64(((1 << spare) - 1) << (64 - spare))
                stream.index[at + words : end : words] |= filling
            at = end
        assert at == len(stream.index)
    np.testing.assert_array_equal(device.matmul(plan, a), matmul(a, w))
