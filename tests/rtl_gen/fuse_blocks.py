"""Tables and raw blocks for the fuse unit and its parts, and their set-up in a simulator."""

from collections.abc import Sequence

import numpy as np

from golden.formats import KERNELS
from golden.selector.selector import Registers
from golden.selector.table import BINS, PerformanceTable, Point

__all__ = ["SHAPES", "random_table", "raw_block", "raw_blocks", "set_up"]

SHAPES = ((16, 4), (48, 12), (64, 16))
"""Ascending, as a table has them; one whose size is no power of two."""


def random_table(
    rng: np.random.Generator,
    kernels: Sequence[str] = tuple(KERNELS),
    shapes: Sequence[tuple[int, int]] = SHAPES,
) -> PerformanceTable:
    """Any lines at all, one in twenty without a measurement."""
    points = []
    for kernel in kernels:
        for depth, columns in shapes:
            for step in range(BINS):
                there = bool(rng.random() < 0.95)
                points.append(
                    Point(
                        kernel=kernel,
                        depth=depth,
                        columns=columns,
                        step=step,
                        feasible=there,
                        blocks=6 * there,
                        cycles=int(rng.integers(1, 6 * 500)) * there,
                        events=24 * (depth * columns * step // BINS) * there,
                        weight_bytes=8 * there,
                    )
                )
    return PerformanceTable(
        config_hash="0" * 64,
        source="invented",
        tools={},
        seed=0,
        lanes=4,
        engines=4,
        points=tuple(points),
    )


def raw_block(rng: np.random.Generator) -> np.ndarray:
    """Int8 of odd sizes: every density and magnitude, whole runs, N:M, corners, nothing."""
    depth, columns = int(rng.integers(1, 65)), int(rng.integers(1, 17))
    values = rng.integers(-128, 128, (depth, columns)) >> rng.integers(0, 8)
    kind = rng.integers(0, 6)
    if kind == 0:
        values = rng.choice(np.array([-128, -127, 0, 127]), (depth, columns))
    elif kind == 1:
        values[np.arange(depth) % 4 > rng.integers(0, 3)] = 0
    elif kind == 2:
        runs = rng.random((-(-depth // 8), columns)) < 0.3
        values[~np.repeat(runs, 8, axis=0)[:depth]] = 0
    else:
        share = rng.choice([0, 0.01, 0.05, 0.2, 0.5, 0.9])
        values[rng.random((depth, columns)) >= share] = 0
    return values.astype(np.int8)


def raw_blocks(rng: np.random.Generator, number: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Shape numbers and blocks."""
    return rng.integers(0, len(SHAPES), number), [raw_block(rng) for _ in range(number)]


async def set_up(ctx, dut, table: PerformanceTable, registers: Registers) -> None:
    """Load the table word by word, set the registers, restart."""
    for address, word in enumerate(table.rom_image()):
        ctx.set(dut.table_enable, 1)
        ctx.set(dut.table_address, address)
        ctx.set(dut.table_data, int(word))
        await ctx.tick()
    ctx.set(dut.table_enable, 0)
    for name in ("alpha", "beta", "alpha_max", "beta_min", "budget", "adapt"):
        ctx.set(getattr(dut, name), int(getattr(registers, name)))
    ctx.set(dut.restart, 1)
    await ctx.tick()
    ctx.set(dut.restart, 0)
