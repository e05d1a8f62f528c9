"""Scanner: occupancy masks in, one occupied row per cycle out."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import CHUNK

from ..event import chunk, column_flags, row
from .bits import lowest, several, without_lowest

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
        low = Signal(_LOW)
        more = Signal()
        occupied = Signal()
        move = Signal()
        # Rows behind the lowest one, which stands in a register of its own.
        rest = held.chunk.mask
        source = Signal(CHUNK)
        out = self.rows.payload
        m.d.comb += [
            self.rows.valid.eq(held_valid),
            out.k.eq(Cat(low, held.chunk.base)),
            out.valued.eq(occupied),
            out.last.eq(held.chunk.last & ~more),
            *(out[name].eq(held.flags[name]) for name in column_flags()),
            move.eq(~held_valid | (self.rows.ready & ~more)),
            self.chunks.ready.eq(~waiting_valid | move),
            source.eq(Mux(move, waiting.chunk.mask, rest)),
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
            # The next row and whether more follow are known before they are needed.
            m.d.sync += [
                low.eq(lowest(m, source)),
                rest.eq(without_lowest(m, source)),
                occupied.eq(source.any()),
                more.eq(several(m, source)),
            ]
        m.d.comb += self.empty.eq(~waiting_valid & ~held_valid)
        return m
