"""A block memory of two widths with a register behind it."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from .ecp5 import Ecp5Memory, cell_bits
from .two_width import TwoWidthMemory, memory_ports

__all__ = ["RegisteredMemory"]


class RegisteredMemory(wiring.Component):
    """`TwoWidthMemory` whose word read goes to a register without reset.

    Operation: ``read_enable`` fetches a word into the memory's latch, ``move`` takes the latch's
    word over into the register.

    Latency: ``read_data`` changes a cycle after ``move``, and holds its value without it.

    Parameters
    ----------
    read_bits, write_bits, depth, fetch_bits
        See `TwoWidthMemory`.
    cells : bool
        The register may be the block memory's own: an instance, on ECP5.

    Members
    -------
    write_enable, write_address, write_data, read_enable, read_address : In
        See `TwoWidthMemory`.
    move, clear : In(1)
        With ``clear`` what is taken over is zero.
    read_data : Out(read_bits)
    """

    def __init__(
        self,
        *,
        read_bits: int,
        write_bits: int,
        depth: int,
        fetch_bits: int | None = None,
        cells: bool = False,
    ) -> None:
        self._plain = {
            "read_bits": read_bits,
            "write_bits": write_bits,
            "depth": depth,
            "fetch_bits": fetch_bits,
        }
        # A word of several beats has a memory for each of them.
        self._beats = max(1, read_bits // write_bits)
        self._each = {
            "read_bits": min(read_bits, write_bits),
            "write_bits": write_bits,
            "depth": depth,
        }
        self._cells = cells and cell_bits(**self._each) is not None
        super().__init__(
            {**memory_ports(read_bits, write_bits, depth), "move": In(1), "clear": In(1)}
        )

    def elaborate(self, platform):
        m = Module()
        if not self._cells:
            m.submodules.memory = store = TwoWidthMemory(**self._plain)
            kept = Signal(len(self.read_data), reset_less=True)
            with m.If(self.move):
                m.d.sync += kept.eq(store.read_data)
            # Stands alone, so that synthesis gives it to the registers' own reset.
            with m.If(self.move & self.clear):
                m.d.sync += kept.eq(0)
            m.d.comb += [
                store.write_enable.eq(self.write_enable),
                store.write_address.eq(self.write_address),
                store.write_data.eq(self.write_data),
                store.read_enable.eq(self.read_enable),
                store.read_address.eq(self.read_address),
                self.read_data.eq(kept),
            ]
            return m
        low = (self._beats - 1).bit_length()
        words = []
        for beat in range(self._beats):
            store = Ecp5Memory(**self._each)
            m.submodules[f"beat{beat}"] = store
            m.d.comb += [
                store.write_enable.eq(self.write_enable & (self.write_address[:low] == beat)),
                store.write_address.eq(self.write_address[low:]),
                store.write_data.eq(self.write_data),
                store.read_enable.eq(self.read_enable),
                store.read_address.eq(self.read_address),
                store.move.eq(self.move),
            ]
            words.append(store.read_data)
        cleared = Signal()
        with m.If(self.move):
            m.d.sync += cleared.eq(self.clear)
        with m.If(~cleared):
            m.d.comb += self.read_data.eq(Cat(*words))
        return m
