"""The AXI4-Lite front proved: one response for each access, offered until it is taken.

Rules as in the AXI specification (ARM IHI 0022, A3.2): a response is not withdrawn or changed
before it is accepted, follows both address and data, and nothing is handshaken in reset.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.bus.axi_lite import AxiLiteSlave, axi_lite_ports
from tests.formal.prover import assert_broken, assert_proved, mutated, opened, settled

ADDRESS_BITS = 6
MUTANTS = {
    "write before the response left": ("bus.wvalid & (~bus.bvalid | bus.bready)", "bus.wvalid"),
    "read before the data left": ("bus.arvalid & (~bus.rvalid | bus.rready)", "bus.arvalid"),
    "address taken alone": ("bus.awready.eq(self.write)", "bus.awready.eq(awake & bus.awvalid)"),
    "error lost": ("bus.rresp.eq(self.read_error << 1)", "bus.rresp.eq(0)"),
    "response for ever": ("m.Elif(bus.bready)", "m.Elif(bus.bready & 0)"),
    "handshake in reset": ("awake = Signal()", "awake = Signal(init=1)"),
}


class Contract(wiring.Component):
    """A front with a free master, free registers behind it, ghosts and assertions."""

    def __init__(self, kind: type[AxiLiteSlave] = AxiLiteSlave) -> None:
        self._kind = kind
        # All that the master drives, and what the registers answer.
        driven = {
            name: member
            for name, member in axi_lite_ports(ADDRESS_BITS).items()
            if member.flow == wiring.In
        }
        answers = {"write_error": In(1), "read_error": In(1), "read_data": In(32)}
        self._driven = tuple(driven)
        super().__init__({**driven, **answers})

    def elaborate(self, platform):
        m = Module()
        m.submodules.slave = slave = self._kind(ADDRESS_BITS)
        inside = opened(slave)
        bus = slave.bus
        m.d.comb += [getattr(bus, name).eq(getattr(self, name)) for name in self._driven]
        m.d.comb += [
            slave.write_error.eq(self.write_error),
            slave.read_error.eq(self.read_error),
            slave.read_data.eq(self.read_data),
            Assume(~ResetSignal()),
        ]
        for channel, payload in (
            ("aw", Cat(self.awaddr, self.awprot)),
            ("w", Cat(self.wdata, self.wstrb)),
            ("ar", Cat(self.araddr, self.arprot)),
        ):
            valid = getattr(self, f"{channel}valid")
            m.d.comb += Assume(settled(m, valid, getattr(bus, f"{channel}ready"), payload))

        def handshake(channel: str):
            return getattr(bus, f"{channel}valid") & getattr(bus, f"{channel}ready")

        begun = Signal()
        m.d.sync += begun.eq(1)
        # Accesses that wait for their response, and what it must say.
        writes, reads = Signal(2), Signal(2)
        write_failed, read_failed, answer = Signal(), Signal(), Signal(32)
        m.d.sync += [
            writes.eq(writes + slave.write - handshake("b")),
            reads.eq(reads + slave.read - handshake("r")),
        ]
        with m.If(slave.write):
            m.d.sync += write_failed.eq(self.write_error)
        with m.If(slave.read):
            m.d.sync += [read_failed.eq(self.read_error), answer.eq(self.read_data)]

        m.d.comb += [
            # The contract.
            Assert(slave.write == handshake("aw")),
            Assert(slave.write == handshake("w")),
            Assert(slave.read == handshake("ar")),
            Assert(~slave.write | (slave.write_address == self.awaddr[2:])),
            Assert(~slave.write | (slave.write_data == self.wdata)),
            Assert(~slave.write | (slave.write_strobe == self.wstrb)),
            Assert(~slave.read | (slave.read_address == self.araddr[2:])),
            Assert(begun | ~(bus.awready | bus.wready | bus.arready | bus.bvalid | bus.rvalid)),
            Assert((writes == bus.bvalid) & (reads == bus.rvalid)),
            Assert(settled(m, bus.bvalid, self.bready, bus.bresp)),
            Assert(settled(m, bus.rvalid, self.rready, Cat(bus.rresp, bus.rdata))),
            Assert(~bus.bvalid | (bus.bresp == Mux(write_failed, 2, 0))),
            Assert(~bus.rvalid | (bus.rresp == Mux(read_failed, 2, 0))),
            Assert(~bus.rvalid | (bus.rdata == answer)),
            # An access is taken at once where its response has room.
            Assert(~(begun & self.awvalid & self.wvalid & (writes == 0)) | slave.write),
            Assert(~(begun & self.arvalid & (reads == 0)) | slave.read),
            # Invariant.
            Assert(inside.awake == begun),
        ]
        return m


def test_each_access_has_one_response(tmp_path: Path):
    assert_proved(tmp_path, Contract())


@pytest.mark.parametrize("fault", MUTANTS)
def test_the_contract_can_be_broken(fault: str, tmp_path: Path):
    assert_broken(tmp_path, Contract(mutated(AxiLiteSlave, MUTANTS[fault])), 6)
