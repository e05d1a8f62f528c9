"""The emitted Verilog on a second simulator, as Verilog and as SystemVerilog, from any start."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from golden.cycles.count import count_cycles
from golden.formats import KERNELS
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.program.plan import Plan
from golden.shape import ArrayShape
from rtl_gen.emit import verilog
from rtl_gen.mac import PRIMITIVES
from rtl_gen.top.array_top import ArrayTop
from sim.benches.power_up import powered_up
from sim.benches.stimulus import fitted
from tests.sim.icarus import GENERATIONS, IcarusArray, needs_icarus

SHAPE = ArrayShape(
    lanes=2, engines=2, group=2, k_tile=32, columns=4, activation_tiles=2, index_words=64,
    value_words=32, queue=4, data_bits=64, kernels=tuple(KERNELS), mac="packed",
)  # fmt: skip
SHAPES = {
    "all kernels": SHAPE,
    "other parameters": replace(
        SHAPE, gap_bits=3, nm_n=3, nm_m=8, block_rows=2, activation_bits=128
    ),
    "fusion": replace(SHAPE, fusion=True),
    "primitives": replace(SHAPE, kernels=("runlength", "nm"), mac="dsp48e2"),
}

pytestmark = needs_icarus


def sources_of(shape: ArrayShape, folder: Path, seed: int | None = None) -> list[Path]:
    """Verilog of an array and its primitives; registers and memories begin as ``seed`` says."""
    text = verilog(ArrayTop(shape, 0x5EED))
    found = [folder / "sparsefuse.v"]
    found[0].write_text(text if seed is None else powered_up(text, seed))
    if shape.mac in PRIMITIVES:
        found.append(folder / PRIMITIVES[shape.mac])
        source = files("rtl_gen.mac").joinpath("primitives", PRIMITIVES[shape.mac])
        found[1].write_text(source.read_text("utf-8"))
    return found


def product(
    shape: ArrayShape, kernel: str, size: tuple[int, int, int], rng: np.random.Generator
) -> tuple[Plan, np.ndarray, np.ndarray]:
    """A random product of one job with an empty column among others."""
    rows, depth, outputs = size
    a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < 0.5] = 0
    w[:, 0] = 0
    w = fitted(shape, kernel, w)
    # Rows without a weight stay: what is tested is how a format stores them.
    return plan_matmul(shape, a, w, kernel, drop_weight_rows=False), a, w


def check(array: IcarusArray, plan: Plan, a: np.ndarray, w: np.ndarray) -> None:
    """Run a product; sums, cycles and events must be the models'."""
    output, registers = array.product(plan, a)
    count = count_cycles(plan)
    np.testing.assert_array_equal(output, matmul(a, w))
    wanted = {"STATUS": 2, "ERROR": 0, "CYCLES_LOW": count.cycles, "EVENTS_LOW": count.events}
    assert registers == wanted


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_version_of_the_language_gives_the_sums(
    generation: str, tmp_path: Path, rng: np.random.Generator, seed: int
):
    array = IcarusArray(SHAPE, sources_of(SHAPE, tmp_path, seed), generation, tmp_path)
    for kernel in SHAPE.kernels:
        check(array, *product(SHAPE, kernel, (5, 70, 11), rng))


@pytest.mark.parametrize("name", SHAPES)
def test_nothing_unknown_leaves_from_unknown_memories(
    name: str, tmp_path: Path, rng: np.random.Generator
):
    """Depths below a word, a chunk and a run, whose tiles leave rows of the buffer unwritten."""
    shape = SHAPES[name]
    array = IcarusArray(shape, sources_of(shape, tmp_path), "2012", tmp_path)
    for kernel in shape.kernels:
        for depth in (1, 2, 5, 17):
            check(array, *product(shape, kernel, (shape.lanes + 1, depth, 3), rng))
