"""Packed multiply-accumulate by inference, and the packed form all DSP versions share."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed

from golden.numerics.mac_kinds import MAC_KINDS

from .base import PackedMac, packed_bits, wrap_counter

__all__ = ["InferredMac", "PackedPair"]


class PackedPair(PackedMac):
    """``P += (x1 * 2**shift + x0) * weight`` with a wrap counter; subclasses make ``P``."""

    shift: int

    @classmethod
    def raw_bits(cls, acc_bits: int) -> int:
        return sum(packed_bits(acc_bits, cls.shift))

    @classmethod
    def unpack(cls, m: Module, raw: Signal, acc_bits: int) -> tuple[Value, Value, Value]:
        shift = cls.shift
        wide, wraps = packed_bits(acc_bits, shift)
        low_sign = raw[shift - 1]
        # lo = wrap * 2**shift + signed(P[:shift]); the borrow of a negative field goes to both.
        upper = Signal(signed(wraps), name="upper")
        high = Signal(signed(acc_bits), name="high")
        m.d.comb += [
            upper.eq(raw[wide:].as_signed() - low_sign),
            high.eq(raw[shift:wide].as_signed() - upper),
        ]
        low = Cat(raw[:shift], upper).as_signed()
        return low, high, Const(0, 1)

    def capture_sum(self, m: Module, packed: Signal, loaded: Signal) -> None:
        """Wrap counter and capture registers behind the packed sum ``packed``.

        ``loaded`` is high in the cycle in which a newly loaded sum is first visible.
        """
        wide, wraps = packed_bits(self.acc_bits, self.shift)
        wrap = wrap_counter(
            m, packed=packed, shift=self.shift, bits=wraps, enable=self.enable, reset=loaded
        )
        kept = Signal(wide)
        kept_wrap = Signal(wraps)
        captured = Signal()
        m.d.sync += captured.eq(self.capture)
        with m.If(self.capture):
            m.d.sync += kept.eq(packed)
        with m.If(captured):
            m.d.sync += kept_wrap.eq(wrap)
        m.d.comb += self.raw.eq(Cat(kept, kept_wrap))


class InferredMac(PackedPair):
    """Plain operators; synthesis chooses the multiplier.

    The registers stand where a DSP block has them: operands, product, sum.
    """

    kind = MAC_KINDS["packed"]
    shift = 18

    def elaborate(self, platform):
        m = Module()
        wide, _ = packed_bits(self.acc_bits, self.shift)
        x0 = self.x[:8].as_signed()
        x1 = self.x[8:].as_signed()
        operand = Signal(signed(self.shift + 9))
        weight = Signal(signed(8))
        product = Signal(signed(self.shift + 17))
        total = Signal(signed(wide))
        valid = Signal(2)
        load = Signal(3)
        with m.If(self.enable):
            m.d.sync += [
                operand.eq((x1 << self.shift) + x0),
                weight.eq(self.weight.as_signed()),
                product.eq(operand * weight),
                valid.eq(Cat(self.valid, valid)),
                load.eq(Cat(self.load & self.valid, load)),
            ]
            with m.If(valid[1]):
                m.d.sync += total.eq(Mux(load[1], 0, total) + product)
        self.capture_sum(m, total, load[2])
        return m
