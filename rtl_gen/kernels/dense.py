"""Dense decoder: every row of the block is occupied."""

from amaranth.hdl import Module, Signal

from .base import BlockDecoder

__all__ = ["DenseDecoder"]


class DenseDecoder(BlockDecoder):
    """A counter of rows, one per cycle; takes no index words."""

    scanned = False

    def elaborate(self, platform):
        m = Module()
        out = self.found.payload
        step = Signal()
        m.d.comb += [
            out.valued.eq(1),
            out.last.eq(out.k == self.last_row),
            self.found.valid.eq(self.enable),
            step.eq(self.enable & self.found.ready),
            self.column_end.eq(step & out.last),
        ]
        count = Signal(self.k_bits)
        m.d.comb += out.k.eq(count)
        with m.If(step):
            m.d.sync += count.eq(count + 1)
        with m.If(self.column_end):
            m.d.sync += count.eq(0)
        return m
