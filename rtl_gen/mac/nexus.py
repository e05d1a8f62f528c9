"""Two MULT9X9 with their registers (Lattice Nexus)."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value, signed

from golden.numerics.mac_kinds import MAC_KINDS

from .lattice import GATED_SUM, LatticeMac

__all__ = ["NexusMac"]


class NexusMac(LatticeMac):
    """One MULT9X9 per lane, half of an 18x18 multiplier: input and output register.

    Inference takes a whole MULT18X18 per lane.  Primitives: Lattice FPGA-TN-02096 (sysDSP for
    Nexus).
    """

    kind = MAC_KINDS["nexus"]
    twin = "NEXUS.v"

    def product(self, m: Module, lane: int, activation: Value, result: Signal) -> None:
        a = Signal(signed(9), name=f"a{lane}")
        b = Signal(signed(9), name=f"b{lane}")
        z = Signal(signed(18), name=f"z{lane}")
        m.d.comb += [a.eq(activation), b.eq(self.weight.as_signed()), result.eq(z)]
        m.submodules[f"multiplier{lane}"] = Instance(
            "MULT9X9",
            p_REGINPUTA="REGISTER",
            p_REGINPUTB="REGISTER",
            p_REGOUTPUT="REGISTER",
            p_RESETMODE="SYNC",
            i_CLK=ClockSignal(),
            i_A=a,
            i_B=b,
            i_SIGNEDA=Const(1),
            i_SIGNEDB=Const(1),
            i_CEA=self.enable,
            i_CEB=self.enable,
            i_CEOUT=self.enable,
            i_RSTA=Const(0),
            i_RSTB=Const(0),
            i_RSTOUT=Const(0),
            o_Z=z,
        )

    def carry_cell(self, a: Value, b: Value, clear: Value, carry: Value, out: Signal) -> Instance:
        ports: dict = {"p_INJECT": "NO"}
        for i in range(2):
            ports |= {
                f"p_INIT{i}": f"0x{GATED_SUM:04X}",
                f"i_A{i}": a[i],
                f"i_B{i}": b[i],
                f"i_C{i}": clear,
                f"i_D{i}": Const(1),
                f"o_S{i}": out[i],
            }
        return Instance("CCU2", i_CIN=carry, o_COUT=out[2], **ports)
