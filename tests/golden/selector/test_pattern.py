"""Pattern analysis: naive against numpy, predicted against encoded."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from golden.errors import BadInput
from golden.formats import Kernel
from golden.formats.bitmap import Bitmap
from golden.formats.block_runs import BlockRuns
from golden.formats.dense import Dense
from golden.formats.nm import StructuredNM
from golden.formats.runlength import RunLength
from golden.selector.pattern import Pattern, PatternParameters, analyse, analyse_naive
from golden.selector.predict import KernelParameters, predict
from golden.selector.signature import signature
from tests.golden.masks import banded, cases, fill


@pytest.mark.parametrize(
    "parameters",
    [
        PatternParameters(columns=16),
        PatternParameters(columns=9, gap_bits=3, signature_bits=64, cell_columns=1, seed=7),
        PatternParameters(k_tile=512, gap_bits=6, signature_bits=23, cell_columns=2, seed=0),
    ],
    ids=["usual", "short gaps", "long gaps"],
)
def test_numpy_repeats_the_specification(parameters: PatternParameters, rng):
    for name, block in cases(rng):
        assert analyse(block, parameters) == analyse_naive(block, parameters), name


def test_statistics_add_up(rng: np.random.Generator):
    for name, block in cases(rng):
        p = analyse(block)
        assert sum(p.column_histogram) == p.columns, name
        assert sum(p.magnitude_histogram) == block.size, name
        assert sum(p.magnitude_histogram[1:]) == p.occupied == np.count_nonzero(block), name
        assert p.magnitude_histogram[8] == np.count_nonzero(block == -128), name
        assert p.empty_rows == np.count_nonzero(~block.any(axis=1)), name
        assert p.empty_columns == np.count_nonzero(~block.any(axis=0)), name
        assert p.occupied <= p.envelope + 1 <= block.size + 1, name


def test_a_block_worked_by_hand():
    block = np.zeros((40, 3), np.int8)
    block[[0, 1, 20], 0] = [1, -128, 5]
    block[[2, 39], 1] = [-64, 127]
    assert analyse(block, PatternParameters(k_tile=64, columns=4)) == Pattern(
        depth=40,
        columns=3,
        gap_bits=4,
        occupied=5,
        occupied_rows=5,
        chunk_mask=0b111,
        # One column of none, one of two and one of three: both in 2 .. 3.
        column_histogram=(1, 0, 2, 0, 0, 0, 0, 0),
        magnitude_histogram=(115, 1, 0, 1, 0, 0, 0, 2, 1),
        runs=(4, 4, 4, 4),
        tails=(1, 1, 1, 1, 2),
        peaks=(2, 2, 2, 2),
        # Gaps 0, 0, 18 and 2, 36 with 14 zeros to a pad.
        pads=1 + 2,
        long_gaps=2,
        envelope=21 + 38,
        diagonal=1,
        signature=signature(block != 0),
    )


def kernels(parameters: KernelParameters) -> list[Kernel]:
    return [
        Dense(),
        Bitmap(),
        RunLength(parameters.gap_bits),
        StructuredNM(parameters.nm_n, parameters.nm_m),
        BlockRuns(parameters.block_rows),
    ]


@pytest.mark.parametrize(
    "parameters",
    [
        KernelParameters(),
        KernelParameters(gap_bits=3, nm_n=1, nm_m=2, block_rows=1),
        KernelParameters(gap_bits=5, nm_n=4, nm_m=8, block_rows=2),
        KernelParameters(gap_bits=8, nm_n=15, nm_m=16, block_rows=4),
        KernelParameters(gap_bits=4, nm_n=3, nm_m=4, block_rows=16),
    ],
)
def test_predictions_are_what_the_encoders_give(parameters: KernelParameters, rng):
    held = 0
    for name, block in cases(rng):
        pattern = analyse(block, PatternParameters(gap_bits=parameters.gap_bits))
        expected = {}
        for kernel in kernels(parameters):
            if kernel.accepts(block):
                index, values = kernel.encode(block)
                cycles = int(kernel.column_cycles(block != 0).sum())
                expected[kernel.name] = (cycles, 64 * len(index) + 8 * len(values))
        held += "nm" in expected
        assert predict(pattern, parameters) == expected, name
    assert 0 < held < len(cases(rng))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gap_bits": 5}, "gap_bits: must be 4 as in the pattern, got 5"),
        ({"nm_m": 5}, "nm: must have M of .* got 2:5"),
        ({"nm_n": 4}, "nm: must have .* N below M, got 4:4"),
        ({"block_rows": 3}, "block_rows: must be 1 or of .* got 3"),
    ],
)
def test_predict_refuses_parameters_without_statistics(changes: dict, message: str):
    pattern = analyse(np.ones((8, 8), np.int8))
    with pytest.raises(BadInput, match=message):
        predict(pattern, dataclasses.replace(KernelParameters(), **changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k_tile", 100),
        ("k_tile", 8192),
        ("columns", 0),
        ("gap_bits", 9),
        ("signature_bits", 7),
        ("cell_columns", 3),
        ("seed", -1),
        ("columns", "many"),
    ],
)
def test_parameters_are_checked(name: str, value: object):
    with pytest.raises(BadInput, match=f"pattern parameters: {name}: must be .*, got {value!r}"):
        PatternParameters(**{name: value})


@pytest.mark.parametrize(
    "block",
    [
        np.zeros((4, 4), np.int16),
        np.zeros(4, np.int8),
        np.zeros((0, 4), np.int8),
        np.zeros((4, 0), np.int8),
        np.zeros((257, 1), np.int8),
        np.zeros((1, 257), np.int8),
    ],
)
def test_blocks_are_checked(block: np.ndarray):
    for function in (analyse, analyse_naive):
        with pytest.raises(BadInput, match="pattern analysis: block: must"):
            function(block)


def test_bands_and_diagonals_stand_out(rng: np.random.Generator):
    shape = (256, 256)
    band = analyse(fill(rng, banded(*shape, 4)))
    steep = analyse(fill(rng, banded(256, 64, 4)))
    noise = analyse(fill(rng, rng.random(shape) < band.occupied / 65536))
    # A band is as wide as its columns are full; noise of its density reaches everywhere.
    assert band.envelope == band.occupied
    assert steep.envelope == steep.occupied
    assert noise.envelope > 10 * noise.occupied
    assert band.diagonal > 0.95 * band.occupied
    assert noise.diagonal < 0.2 * noise.occupied


def test_the_documented_example_runs(capsys: pytest.CaptureFixture[str]):
    page = Path(__file__).resolve().parents[3] / "docs" / "analysis.md"
    blocks = re.findall(r"```(?:python|text)\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    code, output = blocks[:2]
    exec(compile(code, str(page), "exec"), {})
    assert capsys.readouterr().out == output
