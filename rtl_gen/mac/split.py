"""Two separate 8x8 multipliers with plain accumulators, for any family."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from golden.numerics.mac_kinds import MAC_KINDS

from .base import PackedMac

__all__ = ["SplitMac", "SplitPair"]


class SplitPair(PackedMac):
    """``raw`` holds the two sums side by side, the one of ``x0`` in the low bits."""

    @classmethod
    def raw_bits(cls, acc_bits: int) -> int:
        return 2 * acc_bits

    @classmethod
    def unpack(cls, m: Module, raw: Signal, acc_bits: int) -> tuple[Value, Value, Value]:
        return raw[:acc_bits].as_signed(), raw[acc_bits:].as_signed(), Const(0, 1)

    def capture_sums(self, m: Module, sums: Value) -> None:
        """Capture registers behind the sums."""
        kept = Signal(len(self.raw))
        with m.If(self.capture):
            m.d.sync += kept.eq(sums)
        m.d.comb += self.raw.eq(kept)


class SplitMac(SplitPair):
    """Plain operators, one small multiplier per lane; synthesis chooses the blocks.

    This is also the version for Intel: Yosys 0.70 maps each lane to a ``MISTRAL_MUL9X9``, three
    to a DSP block, and an instance would gain little, as a block has one accumulator for three
    sums.  Measured on eight pairs of 24-bit sums with ``synth_intel_alm``: 778 ALUTs and 5 1/3
    blocks, against 980 and 8 for the packed multiplier.
    """

    kind = MAC_KINDS["split"]

    def elaborate(self, platform):
        m = Module()
        x = Signal(16)
        weight = Signal(signed(8))
        valid = Signal(2)
        load = Signal(2)
        totals = []
        with m.If(self.enable):
            m.d.sync += [
                x.eq(self.x),
                weight.eq(self.weight.as_signed()),
                valid.eq(Cat(self.valid, valid)),
                load.eq(Cat(self.load, load)),
            ]
        for lane in range(2):
            product = Signal(signed(16), name=f"product{lane}")
            total = Signal(signed(self.acc_bits), name=f"total{lane}")
            with m.If(self.enable):
                m.d.sync += product.eq(x.word_select(lane, 8).as_signed() * weight)
                with m.If(valid[1]):
                    m.d.sync += total.eq(Mux(load[1], 0, total) + product)
            totals.append(total)
        self.capture_sums(m, Cat(*totals))
        return m
