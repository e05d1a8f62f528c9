"""Bench: the register map over AXI4-Lite, with stalls on every channel."""

from typing import Any

import cocotb
from cocotbext.axi import AxiResp

from rtl_gen.top.detect_registers import DETECT_IDENTITY, DETECT_REGISTERS, DETECT_VERSION
from rtl_gen.top.registers import address_of

from ..accesses import access_randomly, stall_channels
from ..stimulus import PATTERNS
from .host import ERROR_BITS, SETTINGS, DetectHost
from .stimulus import deal

_BITS = {"VECTORS": 0xFFFF_FFFF, "WATCHDOG": 0xFFFF_FFFF, "THRESHOLD": 0xFF}


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def identity(dut: Any) -> None:
    """What the top is, and the reset value of every register."""
    host = DetectHost(dut, "identity")
    await host.begin()
    shape = SETTINGS.shape
    geometry = shape.units | shape.width << 8 | shape.k_bits << 16 | shape.queue << 24
    assert await host.read("IDENTITY") == DETECT_IDENTITY == 0x53464544
    assert await host.read("VERSION") == DETECT_VERSION
    assert await host.read("CONFIG_HASH") == SETTINGS.config_hash
    assert await host.read("GEOMETRY") == geometry
    for register in DETECT_REGISTERS:
        if register.name not in ("CONFIG_HASH", "GEOMETRY"):
            assert await host.read(register.name) == register.reset, register.name
    await host.finish(jobs=0)


@cocotb.test(timeout_time=20, timeout_unit="ms")
@cocotb.parametrize(pattern=PATTERNS)
async def random_accesses(dut: Any, pattern: str) -> None:
    """Random reads and writes of any bytes at any address, against a model of the registers."""
    host = DetectHost(dut, f"random_accesses.{pattern}")
    await host.begin()
    stall_channels(host, pattern)
    await access_randomly(host, DETECT_REGISTERS, _BITS)
    await host.finish(jobs=0)


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def refused_start(dut: Any) -> None:
    """A start without vectors or with a threshold above 128 sets bad_start alone."""
    host = DetectHost(dut, "refused_start")
    await host.begin()
    bad = ERROR_BITS["bad_start"]
    for vectors, threshold in ((0, 0), (1, 129), (0x8000_0000, 255), (0, 128)):
        await host.start(vectors, threshold)
        assert await host.read("ERROR") == bad
        assert await host.read("STATUS") == 0
        await host.write("VECTORS", 3)
        assert await host.read("ERROR") == bad, "the error must be sticky"
        await host.write("CONTROL", 2)
        assert await host.read("ERROR") == 0
        assert await host.read("VECTORS") == 3, "CONTROL.reset must leave VECTORS"
        assert await host.read("THRESHOLD") == threshold, "CONTROL.reset must leave THRESHOLD"
    address = address_of("CONTROL", DETECT_REGISTERS)
    answer = await host.registers.write(address + 1, b"\xff\xff\xff")
    assert answer.resp == AxiResp.OKAY
    assert await host.read("STATUS") == 0, "bytes beside the commands must do nothing"
    # Start and reset together: the reset counts.
    await host.start(1, 0)
    assert await host.read("STATUS") == 1
    await host.write("CONTROL", 3)
    assert await host.read("STATUS") == 0
    await host.finish(jobs=0)


@cocotb.test(timeout_time=50, timeout_unit="ms")
async def counters_of_one_job(dut: Any) -> None:
    """A start clears the counters, a reset as well, and reading one half holds the other."""
    host = DetectHost(dut, "counters_of_one_job")
    await host.begin()
    names = ("CYCLES", "EVENTS", "WORDS", "EMPTY_WORDS")
    for _ in range(2):
        dealt = deal(host.rng, SETTINGS.shape, 4 * SETTINGS.shape.units)
        await host.job(dealt, 1)
    assert await host.counter("WORDS") > 0
    await host.abort()
    for name in names:
        assert await host.counter(name) == 0, name
    await host.finish(jobs=2)
