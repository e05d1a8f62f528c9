"""The dense core of a block, against its definition row by row."""

import numpy as np
import pytest

from golden.planner.decompose import dense_core


@pytest.mark.parametrize(("depth", "columns"), [(1, 1), (7, 3), (16, 4), (37, 5)])
@pytest.mark.parametrize("rows", [1, 4, 8])
@pytest.mark.parametrize("fill", [0.5, 0.75, 1.0])
def test_runs_that_are_full_enough(depth, columns, rows, fill, rng: np.random.Generator):
    block = np.where(rng.random((depth, columns)) < 0.7, -128, 0).astype(np.int8)
    found = dense_core(block, rows, fill)
    for column in range(columns):
        for low in range(0, depth, rows):
            run = block[low : low + rows, column] != 0
            expected = run if run.sum() >= fill * len(run) else np.zeros_like(run)
            assert found[low : low + rows, column].tolist() == expected.tolist()
