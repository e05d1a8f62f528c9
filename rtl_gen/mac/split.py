"""Two separate 8x8 multipliers with plain accumulators, for families without a wide multiplier."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed

from .base import PackedMac

__all__ = ["SplitMac"]


class SplitMac(PackedMac):
    """One small multiplier per lane (ECP5, iCE40, Gowin, Nexus)."""

    latency_cycles = 3

    @classmethod
    def raw_bits(cls, acc_bits: int) -> int:
        return 2 * acc_bits

    @classmethod
    def unpack(cls, m: Module, raw: Signal, acc_bits: int) -> tuple[Value, Value]:
        return raw[:acc_bits].as_signed(), raw[acc_bits:].as_signed()

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
                weight.eq(self.weight),
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
        kept = Signal(2 * self.acc_bits)
        with m.If(self.capture):
            m.d.sync += kept.eq(Cat(*totals))
        m.d.comb += self.raw.eq(kept)
        return m
