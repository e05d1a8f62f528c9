"""Bench: with a host that never waits, CYCLES is what the cycle model says, exactly."""

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge

from golden.operators.detection import array_cycles, raw_words
from rtl_gen.top.detect_registers import DETECT_REGISTERS
from rtl_gen.top.registers import address_of

from .host import SETTINGS, DetectHost
from .stimulus import THRESHOLDS, deal, threshold_of

_SHAPE = SETTINGS.shape


async def _start_taken(dut: Any) -> None:
    """Wait for the clock edge that ends the cycle in which the write to CONTROL is accepted."""
    control = address_of("CONTROL", DETECT_REGISTERS)
    while True:
        await RisingEdge(dut.clk)
        accepted = dut.s_axil_awvalid.value and dut.s_axil_awready.value
        if accepted and int(dut.s_axil_awaddr.value) == control:
            return


@cocotb.test(timeout_time=200, timeout_unit="ms")
async def ideal_host(dut: Any) -> None:
    """Words offered from the first busy cycle on, events always taken."""
    host = DetectHost(dut, "ideal_host")
    await host.begin()
    rounds = 3 * len(THRESHOLDS)
    for _ in range(rounds):
        dealt = deal(host.rng, _SHAPE, host.rng.randint(1, 6 * _SHAPE.units), most=_SHAPE.rows)
        threshold = threshold_of(host.rng)
        taken = cocotb.start_soon(_start_taken(dut))
        started = cocotb.start_soon(host.start(sum(map(len, dealt)), threshold))
        await taken
        # The drivers answer one edge later: words are there in the first busy cycle.
        for unit, vectors in enumerate(dealt):
            host.send(unit, raw_words(vectors, _SHAPE.width))
        await started
        await host.wait_done(20_000)
        await host.check_job()
        cycles = await host.counter("CYCLES")
        model = array_cycles(dealt, threshold, width=_SHAPE.width, queue=_SHAPE.queue)
        assert cycles == model.cycles, f"CYCLES {cycles}, model {model.cycles}"
        assert await host.counter("EMPTY_WORDS") == model.empty_words.sum()
    await host.finish(rounds)
