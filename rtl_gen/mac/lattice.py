"""What the MACs of Lattice's ECP5 and Nexus share: accumulators on instantiated carry cells."""

from abc import abstractmethod

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value, signed

from .split import SplitPair

__all__ = ["LatticeMac"]

GATED_SUM = 0xC6CC
"""Function of a carry cell's look-up tables with D = 1: ``(C ? 0 : A) + B``.

Bits 15..8 are the propagate signal, B where C is set and A ^ B elsewhere; bits 7..0 are what the
carry is where nothing propagates, and there it equals B.
"""


class LatticeMac(SplitPair):
    """Two multipliers with their registers, two accumulators of one carry cell per two bits.

    A new sum must not add the old one.  Inferred adders spend a look-up table a bit on that; the
    carry cell's own tables have an input to spare, so they are instantiated.  Subclasses
    instantiate multiplier and carry cell.

    Measured with Yosys 0.70 on eight pairs of 24-bit sums, against inference by `SplitMac`: 385
    look-up table sites on ECP5 instead of 769, at 223 MHz instead of 124 (nextpnr-ecp5, speed 6,
    out of context); 385 on Nexus instead of 801, in 8 multipliers instead of 16.

    Latency: ``latency_cycles``, one of them the accumulator, the others in the multiplier.
    Throughput: one pair of products per enabled cycle.
    """

    @abstractmethod
    def product(self, m: Module, lane: int, activation: Value, result: Signal) -> None:
        """Instantiate the multiplier: ``latency_cycles - 1`` registers, clock enable ``enable``.

        Args:
            m: the module.
            lane: 0 or 1.
            activation: signed(8).
            result: signed(acc_bits), at most 36.
        """

    @abstractmethod
    def carry_cell(self, a: Value, b: Value, clear: Value, carry: Value, out: Signal) -> Instance:
        """Instantiate the cell for two bits of `GATED_SUM`; ``out`` is two sums and a carry."""

    def elaborate(self, platform):
        m = Module()
        stages = self.latency_cycles - 1
        valid = Signal(stages)
        load = Signal(stages)
        with m.If(self.enable):
            m.d.sync += [
                valid.eq(Cat(self.valid, valid)),
                load.eq(Cat(self.load, load)),
            ]
        # Carry cells come in pairs of bits.
        bits = self.acc_bits + self.acc_bits % 2
        totals = []
        for lane in range(2):
            product = Signal(signed(bits), name=f"product{lane}")
            total = Signal(bits, name=f"total{lane}")
            following = Signal(bits, name=f"following{lane}")
            self.product(m, lane, self.x.word_select(lane, 8).as_signed(), product)
            carry: Value = Const(0, 1)
            for bit in range(0, bits, 2):
                pair = slice(bit, bit + 2)
                out = Signal(3, name=f"out{lane}_{bit}")
                cell = self.carry_cell(total[pair], product[pair], load[-1], carry, out)
                m.submodules[f"sum{lane}_{bit}"] = cell
                m.d.comb += following[pair].eq(out[:2])
                carry = Value.cast(out[2])
            with m.If(self.enable & valid[-1]):
                m.d.sync += total.eq(following)
            totals.append(total[: self.acc_bits])
        self.capture_sums(m, Cat(*totals))
        return m
