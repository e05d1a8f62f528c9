"""Value reader: pairs occupied rows with their value bytes."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..event import event, row

__all__ = ["ValueReader"]


class ValueReader(wiring.Component):
    """Bytes of the value words, eight to a word, in the order of the rows.

    Operation: a row that is ``valued`` takes the next byte, unless it is ``carried`` and has its
    own; a close token passes alone.  At the
    end of a segment the rest of the word is discarded and the ring rewound, if the segment is
    to be played again; between jobs the ring is aligned to a beat.

    Latency: 0; one event per cycle.

    Parameters
    ----------
    k_bits : int
    carried : bool
        Rows may have their values with them (`rtl_gen.event.carries_values`).

    Members
    -------
    start : In(1)
        Begin a job (one cycle).
    rows : In(stream of `rtl_gen.event.row`)
    values : In(stream of 64 bits)
    hold, rewind, align : Out(1)
        Control of the values' ring.
    events : Out(stream of `rtl_gen.event.event`)
    """

    def __init__(self, k_bits: int, carried: bool = False) -> None:
        self._carried = carried
        super().__init__(
            {
                "start": In(1),
                "rows": In(stream.Signature(row(k_bits, carried))),
                "values": In(stream.Signature(64)),
                "hold": Out(1),
                "rewind": Out(1),
                "align": Out(1),
                "events": Out(stream.Signature(event(k_bits, carried))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        found = self.rows.payload
        out = self.events.payload
        byte = Signal(3)
        take = Signal()
        closing = Signal()
        idle = Signal(init=1)
        needs_byte = Signal()
        m.d.comb += [
            needs_byte.eq(found.valued & ~found.carried if self._carried else found.valued),
            self.events.valid.eq(self.rows.valid & (self.values.valid | ~needs_byte)),
            take.eq(self.events.valid & self.events.ready),
            self.rows.ready.eq(take),
            closing.eq(found.last & found.segment_end),
            out.value.eq(Array(self.values.payload.word_select(i, 8) for i in range(8))[byte]),
            out.row.eq(found),
            self.hold.eq(found.hold & ~idle),
            self.rewind.eq(take & closing),
            self.align.eq(idle),
        ]
        if self._carried:
            with m.If(found.carried):
                m.d.comb += out.value.eq(found.byte)
        with m.If(take):
            m.d.sync += byte.eq(byte + needs_byte)
            # A segment ends at a whole word.
            m.d.comb += self.values.ready.eq(
                Mux(closing, needs_byte | byte.any(), needs_byte & (byte == 7))
            )
            with m.If(closing):
                m.d.sync += byte.eq(0)
                with m.If(found.job_end):
                    m.d.sync += idle.eq(1)
        with m.If(self.start):
            m.d.sync += idle.eq(0)
        return m
