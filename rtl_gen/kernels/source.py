"""Event source: turns an engine's two weight rings into events."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.kernels import KERNELS
from golden.shape import ArrayShape

from ..event import block_header, chunk, event, marks, row
from . import DECODERS
from .scanner import ChunkScanner

__all__ = ["EventSource"]

# What the rings need beside the marks of an event: the segment is being played for a tile of
# tokens that is not the last, and its last column.
_FLAGS = data.StructLayout({**marks(), "hold": 1, "segment_end": 1})


class EventSource(wiring.Component):
    """Header sequencer, one decoder per kernel, scanner and value unpacker.

    Operation: a block header selects the decoder; the decoder finds occupied rows, by itself or
    through the scanner, one per cycle; the row meets its value byte and leaves as an event.  At
    the end of a segment the rings are rewound ``last_play`` times.

    Latency: header 1 cycle, decoder 1, scanner 1 more; one event per cycle.  An event leaves
    when its value is there and ``events.ready`` is high.

    Errors: an unknown kernel, more columns or rows than the array holds raise ``fault`` and stop
    the source until reset.

    Parameters
    ----------
    shape : ArrayShape
        The array: its kernels and their parameters, tile depth and columns per block.

    Members
    -------
    start : In(1)
        Begin a job (one cycle).
    last_play : In(8)
        Tiles of tokens in the job, less one: how often each segment is played again.
    index, values : In(stream of 64 bits)
    index_hold, index_rewind, values_hold, values_rewind, index_align, values_align : Out(1)
        Control of the rings.
    events : Out(stream of `rtl_gen.event.event`)
    fault : Out(1)
        Sticky.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self._shape = shape
        super().__init__(
            {
                "start": In(1),
                "last_play": In(8),
                "index": In(stream.Signature(64)),
                "values": In(stream.Signature(64)),
                "index_hold": Out(1),
                "index_rewind": Out(1),
                "values_hold": Out(1),
                "values_rewind": Out(1),
                "index_align": Out(1),
                "values_align": Out(1),
                "events": Out(stream.Signature(event(shape.k_bits))),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        header = Signal(block_header())
        running = Signal()
        column_end = Signal()
        flags = Signal(_FLAGS)
        self._sequence(m, header, running, column_end, flags)
        rows = self._decode(m, header, running, column_end, flags)
        self._join(m, rows)
        return m

    def _sequence(self, m: Module, header, running, column_end, flags) -> None:
        """Read headers, count columns and plays."""
        shape = self._shape
        incoming = data.View(block_header(), self.index.payload)
        column = Signal((shape.columns - 1).bit_length())
        replay = Signal(8)
        idle = Signal(init=1)
        in_header = Signal()
        last_column = Signal()
        last_play = Signal()
        block_end = Signal()
        known = Signal()
        kernels = [incoming.kernel == KERNELS[name].code for name in shape.kernels]
        m.d.comb += [
            last_column.eq(column == header.columns[: len(column)]),
            last_play.eq(replay == self.last_play),
            block_end.eq(column_end & last_column),
            self.index_hold.eq(~last_play & ~idle),
            self.index_align.eq(idle),
            known.eq(
                Cat(*kernels).any()
                & ~incoming.columns[len(column) :].any()
                & ~incoming.depth[shape.k_bits :].any()
            ),
            flags.first.eq(header.first),
            flags.final.eq(header.final),
            flags.hold.eq(~last_play),
            flags.block_end.eq(last_column),
            flags.tile_end.eq(last_column & header.tile_end),
            flags.segment_end.eq(last_column & header.segment_end),
            flags.job_end.eq(flags.segment_end & header.job_end & last_play),
        ]
        with m.If(self.start & idle):
            m.d.sync += [idle.eq(0), in_header.eq(1)]
        with m.If(in_header):
            m.d.comb += self.index.ready.eq(1)
            with m.If(self.index.valid):
                m.d.sync += [header.eq(incoming), in_header.eq(0), running.eq(known)]
                with m.If(~known):
                    m.d.sync += self.fault.eq(1)
        with m.If(column_end):
            m.d.sync += column.eq(column + 1)
        with m.If(block_end):
            m.d.sync += [running.eq(0), in_header.eq(~flags.job_end), column.eq(0)]
            m.d.comb += self.index_rewind.eq(header.segment_end)
            with m.If(header.segment_end):
                m.d.sync += replay.eq(replay + 1)
                with m.If(last_play):
                    m.d.sync += [replay.eq(0), idle.eq(header.job_end)]

    def _decode(self, m: Module, header, running, column_end, flags):
        """The decoders and, where one needs it, the scanner; returns the stream of rows."""
        k_bits = self._shape.k_bits
        chunks = stream.Signature(chunk(k_bits)).create()
        direct = stream.Signature(row(k_bits)).create()
        decoders = {name: DECODERS[name](self._shape) for name in self._shape.kernels}
        for name, decoder in decoders.items():
            m.submodules[name] = decoder
            m.d.comb += [
                decoder.last_row.eq(header.depth[:k_bits]),
                decoder.final_column.eq(flags.block_end),
                decoder.index.payload.eq(self.index.payload),
                decoder.index.valid.eq(self.index.valid),
                decoder.found.ready.eq(chunks.ready if decoder.scanned else direct.ready),
            ]
            with m.If(header.kernel == KERNELS[name].code):
                found = chunks if decoder.scanned else direct
                m.d.comb += [
                    decoder.enable.eq(running),
                    found.valid.eq(decoder.found.valid),
                    found.payload.eq(decoder.found.payload),
                    column_end.eq(decoder.column_end),
                ]
                with m.If(running):
                    m.d.comb += self.index.ready.eq(decoder.index.ready)

        kinds = {decoder.scanned for decoder in decoders.values()}
        merged = stream.Signature(data.StructLayout({"row": row(k_bits), "flags": _FLAGS})).create()
        if False in kinds:
            m.d.comb += [
                merged.valid.eq(direct.valid),
                merged.payload.row.eq(direct.payload),
                merged.payload.flags.eq(flags),
                direct.ready.eq(merged.ready),
            ]
        if True in kinds:
            m.submodules.scanner = scanner = ChunkScanner(k_bits, _FLAGS)
            m.d.comb += [
                scanner.chunks.valid.eq(chunks.valid),
                scanner.chunks.payload.chunk.eq(chunks.payload),
                scanner.chunks.payload.flags.eq(flags),
                chunks.ready.eq(scanner.chunks.ready),
                scanner.rows.ready.eq(merged.ready),
            ]
            # What the scanner holds is older than what a decoder finds now.
            with m.If(scanner.rows.valid if False in kinds else 1):
                m.d.comb += [
                    merged.valid.eq(scanner.rows.valid),
                    merged.payload.eq(scanner.rows.payload),
                    direct.ready.eq(0),
                ]
        return merged

    def _join(self, m: Module, rows) -> None:
        """Pair each row with its value byte, eight to a word, in the order of the events."""
        found = Signal.like(rows.payload)
        valid = Signal()
        with m.If(rows.ready):
            m.d.sync += [valid.eq(rows.valid), found.eq(rows.payload)]

        out = self.events.payload
        flags = found.flags
        byte = Signal(3)
        take = Signal()
        closing = Signal()
        idle = Signal(init=1)
        m.d.comb += [
            self.events.valid.eq(valid & (self.values.valid | ~found.row.valued)),
            take.eq(self.events.valid & self.events.ready),
            rows.ready.eq(~valid | take),
            closing.eq(found.row.last & flags.segment_end),
            out.value.eq(Array(self.values.payload.word_select(i, 8) for i in range(8))[byte]),
            *(out[name].eq(found.row[name]) for name in ("k", "valued", "last")),
            *(out[name].eq(flags[name]) for name in marks()),
            self.values_hold.eq(flags.hold & ~idle),
            self.values_align.eq(idle),
        ]
        with m.If(take):
            m.d.sync += byte.eq(byte + found.row.valued)
            # A segment ends at a whole word.
            m.d.comb += self.values.ready.eq(
                Mux(closing, found.row.valued | byte.any(), found.row.valued & (byte == 7))
            )
            with m.If(closing):
                m.d.comb += self.values_rewind.eq(1)
                m.d.sync += byte.eq(0)
                with m.If(flags.job_end):
                    m.d.sync += idle.eq(1)
        with m.If(self.start):
            m.d.sync += idle.eq(0)
