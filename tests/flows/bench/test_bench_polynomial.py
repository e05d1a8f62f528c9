"""The polynomial bench: its matrices, and that it sees a device that errs."""

from typing import Any, cast

import numpy as np
import pytest

from flows.bench import BENCHES
from flows.bench import polynomial as bench
from golden.cycles.count import count_cycles
from golden.operators.matmul import matmul
from golden.program.plan import Plan
from rtl_gen.config import derive, load


class Device:
    """Computes on numpy, with the cycle model's cycles; or wrong by one, in either."""

    def __init__(self, wrong: int, late: int) -> None:
        self.shape = derive(load("test")).shape
        self.cycles = 0
        self.wrong, self.late = wrong, late
        self.weights = np.zeros((0, 0), np.int8)

    def matmul(self, plan: Plan, a: np.ndarray) -> np.ndarray:
        self.cycles += count_cycles(plan).cycles + self.late
        return matmul(a, self.weights) + self.wrong


@pytest.mark.parametrize(("wrong", "late"), [(0, 0), (1, 0), (0, 3)])
def test_differences_are_counted(wrong: int, late: int, rng):
    device = Device(wrong, late)
    device.weights = rng.integers(-5, 6, (20, 20)).astype(np.int8)
    counts = {"cycles": 0, "dense": 0, "unlike": 0, "late": 0}
    product = bench._counted(cast(Any, device), counts)
    a = rng.integers(-128, 128, (2, 20)).astype(np.int8)
    assert np.array_equal(product(a, device.weights), matmul(a, device.weights) + wrong)
    assert (counts["unlike"], counts["late"]) == (wrong, late)
    assert counts["dense"] > 0
    assert counts["cycles"] == device.cycles > 0


def test_matrices_are_regular():
    assert BENCHES["polynomial"] is bench.run
    for name, matrix in bench.matrices().items():
        assert matrix.shape[0] == matrix.shape[1] > 0, name
        assert np.diag(matrix).all(), name
        assert 0 < np.count_nonzero(matrix) < matrix.size / 10, name
