"""Dense decoder: every row of the block is occupied."""

from amaranth.hdl import Module, Mux, Signal

from golden.kernels import CHUNK

from .base import ChunkDecoder

__all__ = ["DenseDecoder"]

_LOW = (CHUNK - 1).bit_length()


class DenseDecoder(ChunkDecoder):
    """Full chunks, the last one of a column cut to the last row; takes no index words."""

    def elaborate(self, platform):
        m = Module()
        out = self.chunks.payload
        count = Signal(max(1, self.k_bits - _LOW))
        tail = Signal(CHUNK)
        step = Signal()
        m.d.comb += [
            # Ones up to and including row last_row % CHUNK.
            tail.eq((2 << self.last_row[:_LOW]) - 1),
            out.base.eq(count),
            out.last.eq(count == self.last_row[_LOW:]),
            out.mask.eq(Mux(out.last, tail, (1 << CHUNK) - 1)),
            self.chunks.valid.eq(self.enable),
            step.eq(self.enable & self.chunks.ready),
            self.column_end.eq(step & out.last),
        ]
        with m.If(step):
            m.d.sync += count.eq(Mux(out.last, 0, count + 1))
        return m
