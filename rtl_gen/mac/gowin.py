"""Both products and sums in one MULTALU36X18 (Gowin)."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed

from golden.numerics.mac_kinds import MAC_KINDS

from .packed import PackedPair

__all__ = ["GowinMac"]


class GowinMac(PackedPair):
    """36x18 multiplier and 54-bit accumulator: the fields are 26 bits apart.

    A sum of up to 26 bits (tiles of up to 1024 rows) can't leave such a field, so there is no
    wrap counter; wider sums have one of two bits.  Pipeline: A/B, product, sum.  The block has one
    clock enable only, so a cycle without a product adds zero: the weight is gated, once for all
    pairs of an engine.

    Latency: 3.  Throughput: one pair of products per enabled cycle.  It takes two 18x18
    multipliers a pair where two MULT9X9 take one, but no look-up tables for the sums:
    measured with Yosys 0.70 on eight pairs of 24-bit sums, 81 sites instead of 769.  Primitive:
    Gowin UG287 (DSP), mode 1, ``ACC/0 + A * B``.
    """

    kind = MAC_KINDS["gowin"]
    shift = 26
    twin = "MULTALU36X18.v"

    @classmethod
    def raw_bits(cls, acc_bits: int) -> int:
        return 2 * acc_bits if acc_bits <= cls.shift else super().raw_bits(acc_bits)

    @classmethod
    def unpack(cls, m: Module, raw: Signal, acc_bits: int) -> tuple[Value, Value, Value]:
        if acc_bits > cls.shift:
            return super().unpack(m, raw, acc_bits)
        return raw[:acc_bits].as_signed(), raw[acc_bits:].as_signed(), Value.cast(raw[acc_bits - 1])

    def elaborate(self, platform):
        m = Module()
        weight = Signal(signed(18))
        pair = Signal(signed(36))
        total = Signal(54)
        load = Signal(3)
        x0 = self.x[:8].as_signed()
        # A negative x0 borrows 1 from the field above.
        x1 = Signal(signed(10))
        m.d.comb += [
            weight.eq((self.weight & self.valid.replicate(8)).as_signed()),
            x1.eq(self.x[8:].as_signed() - self.x[7]),
            pair.eq(Cat(x0, self.x[7].replicate(self.shift - 8), x1)),
        ]
        with m.If(self.enable):
            m.d.sync += load.eq(Cat(self.load & self.valid, load))
        parameters = {
            "AREG": 1,
            "BREG": 1,
            "CREG": 0,
            "PIPE_REG": 1,
            "OUT_REG": 1,
            "ASIGN_REG": 0,
            "BSIGN_REG": 0,
            "ACCLOAD_REG0": 1,
            "ACCLOAD_REG1": 1,
            "C_ADD_SUB": 0,
        }
        m.submodules.block = Instance(
            "MULTALU36X18",
            **{f"p_{name}": Const(value, 1) for name, value in parameters.items()},
            p_MULT_RESET_MODE="SYNC",
            p_MULTALU36X18_MODE=1,
            i_CLK=ClockSignal(),
            i_CE=self.enable,
            i_RESET=Const(0, 1),
            i_A=weight,
            i_B=pair,
            i_C=Const(0, 54),
            i_CASI=Const(0, 55),
            i_ASIGN=Const(1, 1),
            i_BSIGN=Const(1, 1),
            i_ACCLOAD=~(self.load & self.valid),
            o_DOUT=total,
        )
        if self.acc_bits > self.shift:
            self.capture_sum(m, total[: self.shift + self.acc_bits], load[2])
            return m
        kept = Signal(2 * self.acc_bits)
        with m.If(self.capture):
            m.d.sync += kept.eq(
                Cat(total[: self.acc_bits], total[self.shift : self.shift + self.acc_bits])
            )
        m.d.comb += self.raw.eq(kept)
        return m
