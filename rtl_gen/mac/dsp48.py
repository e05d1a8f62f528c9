"""Packed multiply-accumulate inside one AMD DSP slice (DSP48E2, DSP48E1)."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, signed

from .base import packed_bits
from .packed import PackedPair

__all__ = ["Dsp48E1Mac", "Dsp48E2Mac"]


class _Dsp48Mac(PackedPair):
    """Pre-adder packs the pair, the multiplier and the 48-bit accumulator do the rest.

    Only the wrap counter and the capture registers are outside the slice.  Pipeline: A/D/B1,
    AD/B2, M, P.
    """

    latency_cycles = 4
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
        p = Signal(48)
        opmode = Signal(self.opmode_bits)
        accumulate = Signal()
        m.d.comb += [
            a.eq(x1 << self.shift),
            d.eq(x0),
            b.eq(self.weight),
            # X and Y take the product; Z takes P unless a new sum begins.
            opmode.eq(Cat(Const(0b0101, 4), Const(0, 1), ~load[1], Const(0, 1))),
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
            "C": Const(0, 48),
            "D": d,
            "INMODE": Const(0b00100, 5),
            "OPMODE": opmode,
            "ALUMODE": Const(0, 4),
            "CARRYIN": Const(0, 1),
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
        wide, _ = packed_bits(self.acc_bits, self.shift)
        self.capture_sum(m, p[:wide], load[3])
        return m


class Dsp48E2Mac(_Dsp48Mac):
    """UltraScale and UltraScale+: 27x18 multiplier, shift 18."""

    shift = 18
    primitive = "DSP48E2"
    multiplier_bits = 27
    opmode_bits = 9
    extra_parameters = {"AMULTSEL": "AD"}


class Dsp48E1Mac(_Dsp48Mac):
    """7 series: 25x18 multiplier, shift 16."""

    shift = 16
    primitive = "DSP48E1"
    multiplier_bits = 25
    opmode_bits = 7
    extra_parameters = {"USE_DPORT": "TRUE"}
