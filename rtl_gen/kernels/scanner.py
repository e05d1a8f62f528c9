"""Scanner: occupancy masks in, one occupied row per cycle out."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.kernels import CHUNK

from ..event import chunk, column_flags, row

__all__ = ["ChunkScanner"]

_LOW = (CHUNK - 1).bit_length()


class ChunkScanner(wiring.Component):
    """Takes the lowest row out of the held mask in every cycle.

    Operation: an empty mask gives one close token.  The next chunk is accepted in the cycle in
    which the last row of the held one leaves, so rows follow each other without a gap.

    Latency: 1 cycle from a chunk to its first row; one row per cycle.

    Parameters
    ----------
    k_bits : int

    Members
    -------
    chunks : In(stream of {`rtl_gen.event.chunk`, `rtl_gen.event.column_flags`})
    rows : Out(stream of `rtl_gen.event.row`)
    """

    def __init__(self, k_bits: int) -> None:
        self._held = data.StructLayout(
            {"chunk": chunk(k_bits), "flags": data.StructLayout(column_flags())}
        )
        super().__init__(
            {
                "chunks": In(stream.Signature(self._held)),
                "rows": Out(stream.Signature(row(k_bits))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        held = Signal(self._held)
        valid = Signal()
        mask = held.chunk.mask
        low = Signal(_LOW)
        for i in reversed(range(CHUNK)):
            with m.If(mask[i]):
                m.d.comb += low.eq(i)
        # Two or more rows are left: by halves, so that it is known long before the rest is.
        several = _several(m, mask)
        out = self.rows.payload
        m.d.comb += [
            self.rows.valid.eq(valid),
            out.k.eq(Cat(low, held.chunk.base)),
            out.valued.eq(mask.any()),
            out.last.eq(held.chunk.last & ~several),
            *(out[name].eq(held.flags[name]) for name in column_flags()),
            self.chunks.ready.eq(~valid | (self.rows.ready & ~several)),
        ]
        with m.If(self.chunks.ready):
            m.d.sync += [valid.eq(self.chunks.valid), held.eq(self.chunks.payload)]
        with m.Elif(self.rows.ready):
            m.d.sync += mask.eq(mask & (mask - 1))
        return m


def _several(m: Module, mask):
    """Whether two or more bits of ``mask`` are set."""
    parts = [(mask[i], None) for i in range(CHUNK)]
    level = 0
    while len(parts) > 1:
        merged = []
        for i in range(0, len(parts), 2):
            (left, left_several), (right, right_several) = parts[i], parts[i + 1]
            one = Signal(name=f"any_{level}_{i // 2}")
            two = Signal(name=f"several_{level}_{i // 2}")
            m.d.comb += [one.eq(left | right), two.eq(left & right)]
            if left_several is not None:
                m.d.comb += two.eq((left & right) | left_several | right_several)
            merged.append((one, two))
        parts = merged
        level += 1
    return parts[0][1]
