"""Random accesses to a top's registers, against a model of them, for the benches of every top."""

from collections.abc import Mapping, Sequence

from cocotbext.axi import AxiResp

from rtl_gen.top.registers import Register

from .stimulus import pause_pattern, private
from .top_host import TopHost

__all__ = ["access_randomly", "stall_channels"]

_SPACE = 256
_COUNT = 300


def stall_channels(host: TopHost, pattern: str) -> None:
    """Pause all five channels of the master with one kind of pattern."""
    channels = [getattr(host.registers.write_if, f"{name}_channel") for name in ("aw", "w", "b")]
    channels += [getattr(host.registers.read_if, f"{name}_channel") for name in ("ar", "r")]
    for number, channel in enumerate(channels):
        rng = private(host.rng.getrandbits(64), f"axil.{number}")
        channel.set_pause_generator(pause_pattern(pattern, rng))
        if pattern == "none":
            channel.pause = False


async def access_randomly(
    host: TopHost, registers: Sequence[Register], bits: Mapping[str, int]
) -> None:
    """Random reads and writes of any bytes at any address; CONTROL's commands are left alone.

    Args:
        host: of the top, idle.
        registers: the top's register map.
        bits: registers that hold what is written, and which of their bits do.
    """
    rng = host.rng
    known_at = {register.address: register for register in registers}
    values = {register.name: register.reset for register in registers if register.name in bits}
    assert len(values) == len(bits), "a register of the bench is not in the map"
    seen = {"okay write": 0, "okay read": 0, "refused write": 0, "refused read": 0, "strobe": 0}
    for _ in range(_COUNT):
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
                values[register.name] = merged & bits[register.name]
        wanted = AxiResp.OKAY if known else AxiResp.SLVERR
        assert answer.resp == wanted, f"{word:#x}: {answer.resp!r}, not {wanted!r}"
    assert all(seen.values()), f"an access kind never occurred: {seen}"
    for name, value in values.items():
        assert await host.read(name) == value, name
