"""Bench: with a host that never waits, CYCLES is what the cycle model says, exactly."""

from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from golden.cycles.count import count_cycles
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from rtl_gen.top.registers import address_of

from .host import SETTINGS, Host
from .stimulus import SPARSITIES, fitted, operands

_SHAPE = SETTINGS.shape


async def _start_taken(dut: Any) -> None:
    """Wait for the clock edge that ends the cycle in which the write to CONTROL is accepted."""
    while True:
        await RisingEdge(dut.clk)
        if dut.s_axil_awvalid.value and dut.s_axil_awready.value:
            assert int(dut.s_axil_awaddr.value) == address_of("CONTROL")
            return


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
        parts, cycles = [], 0
        for job in plan.jobs:
            await host.write("M_TILES", len(job))
            taken = cocotb.start_soon(_start_taken(dut))
            answered = cocotb.start_soon(host.write("CONTROL", 1))
            await taken
            # The drivers answer one edge later: data is there in the first busy cycle.
            host.send_activations(plan, activations, job)
            for group in range(_SHAPE.groups):
                host.send_weights(plan, group)
            await answered
            await host.wait_done(20_000)
            parts.append(await host.check_job(plan, job))
            cycles += await host.counter("CYCLES")
        assert np.array_equal(np.concatenate(parts), matmul(activations, weights))
        model = count_cycles(plan).cycles
        assert cycles == model, f"{percent} % sparse: CYCLES {cycles}, model {model}"
        jobs += len(plan.jobs)
    await host.finish(jobs)
