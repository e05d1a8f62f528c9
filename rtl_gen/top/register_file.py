"""Registers of a top behind AXI4-Lite, from the table that describes them."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import In

from ..bus import AxiLiteSlave, axi_lite_ports
from .registers import Register, address_of

__all__ = ["ADDRESS_BITS", "RegisterFile", "register_ports"]

ADDRESS_BITS = 8


def register_ports() -> dict:
    """Members ``s_axil_*`` of a top with registers."""
    return {f"s_axil_{name}": m for name, m in axi_lite_ports(ADDRESS_BITS).items()}


class RegisterFile:
    """What all tops do with their registers: addresses, strobes, responses, halves of counters.

    Not a component: it adds its logic to the top's own module.

    Parameters
    ----------
    m : Module
        Of the top; gets the slave as a submodule.
    top : wiring.Component
        Has `register_ports`.
    registers : sequence of `rtl_gen.top.registers.Register`
        All that answer; other addresses answer SLVERR, as do writes to those that are read-only.

    Attributes
    ----------
    slave : AxiLiteSlave
    mask : Signal(32)
        Bits of a write whose byte is strobed.
    """

    def __init__(self, m: Module, top, registers: Sequence[Register]) -> None:
        self._m = m
        self._registers = registers
        m.submodules.slave = self.slave = slave = AxiLiteSlave(ADDRESS_BITS)
        for name, member in axi_lite_ports(ADDRESS_BITS).items():
            outer = getattr(top, f"s_axil_{name}")
            inner = getattr(slave.bus, name)
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        self.mask = Cat(strobe.replicate(8) for strobe in slave.write_strobe)

    def word(self, name: str) -> int:
        """Address of a register in words, as the slave gives it."""
        return address_of(name, self._registers) >> 2

    def refuse_unknown_writes(self) -> None:
        """Answer writes to unknown and to read-only registers with SLVERR."""
        slave = self.slave
        known_writes = {self.word(r.name) for r in self._registers if r.access == "rw"}
        self._m.d.comb += slave.write_error.eq(
            ~Cat(slave.write_address == address for address in sorted(known_writes)).any()
        )

    def strobes(self, *names: str) -> dict[str, Signal]:
        """Per register whether it is written in this cycle."""
        written = {name: Signal(name=f"write_{name}") for name in names}
        for name, strobe in written.items():
            self._m.d.comb += strobe.eq(
                self.slave.write & (self.slave.write_address == self.word(name))
            )
        return written

    def merged(self, old: Value) -> Value:
        """What a register that held ``old`` holds after the write of this cycle."""
        return self.slave.write_data & self.mask | (old & ~self.mask)

    def answer_reads(
        self,
        values: Mapping[str, Value],
        counters: Mapping[str, tuple[Value, Signal]],
    ) -> None:
        """Connect what is read.

        Args:
            values: 32 bits for each register.
            counters: by the name of its two registers without ``_LOW`` and ``_HIGH``, a 64-bit
                counter, and the 32-bit register that takes its upper half when the lower one is
                read.
        """
        m, slave, registers = self._m, self.slave, self._registers
        selected = Signal(len(registers))
        m.d.comb += [
            selected.eq(Cat(slave.read_address == self.word(r.name) for r in registers)),
            slave.read_error.eq(~selected.any()),
            slave.read_data.eq(
                reduce(
                    or_,
                    (
                        values[register.name] & selected[i].replicate(32)
                        for i, register in enumerate(registers)
                    ),
                )
            ),
        ]
        for name, (counter, upper) in counters.items():
            with m.If(slave.read & (slave.read_address == self.word(f"{name}_LOW"))):
                m.d.sync += upper.eq(counter[32:])
