"""Event source: turns an engine's two weight rings into events."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.kernels import CHUNK, KERNELS
from golden.shape import ArrayShape

from ..event import block_header, chunk, event, position
from . import DECODERS

__all__ = ["EventSource"]

_LOW = (CHUNK - 1).bit_length()


class EventSource(wiring.Component):
    """Header sequencer, one decoder per kernel, scanner and value unpacker.

    Operation: a block header selects the decoder; the decoder hands occupied chunks to the
    scanner, which emits one position per cycle; the position meets its value byte and leaves as
    an event.  At the end of a segment the rings are rewound ``m_tiles - 1`` times.

    Latency: header 1 cycle, chunk 1, position 1; one event per cycle.  An event leaves when its
    value is there and ``events.ready`` is high.

    Errors: an unknown kernel, columns or depth that are 0 or exceed the array raise ``fault``
    and stops the source until reset.

    Parameters
    ----------
    shape : ArrayShape
        The array: its kernels and their parameters, tile depth and columns per block.

    Members
    -------
    start : In(1)
        Begin a job (one cycle).
    m_tiles : In(8)
        Tiles of tokens in the job, >= 1: how often each segment is played.
    index, values : In(stream of 64 bits)
    index_hold, index_rewind, values_hold, values_rewind, index_align, values_align : Out(1)
        Control of the rings.
    events : Out(stream of `rtl_gen.event.event`)
    fault : Out(1)
        Sticky.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self._shape = shape
        self._kernels = shape.kernels
        self._k_bits = k_bits = shape.k_bits
        self._columns = shape.columns
        super().__init__(
            {
                "start": In(1),
                "m_tiles": In(8),
                "index": In(stream.Signature(64)),
                "values": In(stream.Signature(64)),
                "index_hold": Out(1),
                "index_rewind": Out(1),
                "values_hold": Out(1),
                "values_rewind": Out(1),
                "index_align": Out(1),
                "values_align": Out(1),
                "events": Out(stream.Signature(event(k_bits))),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        chunks, block_last, header = self._sequence(m)
        self._scan(m, chunks, block_last, header)
        return m

    def _sequence(self, m: Module):
        """Read headers, run decoders; return their merged chunk stream."""
        k_bits = self._k_bits
        header = Signal(block_header())
        incoming = data.View(block_header(), self.index.payload)
        columns = Signal(range(self._columns + 1))
        last_row = Signal(k_bits)
        many = incoming.columns[len(columns) :].any()
        deep = incoming.depth[k_bits + 1 :].any()
        deepest = incoming.depth[k_bits] & ~incoming.depth[:k_bits].any()
        shallow = incoming.depth[:k_bits].any() & ~incoming.depth[k_bits]
        replay = Signal(8)
        idle = Signal(init=1)
        in_header = Signal()
        running = Signal()
        last_column = Signal()
        block_end = Signal()
        last_replay = Signal()
        known = Signal()
        m.d.comb += [
            last_column.eq(columns == 1),
            last_replay.eq(replay + 1 == self.m_tiles),
            self.index_hold.eq(~last_replay & ~idle),
            self.index_align.eq(idle),
            known.eq(
                Cat(incoming.kernel == KERNELS[name].code for name in self._kernels).any()
                & (incoming.columns[: len(columns)].any() & ~many)
                & ((deepest | shallow) & ~deep)
            ),
        ]

        chunks = stream.Signature(chunk(k_bits)).create()
        for name in self._kernels:
            decoder = DECODERS[name](self._shape)
            m.submodules[name] = decoder
            selected = Signal(name=f"{name}_selected")
            m.d.comb += [
                selected.eq(running & (header.kernel == KERNELS[name].code)),
                decoder.enable.eq(selected),
                decoder.last_row.eq(last_row),
                decoder.final_column.eq(last_column),
                decoder.index.payload.eq(self.index.payload),
                decoder.index.valid.eq(self.index.valid),
                decoder.chunks.ready.eq(chunks.ready),
            ]
            with m.If(selected):
                m.d.comb += [
                    chunks.valid.eq(decoder.chunks.valid),
                    chunks.payload.eq(decoder.chunks.payload),
                    self.index.ready.eq(decoder.index.ready),
                    block_end.eq(decoder.column_end & last_column),
                ]
                m.d.sync += columns.eq(columns - decoder.column_end)

        with m.If(self.start & idle):
            m.d.sync += [idle.eq(0), in_header.eq(1), replay.eq(0)]
        with m.If(in_header):
            m.d.comb += self.index.ready.eq(1)
            with m.If(self.index.valid):
                m.d.sync += [
                    header.eq(incoming),
                    columns.eq(incoming.columns),
                    last_row.eq(incoming.depth - 1),
                    in_header.eq(0),
                    running.eq(known),
                ]
                with m.If(~known):
                    m.d.sync += self.fault.eq(1)
        with m.If(block_end):
            m.d.sync += [running.eq(0), in_header.eq(1)]
            with m.If(header.segment_end):
                m.d.comb += self.index_rewind.eq(1)
                m.d.sync += replay.eq(Mux(last_replay, 0, replay + 1))
                with m.If(last_replay & header.job_end):
                    m.d.sync += [in_header.eq(0), idle.eq(1)]
        # The scanner may be a whole short segment behind, so it is told what follows its own.
        self._job_end = Signal()
        self._hold = Signal()
        m.d.comb += [
            self._job_end.eq(header.job_end & last_replay),
            self._hold.eq(
                Mux(
                    last_replay,
                    (self.m_tiles != 1) & ~header.job_end,
                    replay + 2 != self.m_tiles,
                )
            ),
        ]
        return chunks, last_column, header

    def _scan(self, m: Module, chunks, last_column, header) -> None:
        """One position per cycle out of the chunk register, then pair it with its value."""
        k_bits = self._k_bits
        # Scanner: the occupied rows of one chunk, lowest first.
        held = Signal(chunk(k_bits))
        held_valid = Signal()
        marks = Signal(position(k_bits))
        found = Signal(position(k_bits))
        found_valid = Signal()
        scan_ready = Signal()
        rest = Signal(CHUNK)
        low = Signal(_LOW)
        m.d.comb += rest.eq(held.mask & (held.mask - 1))
        for i in reversed(range(CHUNK)):
            with m.If(held.mask[i]):
                m.d.comb += low.eq(i)
        only = Signal()
        m.d.comb += [
            only.eq(~rest.any()),
            chunks.ready.eq(~held_valid | (scan_ready & only)),
        ]
        with m.If(chunks.ready):
            m.d.sync += [held_valid.eq(chunks.valid), held.eq(chunks.payload)]
            block_last = chunks.payload.last & last_column
            m.d.sync += [
                marks.first.eq(header.first),
                marks.final.eq(header.final),
                marks.tile_end.eq(header.tile_end & block_last),
                marks.segment_end.eq(header.segment_end & block_last),
                marks.hold.eq(self._hold),
                marks.job_end.eq(self._job_end & header.segment_end & block_last),
            ]
        with m.Elif(scan_ready):
            m.d.sync += held.mask.eq(rest)

        with m.If(scan_ready):
            m.d.sync += [
                found_valid.eq(held_valid),
                found.eq(marks),
                found.k.eq(Cat(low, held.base)),
                found.valued.eq(held.mask.any()),
                found.last.eq(held.last & only),
                found.tile_end.eq(marks.tile_end & only),
                found.segment_end.eq(marks.segment_end & only),
                found.job_end.eq(marks.job_end & only),
            ]

        # Values: eight to a word, consumed in the order of the events.
        out = self.events.payload
        byte = Signal(3)
        take = Signal()
        values_hold = self.values_hold
        m.d.comb += [
            self.events.valid.eq(found_valid & (self.values.valid | ~found.valued)),
            take.eq(self.events.valid & self.events.ready),
            scan_ready.eq(~found_valid | take),
            out.k.eq(found.k),
            out.value.eq(
                Mux(
                    found.valued,
                    Array(self.values.payload.word_select(i, 8) for i in range(8))[byte],
                    0,
                )
            ),
            out.valued.eq(found.valued),
            out.last.eq(found.last),
            out.first.eq(found.first),
            out.final.eq(found.final),
            out.tile_end.eq(found.tile_end),
            out.job_end.eq(found.job_end),
        ]
        values_idle = Signal(init=1)
        m.d.comb += self.values_align.eq(values_idle)
        open_word = Signal()
        m.d.comb += open_word.eq(found.valued | byte.any())
        with m.If(take):
            m.d.sync += byte.eq(byte + found.valued)
            m.d.comb += self.values.ready.eq(found.valued & (byte == 7))
            with m.If(found.segment_end):
                m.d.comb += [self.values.ready.eq(open_word), self.values_rewind.eq(1)]
                m.d.sync += [byte.eq(0), values_hold.eq(found.hold)]
            with m.If(found.job_end):
                m.d.sync += values_idle.eq(1)
        with m.If(self.start):
            m.d.sync += [values_hold.eq(self.m_tiles != 1), values_idle.eq(0)]
