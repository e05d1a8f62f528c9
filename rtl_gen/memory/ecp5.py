"""Block memories of Lattice's ECP5 with the output registers that logic can't ask for."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from .two_width import memory_ports

__all__ = ["Ecp5Memory", "cell_bits"]

_CELL_BITS = 16 * 1024
# Bits of data to the width of a port: a byte has a ninth bit, which stays unused.
_PORTS = {32: 36, 16: 18, 8: 9, 4: 4, 2: 2, 1: 1}


def cell_bits(read_bits: int, write_bits: int, depth: int) -> int | None:
    """Bits of a beat that each DP16KD takes, as many as it has room for.

    Args:
        read_bits, write_bits: widths of the memory's ports; the second is a multiple of the first.
        depth: words of ``read_bits``.

    Returns:
        None where the ports are too different or the memory is too deep.
    """
    ratio = write_bits // read_bits
    fitting = [
        bits
        for bits in _PORTS
        if write_bits % bits == 0 and bits >= ratio and depth // ratio * bits <= _CELL_BITS
    ]
    return max(fitting, default=None)


class Ecp5Memory(wiring.Component):
    """DP16KD side by side, each with some bits of every word read, in the same places.

    A path out of the memory takes 5.8 ns, out of its output register 1.0 (nextpnr-ecp5, speed 6);
    Yosys 0.70 infers none.  Primitive: Lattice FPGA-TN-02204 (memory usage guide).

    Latency: a word is read with ``read_enable`` and stands on ``read_data`` after the next
    ``move``.

    Members: as of `rtl_gen.memory.RegisteredMemory`, whose beat holds one word or several.
    """

    def __init__(self, *, read_bits: int, write_bits: int, depth: int) -> None:
        bits = cell_bits(read_bits, write_bits, depth)
        if bits is None:
            raise ValueError(
                f"depth: must fit DP16KD of {write_bits} bits written, {read_bits} read, "
                f"got {depth}"
            )
        self._bits = bits
        self._ratio = write_bits // read_bits
        super().__init__({**memory_ports(read_bits, write_bits, depth), "move": In(1)})

    def elaborate(self, platform):
        m = Module()
        read_bits = self._bits // self._ratio
        written, read = _PORTS[self._bits], _PORTS[read_bits]
        for cell in range(len(self.write_data) // self._bits):
            taken = [
                self.write_data.word_select(part, len(self.read_data)).word_select(cell, read_bits)
                for part in range(self._ratio)
            ]
            beat = _ninths(Cat(*taken))
            out = Signal(36, name=f"out{cell}")
            # A port of 36 bits takes the inputs and the outputs of both.
            word = out if read == 36 else out[18:]
            bits = [word[i + i // 8] for i in range(read_bits)]
            m.d.comb += self.read_data.word_select(cell, read_bits).eq(Cat(*bits))
            ports: dict = {
                "p_DATA_WIDTH_A": written,
                "p_DATA_WIDTH_B": read,
                "p_REGMODE_A": "OUTREG",
                "p_REGMODE_B": "OUTREG",
                "i_CLKA": ClockSignal(),
                "i_CEA": self.write_enable,
                "i_WEA": Const(1),
                "i_OCEA": self.move if read == 36 else Const(0, 1),
                "i_RSTA": Const(0, 1),
                "i_CLKB": ClockSignal(),
                "i_CEB": self.read_enable,
                "i_WEB": Const(0, 1),
                "i_OCEB": self.move,
                "i_RSTB": Const(0, 1),
            }
            for side, address, width in (
                ("A", self.write_address, written),
                ("B", self.read_address, read),
            ):
                lines = Cat(_low(width, side == "A"), address)
                ports |= {
                    f"i_AD{side}{i}": lines[i] if i < len(lines) else Const(0, 1) for i in range(14)
                }
                ports |= {f"i_CS{side}{i}": Const(0, 1) for i in range(3)}
            for i in range(36):
                side, number = "AB"[i // 18], i % 18
                ports[f"i_DI{side}{number}"] = beat[i] if i < len(beat) else Const(0, 1)
                ports[f"o_DO{side}{number}"] = out[i]
            m.submodules[f"cell{cell}"] = Instance("DP16KD", **ports)
        return m


def _ninths(bits: Value) -> Value:
    """A ninth bit behind each byte."""
    if len(bits) < 8:
        return bits
    return Value.cast(Cat(*(Cat(bits[i : i + 8], Const(0, 1)) for i in range(0, len(bits), 8))))


def _low(width: int, writes: bool) -> Const:
    """Address lines below the word's number; a port that writes bytes finds their enables there."""
    lines = {36: 5, 18: 4, 9: 3, 4: 2, 2: 1, 1: 0}[width]
    enables = {36: 0b1111, 18: 0b11}.get(width, 0)
    return Const(enables if writes else 0, lines)
