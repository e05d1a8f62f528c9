"""Bench: the register map over AXI4-Lite, with stalls on every channel."""

from typing import Any

import cocotb
from cocotbext.axi import AxiResp

from rtl_gen.top.registers import IDENTITY, VERSION, Register, address_of, registers_of

from .host import BAD_START, SETTINGS, Host
from .stimulus import PATTERNS, pause_pattern, private

_BITS = {"M_TILES": 0xFF, "WATCHDOG": 0xFFFF_FFFF}
_SPACE = 256


def _registers(dut: Any) -> tuple[Register, ...]:
    """The registers of this top."""
    return registers_of(hasattr(dut, "s_axis_operand_tvalid"))


def _stall(host: Host, pattern: str) -> None:
    """Pause all five channels of the master with one kind of pattern."""
    channels = [getattr(host.registers.write_if, f"{name}_channel") for name in ("aw", "w", "b")]
    channels += [getattr(host.registers.read_if, f"{name}_channel") for name in ("ar", "r")]
    for number, channel in enumerate(channels):
        rng = private(host.rng.getrandbits(64), f"axil.{number}")
        channel.set_pause_generator(pause_pattern(pattern, rng))
        if pattern == "none":
            channel.pause = False


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
    _stall(host, pattern)
    rng = host.rng
    known_at = {register.address: register for register in _registers(dut)}
    values = {"M_TILES": 1, "WATCHDOG": 0}
    seen = {"okay write": 0, "okay read": 0, "refused write": 0, "refused read": 0, "strobe": 0}
    count = 300
    for _ in range(count):
        word = rng.choice([*known_at]) if rng.random() < 0.7 else rng.randrange(0, _SPACE, 4)
        register = known_at.get(word)
        if rng.random() < 0.5:
            answer = await host.registers.read(word, 4)
            known = register is not None
            seen["okay read" if known else "refused read"] += 1
            if register is not None and register.name in values:
                data = int.from_bytes(answer.data, "little")
                assert data == values[register.name], f"{register.name}: {data:#x}"
        else:
            low = rng.randrange(4)
            size = rng.randint(1, 4 - low)
            data = rng.getrandbits(8 * size)
            if register is not None and register.name == "CONTROL" and low == 0:
                data &= ~3  # neither start nor reset here
            answer = await host.registers.write(word + low, data.to_bytes(size, "little"))
            known = register is not None and register.access == "rw"
            seen["okay write" if known else "refused write"] += 1
            if register is not None and register.name in values:
                seen["strobe"] += size < 4
                mask = ((1 << 8 * size) - 1) << 8 * low
                merged = values[register.name] & ~mask | data << 8 * low
                values[register.name] = merged & _BITS[register.name]
        wanted = AxiResp.OKAY if known else AxiResp.SLVERR
        assert answer.resp == wanted, f"{word:#x}: {answer.resp!r}, not {wanted!r}"
    assert all(seen.values()), f"an access kind never occurred: {seen}"
    for name, value in values.items():
        assert await host.read(name) == value, name
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
