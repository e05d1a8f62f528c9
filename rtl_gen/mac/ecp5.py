"""Two MULT18X18D with all their registers (Lattice ECP5)."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value, signed

from golden.numerics.mac_kinds import MAC_KINDS

from .lattice import GATED_SUM, LatticeMac

__all__ = ["Ecp5Mac"]

_STAGES = ("INPUTA", "INPUTB", "PIPELINE", "OUTPUT")


class Ecp5Mac(LatticeMac):
    """One MULT18X18D per lane: input, pipeline and output register, then the accumulator.

    A register stands in front of them, for the activation that of the block memory which it
    comes from: block RAM and multipliers have columns of their own, and the way from one to the
    other needs a cycle.

    Packing both lanes into one 18x18 multiplier is possible, as the fields overlap by six bits
    that a 6x6 multiplication in look-up tables can restore, but it costs some 40 of them a pair;
    a second multiplier costs none.  Primitives: Lattice FPGA-TN-02205 (sysDSP), FPGA-TN-02012.
    """

    kind = MAC_KINDS["ecp5"]
    twin = "ECP5.v"
    cells = True

    def product(self, m: Module, lane: int, activation: Value, result: Signal) -> None:
        b = Signal(18, name=f"b{lane}")
        p = Signal(signed(36), name=f"p{lane}")
        a = Signal(18, name=f"a{lane}")
        m.d.comb += [result.eq(p), a.eq(activation)]
        with m.If(self.enable):
            m.d.sync += b.eq(self.weight.as_signed())
        ports: dict = {
            "i_SIGNEDA": Const(1),
            "i_SIGNEDB": Const(1),
            "i_SOURCEA": Const(0),
            "i_SOURCEB": Const(0),
            "i_CLK0": ClockSignal(),
            "i_CE0": self.enable,
            "i_RST0": Const(0),
        }
        for stage in _STAGES:
            ports |= {
                f"p_REG_{stage}_CLK": "CLK0",
                f"p_REG_{stage}_CE": "CE0",
                f"p_REG_{stage}_RST": "RST0",
            }
        ports |= {f"i_A{i}": a[i] for i in range(18)}
        ports |= {f"i_B{i}": b[i] for i in range(18)}
        ports |= {f"o_P{i}": p[i] for i in range(36)}
        m.submodules[f"multiplier{lane}"] = Instance("MULT18X18D", **ports)

    def carry_cell(self, a: Value, b: Value, clear: Value, carry: Value, out: Signal) -> Instance:
        ports: dict = {"p_INJECT1_0": "NO", "p_INJECT1_1": "NO"}
        for i in range(2):
            ports |= {
                f"p_INIT{i}": Const(GATED_SUM, 16),
                f"i_A{i}": a[i],
                f"i_B{i}": b[i],
                f"i_C{i}": clear,
                f"i_D{i}": Const(1),
                f"o_S{i}": out[i],
            }
        return Instance("CCU2C", i_CIN=carry, o_COUT=out[2], **ports)
