"""Bench: the register map over AXI4-Lite, with stalls on every channel."""

from typing import Any

import cocotb
from cocotbext.axi import AxiResp

from rtl_gen.top.registers import IDENTITY, VERSION, Register, address_of, registers_of

from .accesses import access_randomly, stall_channels
from .host import BAD_START, SETTINGS, Host
from .stimulus import PATTERNS

_BITS = {"M_TILES": 0xFF, "WATCHDOG": 0xFFFF_FFFF}


def _registers(dut: Any) -> tuple[Register, ...]:
    """The registers of this top."""
    return registers_of(hasattr(dut, "s_axis_operand_tvalid"))


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def identity(dut: Any) -> None:
    """What the array is, and the reset value of every register."""
    host = Host(dut, "identity")
    await host.begin()
    shape = SETTINGS.shape
    geometry = shape.lanes | shape.group << 8 | shape.engines << 16
    assert await host.read("IDENTITY") == IDENTITY == 0x53465553
    assert await host.read("VERSION") == VERSION
    assert await host.read("CONFIG_HASH") == SETTINGS.config_hash
    assert await host.read("GEOMETRY") == geometry
    for register in _registers(dut):
        if register.name not in ("CONFIG_HASH", "GEOMETRY"):
            assert await host.read(register.name) == register.reset, register.name
    await host.finish(jobs=0)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(pattern=PATTERNS)
async def random_accesses(dut: Any, pattern: str) -> None:
    """Random reads and writes of any bytes at any address, against a model of the registers."""
    host = Host(dut, f"random_accesses.{pattern}")
    await host.begin()
    stall_channels(host, pattern)
    await access_randomly(host, _registers(dut), _BITS)
    await host.finish(jobs=0)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def refused_start(dut: Any) -> None:
    """A start with M_TILES 0 sets bad_start alone; a reset clears it; STATUS stays idle."""
    host = Host(dut, "refused_start")
    await host.begin()
    await host.write("M_TILES", 0)
    await host.write("CONTROL", 1)
    assert await host.read("ERROR") == BAD_START
    assert await host.read("STATUS") == 0
    await host.write("M_TILES", 3)
    assert await host.read("ERROR") == BAD_START, "the error must be sticky"
    await host.write("CONTROL", 2)
    assert await host.read("ERROR") == 0
    assert await host.read("M_TILES") == 3, "CONTROL.reset must leave M_TILES"
    await host.write("CONTROL", 3)
    await host.cycles(5)
    assert await host.read("STATUS") == 0, "CONTROL.reset must win over start"
    answer = await host.registers.write(address_of("CONTROL") + 1, b"\xff\xff\xff")
    assert answer.resp == AxiResp.OKAY
    assert await host.read("STATUS") == 0, "bytes beside the commands must do nothing"
    await host.finish(jobs=0)
