"""Statistics of raw blocks: naive against vectorised, and against the kernels' own encoders."""

from typing import Any, cast

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import KERNELS, STORED
from golden.selector.candidates import Candidate, relative_error
from golden.selector.pattern import PatternParameters, analyse
from golden.selector.unit import (
    UnitParameters,
    describe_raw,
    operand_candidates,
    raw_statistics,
    raw_statistics_naive,
)

CANDIDATES = (
    *operand_candidates(("raw", "dense"), lossy=True),
    Candidate("dense", 3),
    Candidate("raw", 8),
)


def parameters(dense_rows: int = 1) -> UnitParameters:
    return UnitParameters(
        candidates=CANDIDATES, sizes=(1024,), k_tile=64, columns=16, dense_rows=dense_rows
    )


def random_block(rng: np.random.Generator) -> np.ndarray:
    """Int8 of odd sizes, every density and magnitude."""
    size = (int(rng.integers(1, 65)), int(rng.integers(1, 17)))
    values = rng.integers(-128, 128, size) >> rng.integers(0, 8)
    if rng.random() < 0.2:
        values = rng.choice(np.array([-128, -127, 0, 127]), size)
    keep = rng.random(size) < rng.choice([0, 0.02, 0.2, 0.6, 1])
    return np.where(keep, values, 0).astype(np.int8)


@pytest.mark.parametrize("dense_rows", [1, 2, 8, 64])
def test_naive_and_vectorised_agree(dense_rows: int, rng):
    p = parameters(dense_rows)
    for number in range(25):
        block = random_block(rng)
        if number == 0:
            block = np.ones((64, 3), np.int8)
        naive, fast = raw_statistics_naive(block, p), raw_statistics(block, p)
        for specified, found in zip(naive, fast, strict=True):
            assert specified == found.tolist()
        histogram, infeasible = fast
        assert histogram.tolist() == list(
            analyse(block, PatternParameters(k_tile=64, columns=16)).magnitude_histogram
        )
        ragged = len(block) % dense_rows != 0
        assert infeasible.tolist() == [c.kernel == "dense" and ragged for c in CANDIDATES]


def test_the_energy_in_hardware_holds_the_largest_block():
    p = parameters()
    block = np.full((64, 16), -128, np.int8)
    histogram, *_ = raw_statistics(block, p)
    energy = int((histogram[1:] << np.arange(0, 16, 2)).sum())
    assert energy.bit_length() <= p.energy_bits
    assert int(histogram.sum()).bit_length() <= p.count_bits
    assert relative_error(histogram, 8) == 0xFFFF


def test_candidates_follow_the_kernels():
    everything = tuple(KERNELS)
    assert operand_candidates(STORED, lossy=True) == ()
    assert operand_candidates(everything, lossy=False) == (Candidate("raw"), Candidate("dense"))
    assert operand_candidates(("bitmap", "raw"), lossy=False) == (Candidate("raw"),)
    assert [c.threshold for c in operand_candidates(everything, lossy=True)] == [0, 0, 2, 4]


def test_cycles_of_a_block():
    def cycles(*thresholds: int) -> int:
        candidates = tuple(Candidate("raw", t) for t in thresholds)
        return UnitParameters(candidates=candidates, sizes=(64,)).block_cycles

    assert cycles(0, 0, 0) == 3
    assert cycles(0, 2, 2, 0, 2) == 5 + 17
    assert cycles(2, 3, 2) == 3 + 3 * 17


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("candidates", (), "candidates: must have 1 to 64 entries, got 0"),
        ("sizes", (0,), "sizes: must be 1 to 16777215, got 0"),
        ("k_tile", 0, "k_tile: must be 1 to 4096, got 0"),
        ("columns", 4097, "columns: must be 1 to 4096, got 4097"),
        ("word_rows", 24, "word_rows: must be one of 8, 16, 32, 64, got 24"),
        ("dense_rows", 3, "dense_rows: must be one of 1, 2, 4, 8, 16, 32, 64, got 3"),
        (
            "candidates",
            (Candidate("bitmap"),),
            "candidates: must be of the kernels raw and dense, got bitmap",
        ),
    ],
)
def test_parameters_are_checked(field: str, value: object, message: str):
    good = {"candidates": CANDIDATES, "sizes": (64,)}
    with pytest.raises(BadInput, match=message):
        UnitParameters(**{**good, field: value})


def test_blocks_and_tables_that_do_not_suit_are_refused():
    p = parameters()
    for function in (raw_statistics, raw_statistics_naive):
        with pytest.raises(BadInput, match="block: must have 1 to 64 rows, got 65"):
            function(np.zeros((65, 1), np.int8), p)
        with pytest.raises(BadInput, match="block: must be int8 of two dimensions, got int16"):
            function(np.zeros((4, 4), np.int16), p)

    class Table:
        shapes = ((16, 4),)

    with pytest.raises(BadInput, match=r"sizes: must be those of the table's shapes, \(64,\)"):
        describe_raw(cast(Any, Table()), p, np.zeros(1), [np.zeros((4, 4), np.int8)])
