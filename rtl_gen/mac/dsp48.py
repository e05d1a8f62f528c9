"""Packed multiply-accumulate inside one AMD DSP slice (DSP48E2, DSP48E1).

Set-ups of the slices: AMD UG579 (UltraScale, chapter 2, OPMODE tables) and UG479 (7 series).
Look-up tables of one pair beside its slice, measured with Yosys 0.70 on eight pairs of 24-bit
sums: DSP48E2 2, DSP48E1 8.
"""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed

from golden.numerics.mac_kinds import MAC_KINDS

from .base import packed_bits
from .packed import PackedPair

__all__ = ["Dsp48E1Mac", "Dsp48E2Mac"]

_P_BITS = 48


class _Dsp48Mac(PackedPair):
    """Pre-adder packs the pair, the multiplier and the 48-bit accumulator do the rest.

    Only the wrap counter and the capture registers are outside the slice.  Pipeline: A/D/B1,
    AD/B2, M, P.  Throughput: one pair of products per enabled cycle.
    """

    primitive: str
    multiplier_bits: int
    opmode_bits: int
    extra_parameters: dict[str, int | str]

    def elaborate(self, platform):
        m = Module()
        x0 = self.x[:8].as_signed()
        x1 = self.x[8:].as_signed()
        valid = Signal(3)
        load = Signal(4)
        with m.If(self.enable):
            m.d.sync += [
                valid.eq(Cat(self.valid, valid)),
                load.eq(Cat(self.load & self.valid, load)),
            ]
        a = Signal(signed(30))
        b = Signal(signed(18))
        d = Signal(signed(self.multiplier_bits))
        p = Signal(_P_BITS)
        addend = Signal(_P_BITS)
        carry = Signal()
        opmode = Signal(self.opmode_bits)
        accumulate = Signal()
        m.d.comb += [
            a.eq(x1 << self.shift),
            d.eq(x0),
            b.eq(self.weight.as_signed()),
            opmode.eq(self.opmode(load[1])),
            accumulate.eq(self.enable & valid[2]),
        ]
        parameters: dict[str, int | str] = {
            "AREG": 1,
            "ACASCREG": 1,
            "BREG": 2,
            "BCASCREG": 2,
            "DREG": 1,
            "ADREG": 1,
            "CREG": 0,
            "MREG": 1,
            "PREG": 1,
            "OPMODEREG": 1,
            "ALUMODEREG": 0,
            "INMODEREG": 0,
            "CARRYINREG": 0,
            "CARRYINSELREG": 0,
            "USE_MULT": "MULTIPLY",
            **self.extra_parameters,
        }
        inputs = {
            "CLK": ClockSignal(),
            "A": a,
            "B": b,
            "C": addend,
            "D": d,
            "INMODE": Const(0b00100, 5),
            "OPMODE": opmode,
            "ALUMODE": Const(0, 4),
            "CARRYIN": carry,
            "CARRYINSEL": Const(0, 3),
            "CEP": accumulate,
        }
        for name in ("CEA2", "CEB1", "CEB2", "CED", "CEAD", "CEM", "CECTRL"):
            inputs[name] = self.enable
        for name in ("CEA1", "CEC", "CEALUMODE", "CECARRYIN", "CEINMODE"):
            inputs[name] = Const(0, 1)
        for name in ("A", "B", "C", "D", "M", "P", "CTRL", "ALUMODE", "INMODE", "ALLCARRYIN"):
            inputs[f"RST{name}"] = Const(0, 1)
        m.submodules.dsp = Instance(
            self.primitive,
            **{f"p_{name}": value for name, value in parameters.items()},
            **{f"i_{name}": value for name, value in inputs.items()},
            o_P=p,
        )
        self.count_wraps(m, p, addend, carry, accumulate, load)
        return m

    def opmode(self, load: Value) -> Value:
        """Operands of the 48-bit adder: X and Y the product, Z the sum unless a new one begins."""
        return Value.cast(Cat(Const(0b0101, 4), Const(0, 1), ~load, Const(0, self.opmode_bits - 6)))

    def count_wraps(
        self,
        m: Module,
        p: Signal,
        addend: Signal,
        carry: Signal,
        accumulate: Signal,
        load: Signal,
    ) -> None:
        """Wrap counter and capture behind the slice.

        Args:
            m: the module.
            p: output of the slice.
            addend, carry: its ports C and CARRYIN.
            accumulate: ``p`` changes with this cycle.
            load: bit i is high i + 1 enabled cycles after a ``load``; bit 2 marks the product
                that ``accumulate`` takes.
        """
        wide, _ = packed_bits(self.acc_bits, self.shift)
        self.capture_sum(m, p[:wide], load[3])


class Dsp48E2Mac(_Dsp48Mac):
    """UltraScale and UltraScale+: 27x18 multiplier, shift 18.

    While ``2 * acc_bits <= 48`` the slice counts the wraps itself: bits ``18 + acc_bits`` and up of
    P are free, and a wrap seen after one product takes 1 or -1 from them together with the next
    one, through C, the W multiplexer and the carry.  It takes the wrap out of the upper sum at the
    same time, so that P is

        sum - wraps * 2**18 - wraps * 2**(18 + acc_bits)

    and the upper sum stands there but for one carry.  Two look-up tables make C and the carry out
    of the two watched bits and of the upper one at the product before.  A product moves the field
    by a quarter of its range at most, so these three tell a wrap.  That of the very last product is
    not in P when a column is captured: the bit of the product before is captured too.  Wider sums
    keep the counter outside.
    """

    kind = MAC_KINDS["dsp48e2"]
    shift = 18
    twin = "DSP48E2.v"
    primitive = "DSP48E2"
    multiplier_bits = 27
    opmode_bits = 9
    extra_parameters = {"AMULTSEL": "AD"}

    @classmethod
    def _counts_inside(cls, acc_bits: int) -> bool:
        return sum(packed_bits(acc_bits, cls.shift)) <= _P_BITS

    @classmethod
    def raw_bits(cls, acc_bits: int) -> int:
        return super().raw_bits(acc_bits) + cls._counts_inside(acc_bits)

    @classmethod
    def unpack(cls, m: Module, raw: Signal, acc_bits: int) -> tuple[Value, Value, Value]:
        if not cls._counts_inside(acc_bits):
            return super().unpack(m, raw, acc_bits)
        shift = cls.shift
        wide, wraps = packed_bits(acc_bits, shift)
        sign = raw[shift - 1]
        moved = (sign ^ raw[shift - 2]) & (sign ^ raw[-1])
        # Signed low field and pending wrap together: a wrap upwards leaves the field negative,
        # 1 - 1 = 0, one downwards leaves it positive, -1 - 0.
        less = Signal(name="less")
        upper = Signal(signed(wraps), name="upper")
        m.d.comb += [
            less.eq(moved ^ sign),
            # A negative sum borrows 1 from the count above it.
            upper.eq(-(raw[wide : wide + wraps].as_signed() + raw[wide - 1] + less)),
        ]
        return Cat(raw[:shift], upper).as_signed(), raw[shift:wide].as_signed(), less

    def opmode(self, load: Value) -> Value:
        opmode = super().opmode(load)
        if not self._counts_inside(self.acc_bits):
            return opmode
        # W takes C where Z takes the sum: a new sum forgets the wrap that the last one left.
        return Value.cast(Cat(opmode[:7], ~load, ~load))

    def count_wraps(
        self,
        m: Module,
        p: Signal,
        addend: Signal,
        carry: Signal,
        accumulate: Signal,
        load: Signal,
    ) -> None:
        if not self._counts_inside(self.acc_bits):
            super().count_wraps(m, p, addend, carry, accumulate, load)
            return
        wide, wraps = packed_bits(self.acc_bits, self.shift)
        below, now = p[self.shift - 2], p[self.shift - 1]
        before = Signal()
        up = Signal()
        down = Signal()
        m.d.comb += [
            # The carry is added where a sum begins as well, when C is not.
            up.eq(now & ~below & ~before & ~load[2]),
            down.eq(~now & below & before),
            # -x is ~x and a carry.
            addend.eq(up.replicate(_P_BITS)),
            addend[self.shift].eq(down),
            addend[wide].eq(down),
            carry.eq(up),
        ]
        with m.If(accumulate & load[2]):
            m.d.sync += before.eq(0)
        with m.Elif(accumulate):
            m.d.sync += before.eq(now)
        kept = Signal(wide + wraps + 1)
        with m.If(self.capture):
            m.d.sync += kept.eq(Cat(p[: wide + wraps], before))
        m.d.comb += self.raw.eq(kept)


class Dsp48E1Mac(_Dsp48Mac):
    """7 series: 25x18 multiplier, shift 16; its adder has no fourth operand to count with."""

    kind = MAC_KINDS["dsp48e1"]
    shift = 16
    twin = "DSP48E1.v"
    primitive = "DSP48E1"
    multiplier_bits = 25
    opmode_bits = 7
    extra_parameters = {"USE_DPORT": "TRUE"}
