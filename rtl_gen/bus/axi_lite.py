"""AXI4-Lite slave front: one register access per cycle, as address, data and strobes."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AxiLiteSlave", "axi_lite_ports"]


def axi_lite_ports(address_bits: int) -> dict:
    """Members of an AXI4-Lite slave port with 32-bit data, by their bus names."""
    return {
        "awaddr": In(address_bits),
        "awprot": In(3),
        "awvalid": In(1),
        "awready": Out(1),
        "wdata": In(32),
        "wstrb": In(4),
        "wvalid": In(1),
        "wready": Out(1),
        "bresp": Out(2),
        "bvalid": Out(1),
        "bready": In(1),
        "araddr": In(address_bits),
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }


class AxiLiteSlave(wiring.Component):
    """Turns AXI4-Lite into single-cycle register accesses.

    Operation: a write is taken when address and data are both there and the previous response
    has left; ``write`` is high for that cycle. A read is taken when the previous data has left;
    ``read_data`` is sampled in the cycle of ``read``.

    Latency: response one cycle after the access.

    Members
    -------
    bus : In(AXI4-Lite)
    write, write_address, write_data, write_strobe : Out
        Addresses are in 32-bit words.
    write_error, read_error : In(1)
        Answer with SLVERR.
    read, read_address : Out
    read_data : In(32)
    """

    def __init__(self, address_bits: int) -> None:
        self._address_bits = address_bits
        super().__init__(
            {
                "bus": Out(wiring.Signature(axi_lite_ports(address_bits))),
                "write": Out(1),
                "write_address": Out(address_bits - 2),
                "write_data": Out(32),
                "write_strobe": Out(4),
                "write_error": In(1),
                "read": Out(1),
                "read_address": Out(address_bits - 2),
                "read_data": In(32),
                "read_error": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        bus = self.bus
        # Set by the first clock edge after reset: no handshake while reset is held.
        awake = Signal()
        m.d.sync += awake.eq(1)
        m.d.comb += [
            self.write.eq(awake & bus.awvalid & bus.wvalid & (~bus.bvalid | bus.bready)),
            bus.awready.eq(self.write),
            bus.wready.eq(self.write),
            self.write_address.eq(bus.awaddr[2:]),
            self.write_data.eq(bus.wdata),
            self.write_strobe.eq(bus.wstrb),
            self.read.eq(awake & bus.arvalid & (~bus.rvalid | bus.rready)),
            bus.arready.eq(self.read),
            self.read_address.eq(bus.araddr[2:]),
        ]
        with m.If(self.write):
            m.d.sync += [bus.bvalid.eq(1), bus.bresp.eq(self.write_error << 1)]
        with m.Elif(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(self.read):
            m.d.sync += [
                bus.rvalid.eq(1),
                bus.rdata.eq(self.read_data),
                bus.rresp.eq(self.read_error << 1),
            ]
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        return m
