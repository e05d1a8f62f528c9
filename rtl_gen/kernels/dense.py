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
        count = Signal(self.k_bits)
        following = Signal(self.k_bits, init=1)
        # Whether the row is the last is known before it is needed.
        last = Signal()
        m.d.comb += [
            out.k.eq(count),
            out.valued.eq(1),
            out.last.eq(last),
            self.found.valid.eq(self.enable),
            step.eq(self.enable & self.found.ready),
            self.column_end.eq(step & last),
        ]
        with m.If(step):
            m.d.sync += [
                count.eq(following),
                following.eq(following + 1),
                last.eq(following == self.last_row),
            ]
        with m.If(self.column_end):
            m.d.sync += [count.eq(0), following.eq(1)]
        with m.If(self.column_end | ~self.enable):
            m.d.sync += last.eq(self.last_row == 0)
        return m
