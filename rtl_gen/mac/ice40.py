"""Two products and the low halves of two sums in one SB_MAC16 (Lattice iCE40 UltraPlus)."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Signal, Value, signed

from golden.numerics.mac_kinds import MAC_KINDS

from .base import wrap_counter
from .split import SplitPair

__all__ = ["Ice40Mac"]

_LOW = 16
"""Bits of one of the block's two adders."""


class Ice40Mac(SplitPair):
    """SB_MAC16 in 8x8 mode: each half multiplies and adds 16 bits, its wraps are counted outside.

    A 16-bit sum of INT8 products is exactly the low field of a packed sum: a product is at most a
    quarter of its range, so the wrap counter makes it exact to any depth.  The block can't start
    a sum with a product while it holds another, so the sum returns through C and D, where a new
    one is gated off, instead of inside the block.  Pipeline: A/B, product, sum.

    Measured with Yosys 0.70 and nextpnr-ice40 (UP5K) on four pairs of 24-bit sums, against
    inference by `SplitMac`: 231 look-up tables instead of 379, 4 blocks instead of 8, 78 MHz
    instead of 58.  Synthesise without ``-dsp``: that pass takes the instance for an inferred
    multiplication and silently drops its addends (Yosys issue 2922); ``sparsefuse synth`` does.

    Latency: 3.  Throughput: one pair of products per enabled cycle.  Primitive: Lattice
    FPGA-TN-02007 (DSP function usage guide for iCE40).
    """

    kind = MAC_KINDS["ice40"]
    twin = "SB_MAC16.v"

    @classmethod
    def unpack(cls, m: Module, raw: Signal, acc_bits: int) -> tuple[Value, Value, Value]:
        wraps = acc_bits - _LOW
        sums = []
        for lane in range(2):
            low = raw.word_select(lane, _LOW)
            upper = Signal(signed(wraps), name=f"upper{lane}")
            count = raw[2 * _LOW :].word_select(lane, wraps).as_signed()
            # The borrow of a negative low half.
            m.d.comb += upper.eq(count - low[-1])
            sums.append(Cat(low, upper).as_signed())
        return sums[0], sums[1], Const(0, 1)

    def elaborate(self, platform):
        m = Module()
        valid = Signal(2)
        load = Signal(3)
        with m.If(self.enable):
            m.d.sync += [
                valid.eq(Cat(self.valid, valid)),
                load.eq(Cat(self.load & self.valid, load)),
            ]
        # Top half: x1; bottom half: x0.
        total = Signal(2 * _LOW)
        gated = Signal(2 * _LOW)
        m.d.comb += gated.eq(total & ~load[1].replicate(2 * _LOW))
        parameters = {
            "NEG_TRIGGER": 0,
            "A_REG": 1,
            "B_REG": 1,
            "C_REG": 0,
            "D_REG": 0,
            "TOP_8x8_MULT_REG": 1,
            "BOT_8x8_MULT_REG": 1,
            "PIPELINE_16x16_MULT_REG1": 0,
            "PIPELINE_16x16_MULT_REG2": 0,
            "TOPADDSUB_UPPERINPUT": 1,
            "BOTADDSUB_UPPERINPUT": 1,
            "MODE_8x8": 1,
            "A_SIGNED": 1,
            "B_SIGNED": 1,
        }
        selections = {
            "TOPOUTPUT_SELECT": 1,
            "TOPADDSUB_LOWERINPUT": 1,
            "TOPADDSUB_CARRYSELECT": 0,
            "BOTOUTPUT_SELECT": 1,
            "BOTADDSUB_LOWERINPUT": 1,
            "BOTADDSUB_CARRYSELECT": 0,
        }
        ports: dict = {f"p_{name}": Const(value, 1) for name, value in parameters.items()}
        ports |= {f"p_{name}": Const(value, 2) for name, value in selections.items()}
        ports |= {
            "i_CLK": ClockSignal(),
            "i_CE": self.enable,
            "i_A": self.x,
            "i_B": Cat(self.weight, self.weight),
            "i_C": gated[_LOW:],
            "i_D": gated[:_LOW],
            "i_OHOLDTOP": ~valid[1],
            "i_OHOLDBOT": ~valid[1],
            "o_O": total,
        }
        for name in ("AHOLD", "BHOLD", "CHOLD", "DHOLD", "CI", "ACCUMCI", "SIGNEXTIN"):
            ports[f"i_{name}"] = Const(0, 1)
        for name in ("IRST", "ORST", "OLOAD", "ADDSUB"):
            ports |= {f"i_{name}TOP": Const(0, 1), f"i_{name}BOT": Const(0, 1)}
        m.submodules.block = Instance("SB_MAC16", **ports)

        wraps = self.acc_bits - _LOW
        counts = [
            wrap_counter(
                m,
                packed=total.word_select(lane, _LOW),
                shift=_LOW,
                bits=wraps,
                enable=self.enable,
                reset=load[2],
            )
            for lane in range(2)
        ]
        kept = Signal(2 * _LOW)
        kept_counts = Signal(2 * wraps)
        captured = Signal()
        m.d.sync += captured.eq(self.capture)
        with m.If(self.capture):
            m.d.sync += kept.eq(total)
        # The counter belongs to the sum of the cycle before.
        with m.If(captured):
            m.d.sync += kept_counts.eq(Cat(*counts))
        m.d.comb += self.raw.eq(Cat(kept, kept_counts))
        return m
