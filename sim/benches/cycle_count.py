"""Bench: with a host that never waits, CYCLES is what the cycle model says, exactly."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden.cycles.count import count_cycles
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from golden.program.plan import Plan
from rtl_gen.top.registers import address_of

from .host import SETTINGS, Host
from .stimulus import SPARSITIES, fitted, operands

_SHAPE = SETTINGS.shape
_MOST_TILES = 255  # that M_TILES holds
_EVENTS = 1 << 15


async def _start_taken(dut: Any) -> None:
    """Wait for the clock edge that ends the cycle in which the write to CONTROL is accepted."""
    while True:
        await RisingEdge(dut.clk)
        if dut.s_axil_awvalid.value and dut.s_axil_awready.value:
            assert int(dut.s_axil_awaddr.value) == address_of("CONTROL")
            return


async def _count(host: Host, plan: Plan, activations: np.ndarray) -> tuple[np.ndarray, int]:
    """Run a product with streams offered from the first busy cycle on; its sums and CYCLES."""
    parts, cycles = [], 0
    for job in plan.jobs:
        await host.write("M_TILES", len(job))
        taken = cocotb.start_soon(_start_taken(host.dut))
        answered = cocotb.start_soon(host.write("CONTROL", 1))
        await taken
        # The drivers answer one edge later: data is there in the first busy cycle.
        host.send_activations(plan, activations, job)
        for group in range(_SHAPE.groups):
            host.send_weights(plan, group)
        await answered
        # A poll takes several cycles.
        await host.wait_done(1000 + count_cycles(plan).cycles)
        parts.append(await host.check_job(plan, job))
        cycles += await host.counter("CYCLES")
    return np.concatenate(parts), cycles


@cocotb.test(timeout_time=100, timeout_unit="ms")
@cocotb.parametrize(kernel=_SHAPE.kernels)
async def ideal_host(dut: Any, kernel: str) -> None:
    """Streams offered from the first busy cycle on, results always taken."""
    host = Host(dut, f"ideal_host.{kernel}")
    await host.begin()
    jobs = 0
    for percent in SPARSITIES:
        size = (2 * _SHAPE.lanes + 1, _SHAPE.k_tile + 9, 2 * _SHAPE.engines + 1)
        activations, weights = operands(host.rng, *size, percent)
        weights = fitted(_SHAPE, kernel, weights)
        plan = plan_matmul(_SHAPE, activations, weights, kernel)
        sums, cycles = await _count(host, plan, activations)
        assert np.array_equal(sums, matmul(activations, weights))
        model = count_cycles(plan).cycles
        assert cycles == model, f"{percent} % sparse: CYCLES {cycles}, model {model}"
        jobs += len(plan.jobs)
    await host.finish(jobs)


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def longest_job(dut: Any) -> None:
    """As many tiles of tokens as a job can have, on weights that are replayed for each."""
    host = Host(dut, "longest_job")
    await host.begin()
    kernel = _SHAPE.kernels[0]
    # Enough events to count with 16 bits.
    depth = min(_SHAPE.k_tile, -(-_EVENTS // (_MOST_TILES * _SHAPE.engines)))
    outputs = _SHAPE.engines * min(
        _SHAPE.columns, -(-_EVENTS // (_MOST_TILES * _SHAPE.engines * depth))
    )
    activations, weights = operands(host.rng, _MOST_TILES * _SHAPE.lanes, depth, outputs, 0)
    weights = fitted(_SHAPE, kernel, weights)
    plan = plan_matmul(_SHAPE, activations, weights, kernel)
    sums, cycles = await _count(host, plan, activations)
    assert np.array_equal(sums, matmul(activations, weights))
    assert cycles == count_cycles(plan).cycles
    await host.finish(len(plan.jobs))
