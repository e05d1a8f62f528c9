"""Scanner: occupancy masks in, one occupied row per cycle out."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import CHUNK

from ..event import chunk, column_flags, row

__all__ = ["ChunkScanner"]

_LOW = (CHUNK - 1).bit_length()


class ChunkScanner(wiring.Component):
    """Takes the lowest row out of the held mask in every cycle.

    Operation: an empty mask gives one close token.  A second chunk waits behind the held one, so
    rows follow each other without a gap and neither handshake passes through the masks' logic.

    Latency: 2 cycles from a chunk to its first row; one row per cycle.

    Parameters
    ----------
    k_bits : int
    carried : bool
        Chunks may hold their values (`rtl_gen.event.carries_values`); a row takes its own along.

    Members
    -------
    chunks : In(stream of {`rtl_gen.event.chunk`, `rtl_gen.event.column_flags`})
    rows : Out(stream of `rtl_gen.event.row`)
    empty : Out(1)
        No chunk is inside.
    """

    def __init__(self, k_bits: int, carried: bool = False) -> None:
        self._carried = carried
        self._held = data.StructLayout(
            {"chunk": chunk(k_bits, carried), "flags": data.StructLayout(column_flags())}
        )
        super().__init__(
            {
                "chunks": In(stream.Signature(self._held)),
                "rows": Out(stream.Signature(row(k_bits, carried))),
                "empty": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        waiting = Signal(self._held)
        waiting_valid = Signal()
        held = Signal(self._held)
        held_valid = Signal()
        several = Signal()
        occupied = Signal()
        move = Signal()
        mask = held.chunk.mask
        remaining = Signal(CHUNK)
        low = Signal(_LOW)
        for i in reversed(range(CHUNK)):
            with m.If(mask[i]):
                m.d.comb += low.eq(i)
        out = self.rows.payload
        m.d.comb += [
            self.rows.valid.eq(held_valid),
            out.k.eq(Cat(low, held.chunk.base)),
            out.valued.eq(occupied),
            out.last.eq(held.chunk.last & ~several),
            *(out[name].eq(held.flags[name]) for name in column_flags()),
            move.eq(~held_valid | (self.rows.ready & ~several)),
            self.chunks.ready.eq(~waiting_valid | move),
            remaining.eq(Mux(move, waiting.chunk.mask, mask & (mask - 1))),
        ]
        if self._carried:
            m.d.comb += [
                out.carried.eq(held.chunk.carried),
                out.byte.eq(held.chunk.word.word_select(low[:3], 8)),
            ]
        with m.If(self.chunks.ready):
            m.d.sync += [waiting_valid.eq(self.chunks.valid), waiting.eq(self.chunks.payload)]
        with m.If(move):
            m.d.sync += [
                held_valid.eq(waiting_valid),
                held.chunk.base.eq(waiting.chunk.base),
                held.chunk.last.eq(waiting.chunk.last),
                held.flags.eq(waiting.flags),
            ]
            if self._carried:
                m.d.sync += [
                    held.chunk.carried.eq(waiting.chunk.carried),
                    held.chunk.word.eq(waiting.chunk.word),
                ]
        with m.If(move | self.rows.ready):
            # Whether one row is left, and whether more are, is known before it is needed.
            m.d.sync += [
                mask.eq(remaining),
                occupied.eq(remaining.any()),
                several.eq(_several(m, remaining)),
            ]
        m.d.comb += self.empty.eq(~waiting_valid & ~held_valid)
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
