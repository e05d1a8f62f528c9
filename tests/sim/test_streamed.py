"""Weights that stream through rings much smaller than themselves: nothing waits for what is behind.

The number of values to an index word changes along the columns, so that any order which knows
averages alone fills one ring while the other starves.
"""

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.formats import STORED
from golden.operators.matmul import matmul
from golden.planner.choose import built_kernels
from golden.planner.product import plan_matmul
from golden.shape import ArrayShape
from sim.verilator import ArrayDevice
from tests.golden.plans import BlockByBlock
from tests.sim.opened import device_of

pytestmark = pytest.mark.slow  # builds simulators

COMMON = {
    "lanes": 2,
    "k_tile": 64,
    "columns": 192,
    "activation_tiles": 2,
    "queue": 8,
    "data_bits": 256,
    "mac": "packed",
}
device = device_of(
    {
        "small value rings": ArrayShape(
            **COMMON, engines=2, group=2, index_words=1024, value_words=32, kernels=STORED
        ),
        "small index rings": ArrayShape(
            **COMMON, engines=3, group=3, index_words=128, value_words=1024, kernels=STORED
        ),
    }
)


def in_turns(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """Stretches of columns that are full, nearly empty, empty, or have one value each."""
    w = rng.integers(1, 128, (depth, outputs)).astype(np.int8)
    low = 0
    while low < outputs:
        high = low + int(rng.integers(1, 60))
        kept = np.zeros((depth, high - low), bool)
        kind = rng.integers(4)
        if kind == 0:
            kept[:] = True
        elif kind == 1:
            kept = rng.random(kept.shape) < 0.03
        elif kind == 2:
            kept[rng.integers(depth)] = True
        w[:, low:high][~kept[:, : outputs - low]] = 0
        low = high
    return w


@pytest.mark.parametrize("kernel", [*STORED, "parts"])
def test_no_beat_waits_for_a_later_one(device: ArrayDevice, rng: np.random.Generator, kernel: str):
    shape = device.shape
    kernels = built_kernels(shape, "auto")
    for depth in (shape.k_tile, 2 * shape.k_tile + 7):
        w = in_turns(rng, depth, shape.engines * shape.columns - 1)
        if kernel == "nm":
            w[np.arange(depth) % shape.nm_m >= shape.nm_n] = 0
        if kernel == "band":
            w[1::2] = 0
        a = rng.integers(-128, 128, (shape.lanes, depth)).astype(np.int8)

        def split(block: np.ndarray) -> list[tuple[str, np.ndarray]]:
            owner = rng.integers(0, 2, block.shape)
            parts = [np.where(owner == part, block, 0).astype(np.int8) for part in (0, 1)]
            able = [[k.name for k in kernels if k.accepts(part)] for part in parts]
            return [(str(rng.choice(n)), p) for n, p in zip(able, parts, strict=True)]

        chooser = BlockByBlock(shape, split) if kernel == "parts" else None
        name = "auto" if kernel == "parts" else kernel
        plan = plan_matmul(shape, a, w, name, chooser=chooser, drop_weight_rows=False)
        assert not plan.replay
        wanted = matmul(a, w)
        device.pace(0, 0, 0)
        before = device.cycles
        np.testing.assert_array_equal(device.matmul(plan, a, limit=20_000), wanted)
        assert device.cycles - before == count_cycles(plan).cycles
        for idle, stall in ((700, 0), (300, 500)):
            device.pace(idle, stall, int(rng.integers(1 << 30)))
            np.testing.assert_array_equal(device.matmul(plan, a, limit=20_000), wanted)
