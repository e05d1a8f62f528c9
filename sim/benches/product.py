"""Bench: random products through the streams, stalled on every side, job after job."""

from itertools import product
from typing import Any

import cocotb
import numpy as np

from golden.formats import KERNELS
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.program.plan import Plan

from .host import SETTINGS, Host
from .stimulus import PATTERNS, SPARSITIES, Coverage, fitted, operands

_SHAPE = SETTINGS.shape
_V, _P, _K = _SHAPE.lanes, _SHAPE.engines, _SHAPE.k_tile

_SIZES = {
    # Rows, depth, outputs.
    "small": (1, 3, max(1, _P - 1)),
    "exact": (2 * _V, _K, _P),
    "deep": (_V + 1, 2 * _K + 5, _P + 1),
    "wide": (_V + 1, 5, _SHAPE.n_tile + 3),
}
"""Below a tile, a tile, and one more than a tile or a pass along each loop."""

_FULL = not all(KERNELS[kernel].selective for kernel in _SHAPE.kernels)
"""Whether a kernel can hold a column without zeros."""

_BINS = (
    *(f"sparsity {percent} %" for percent in SPARSITIES),
    *(f"kernel {name}" for name in _SHAPE.kernels),
    *(("full column", "column of largest sums") if _FULL else ()),
    "empty column",
    "empty matrix",
    "-128 * -128",
    "127 * -128",
    "one k tile",
    "several k tiles",
    "short last k tile",
    "one segment",
    "several segments",
    "replay",
    "short last m tile",
    "several jobs",
    *(("engine without a column",) if _P > 1 else ()),
    "streams before start",
    "streams after start",
    "idle activations",
    "idle weights",
    "stalled activations",
    "stalled weights",
    "back-pressure",
)

_COVERAGE = Coverage(_BINS)


def _cover_product(plan: Plan, activations: np.ndarray, weights: np.ndarray, percent: int) -> None:
    hit = _COVERAGE.hit
    occupied = weights != 0
    hit(f"sparsity {percent} %")
    hit(f"kernel {plan.kernel}")
    hit("empty column", not occupied.any(axis=0).all())
    hit("empty matrix", not occupied.any())
    for value in (-128, 127):
        meets = (activations == value).any(axis=0) & (weights == -128).any(axis=1)
        hit(f"{value} * -128", meets.any())
    largest = (activations == -128).all(axis=1).any() and (weights == -128).all(axis=0).any()
    if _FULL:
        hit("full column", occupied.all(axis=0).any())
        hit("column of largest sums", largest and plan.depth >= _K)
    hit("one k tile", plan.k_tiles == 1)
    hit("several k tiles", plan.k_tiles > 1)
    hit("short last k tile", plan.k_tiles > 1 and plan.depth % _K)
    hit("one segment", plan.segments == 1)
    hit("several segments", plan.segments > 1)
    hit("replay", plan.replay)
    hit("short last m tile", plan.m_tiles > 1 and plan.rows % _V)
    hit("several jobs", len(plan.jobs) > 1)
    if _P > 1:
        hit("engine without a column", any(-1 in c for s in plan.streams for c in s.columns))


def _cover_streams(host: Host) -> None:
    activations, *rest = host.monitors
    weights = rest[: _SHAPE.groups]
    _COVERAGE.hit("idle activations", activations.idle_cycles)
    _COVERAGE.hit("idle weights", all(m.idle_cycles for m in weights))
    _COVERAGE.hit("stalled activations", activations.stalled_cycles)
    _COVERAGE.hit("stalled weights", all(m.stalled_cycles for m in weights))
    _COVERAGE.hit("back-pressure", all(m.stalled_cycles for m in host.result_monitors))


async def _check(
    host: Host, kernel: str, size: tuple[int, int, int], percent: int, early: int
) -> int:
    """Run one product and compare it; return its number of jobs. ``early``: see `Host.product`."""
    activations, weights = operands(host.rng, *size, percent)
    weights = fitted(_SHAPE, kernel, weights)
    plan = plan_matmul(_SHAPE, activations, weights, kernel)
    out = await host.product(plan, activations, early=early)
    wanted = matmul(activations, weights)
    assert out.shape == wanted.shape
    assert np.array_equal(out, wanted), (
        f"{(out != wanted).sum()} of {out.size} sums of {size} with {kernel} are wrong"
    )
    _cover_product(plan, activations, weights, percent)
    _COVERAGE.hit("streams before start", early > 0)
    _COVERAGE.hit("streams after start", early < 0)
    return len(plan.jobs)


@cocotb.test(timeout_time=200, timeout_unit="ms")
@cocotb.parametrize(kernel=_SHAPE.kernels, size=tuple(_SIZES))
async def patterns(dut: Any, kernel: str, size: str) -> None:
    """Idle patterns x back-pressure patterns x sparsities, without a reset in between."""
    host = Host(dut, f"patterns.{kernel}.{size}")
    await host.begin()
    await host.write("WATCHDOG", 5000)
    jobs = 0
    for idle, pressure, percent in product(PATTERNS, PATTERNS, SPARSITIES):
        host.pace(idle, pressure)
        early = host.rng.choice((0, host.rng.randint(1, 60), -host.rng.randint(1, 60)))
        jobs += await _check(host, kernel, _SIZES[size], percent, early)
    _cover_streams(host)
    await host.finish(jobs)


@cocotb.test(timeout_time=500, timeout_unit="ms")
async def streamed(dut: Any) -> None:
    """Columns deeper than a ring: weights stream through it, one job per tile of tokens."""
    host = Host(dut, "streamed")
    await host.begin()
    jobs = 0
    for kernel, (idle, pressure) in product(_SHAPE.kernels, (("none", "none"), ("random",) * 2)):
        host.pace(idle, pressure)
        carried = KERNELS[kernel].carries_values
        held = np.count_nonzero(fitted(_SHAPE, kernel, np.ones((_K, 1), np.int8)))
        depth = 8 * (_SHAPE.index_words if carried else _SHAPE.value_words) * _K // held + 3
        # Long enough for the rings to fill up and refuse more.
        early = 2 * depth * _SHAPE.group * 8 // _SHAPE.data_bits
        jobs += await _check(host, kernel, (_V + 1, depth, _P), 0, early)
    _cover_streams(host)
    await host.finish(jobs)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def coverage(dut: Any) -> None:
    """Every functional bin of this bench was hit; runs last."""
    for name, count in _COVERAGE.counts.items():
        cocotb.log.info("bin %-24s %d", name, count)
    _COVERAGE.check()
