"""What the hosts of all tops do alike: clock, reset, registers, pace of the streams."""

import logging
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp, AxiStreamSink, AxiStreamSource

from rtl_gen.top.registers import Register, address_of

from .monitor import StreamMonitor, observe
from .run import PERIOD_NS
from .stimulus import pause_pattern, private

__all__ = ["TopHost"]

_START, _RESET = 1, 2
_BUSY, _DONE, _HALTED = 1, 2, 4


class TopHost(ABC):
    """Drives one top through its ports alone.

    Attributes:
        dut: the top's handle.
        rng: the bench's own generator; each driver has another.
        registers: cocotbext-axi AXI4-Lite master.
        sources, sinks: cocotbext-axi drivers of the input and of the output streams.
        monitors: one per stream, those of the sources first.
    """

    def __init__(self, dut: Any, bench: str, seed: int, register_map: Sequence[Register]) -> None:
        # Whole frames in the log would bury what matters.
        logging.getLogger("cocotb.sparsefuse").setLevel(logging.ERROR)
        self.dut = dut
        self._name = bench
        self._register_map = register_map
        self.rng: random.Random = private(seed, bench)
        cocotb.log.info("seed %d, bench %s", seed, bench)
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk, dut.rst)
        self.sources: list[AxiStreamSource] = []
        self.sinks: list[AxiStreamSink] = []
        self.monitors: list[StreamMonitor] = []

    @abstractmethod
    def forget(self) -> None:
        """Drop what was seen of a job, as ``CONTROL.reset`` does."""

    async def begin(self) -> None:
        """Start the clock, reset everything and start the monitors."""
        # Until the top has been reset: drivers that run would read unknown values.
        self.hold_drivers(True)
        cocotb.start_soon(Clock(self.dut.clk, PERIOD_NS, "ns").start())
        await self.power_on()
        self.hold_drivers(False)
        cocotb.start_soon(observe(self.dut.clk, self.monitors))

    def hold_drivers(self, hold: bool) -> None:
        """Reset all stream drivers, which drops what they hold, or let them run."""
        for driver in (*self.sources, *self.sinks):
            driver.assert_reset(hold)
            if hold:
                driver.clear()

    async def power_on(self) -> None:
        """Hold the reset pin for a few cycles."""
        self.dut.rst.value = 1
        await self.cycles(4)
        self.dut.rst.value = 0
        await self.cycles(2)

    async def cycles(self, count: int) -> None:
        """Wait ``count`` clock cycles."""
        await ClockCycles(self.dut.clk, count)

    async def write(self, register: str, value: int) -> None:
        """Write a register; an error response fails."""
        address = address_of(register, self._register_map)
        answer = await self.registers.write(address, value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY, f"{register}: write answered {answer.resp!r}"

    async def read(self, register: str) -> int:
        """Read a register; an error response fails."""
        answer = await self.registers.read(address_of(register, self._register_map), 4)
        assert answer.resp == AxiResp.OKAY, f"{register}: read answered {answer.resp!r}"
        return int.from_bytes(answer.data, "little")

    async def counter(self, name: str) -> int:
        """Read a 64-bit counter, the registers ``name`` with ``_LOW`` and ``_HIGH``."""
        low = await self.read(f"{name}_LOW")
        return low | await self.read(f"{name}_HIGH") << 32

    def pace(self, idle: str, back_pressure: str) -> None:
        """Choose the stall patterns of all input and all output streams."""
        sides = [(s, idle) for s in self.sources] + [(s, back_pressure) for s in self.sinks]
        for number, (driver, pattern) in enumerate(sides):
            rng = private(self.rng.getrandbits(64), f"{self._name}.{number}")
            driver.set_pause_generator(pause_pattern(pattern, rng))
            if pattern == "none":
                driver.pause = False

    async def wait_done(self, limit: int) -> None:
        """Poll STATUS until the job is done; fails after ``limit`` polls."""
        for _ in range(limit):
            status = await self.read("STATUS")
            assert not status & _HALTED, f"ERROR is {await self.read('ERROR'):#x}"
            if status & _DONE:
                assert not status & _BUSY, "STATUS says busy and done"
                return
        raise AssertionError(f"timeout: the job did not end within {limit} polls of STATUS")

    async def abort(self, *, pin: bool = False) -> None:
        """Drop what the streams hold and reset the top, by register or by the reset pin."""
        for monitor in self.monitors:
            monitor.steady = False
        self.hold_drivers(True)
        await self.cycles(2)
        if pin:
            await self.power_on()
        else:
            await self.write("CONTROL", _RESET)
        await self.cycles(2)
        self.forget()
        self.hold_drivers(False)
        await RisingEdge(self.dut.clk)
        for monitor in self.monitors:
            monitor.steady = True
        assert await self.read("STATUS") == 0, "STATUS must be 0 after a reset"
        assert await self.read("ERROR") == 0, "ERROR must be 0 after a reset"
