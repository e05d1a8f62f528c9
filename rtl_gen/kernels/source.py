"""Event source: turns the index words of an engine's weights into occupied rows."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import KERNELS
from golden.formats.block_header import PADDING_BITS
from golden.shape import ArrayShape

from ..event import block_header, carries_values, chunk, column_flags, found_row, row
from . import DECODERS
from .scanner import ChunkScanner

__all__ = ["EventSource"]


class EventSource(wiring.Component):
    """Header sequencer, one decoder per kernel, and the scanner where one of them needs it.

    Operation: a block header selects the decoder; the decoder finds occupied rows, by itself or
    through the scanner.  At the end of a segment the ring is rewound ``last_play`` times.

    An array with ``operand`` skips padding in front of a header.

    Latency: header 1 cycle, as a word that is skipped; scanner 2 cycles; one row per cycle.

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
    index : In(stream of 64 bits)
    hold, rewind, align : Out(1)
        Control of the index words' ring.
    rows : Out(stream of `rtl_gen.event.row`)
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
                "hold": Out(1),
                "rewind": Out(1),
                "align": Out(1),
                "rows": Out(stream.Signature(row(shape.k_bits, carries_values(shape)))),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        header = Signal(block_header())
        running = Signal()
        column_end = Signal()
        flags = Signal(data.StructLayout(column_flags()))
        self._sequence(m, header, running, column_end, flags)
        self._decode(m, header, running, column_end, flags)
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
            self.hold.eq(~last_play & ~idle),
            self.align.eq(idle),
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
            there = self.index.valid
            if shape.operand:
                there &= incoming.as_value()[:PADDING_BITS].any()
            with m.If(there):
                m.d.sync += [header.eq(incoming), in_header.eq(0), running.eq(known)]
                with m.If(~known):
                    m.d.sync += self.fault.eq(1)
        with m.If(column_end):
            m.d.sync += column.eq(column + 1)
        with m.If(block_end):
            m.d.sync += [running.eq(0), in_header.eq(~flags.job_end), column.eq(0)]
            m.d.comb += self.rewind.eq(header.segment_end)
            with m.If(header.segment_end):
                m.d.sync += replay.eq(replay + 1)
        # The reset stands alone, so that synthesis gives it to the registers' own reset.
        with m.If(block_end & header.segment_end & last_play):
            m.d.sync += [replay.eq(0), idle.eq(header.job_end)]

    def _decode(self, m: Module, header, running, column_end, flags):
        """The decoders and, where one needs it, the scanner."""
        k_bits = self._shape.k_bits
        carried = carries_values(self._shape)
        chunks = stream.Signature(chunk(k_bits, carried)).create()
        direct = stream.Signature(found_row(k_bits)).create()
        decoders = {name: DECODERS[name](self._shape) for name in self._shape.kernels}
        seen: set[bool] = set()
        for name, decoder in decoders.items():
            m.submodules[name] = decoder
            m.d.comb += [
                decoder.last_row.eq(header.depth[:k_bits]),
                decoder.final_column.eq(flags.block_end),
                decoder.index.payload.eq(self.index.payload),
                decoder.index.valid.eq(self.index.valid),
                decoder.found.ready.eq(chunks.ready if decoder.scanned else direct.ready),
            ]
            found = chunks if decoder.scanned else direct
            selected = header.kernel == KERNELS[name].code if len(decoders) > 1 else Const(1)
            # What is not valid may be anything: the first of a kind needs no gate.
            if decoder.scanned not in seen:
                m.d.comb += found.payload.eq(decoder.found.payload)
            seen.add(decoder.scanned)
            with m.If(selected):
                m.d.comb += [
                    decoder.enable.eq(running),
                    found.valid.eq(decoder.found.valid),
                    found.payload.eq(decoder.found.payload),
                    column_end.eq(decoder.column_end),
                ]
                with m.If(running):
                    m.d.comb += self.index.ready.eq(decoder.index.ready)

        kinds = {decoder.scanned for decoder in decoders.values()}
        out = self.rows
        if False in kinds:
            m.d.comb += [
                out.valid.eq(direct.valid),
                *(out.payload[name].eq(direct.payload[name]) for name in ("k", "valued", "last")),
                *(out.payload[name].eq(flags[name]) for name in column_flags()),
                direct.ready.eq(out.ready),
            ]
        if True in kinds:
            m.submodules.scanner = scanner = ChunkScanner(k_bits, carried)
            m.d.comb += [
                scanner.chunks.valid.eq(chunks.valid),
                scanner.chunks.payload.chunk.eq(chunks.payload),
                scanner.chunks.payload.flags.eq(flags),
                chunks.ready.eq(scanner.chunks.ready),
                scanner.rows.ready.eq(out.ready),
            ]
            # What the scanner holds is older than what a decoder finds now.
            with m.If(~scanner.empty if False in kinds else 1):
                m.d.comb += [
                    out.valid.eq(scanner.rows.valid),
                    out.payload.eq(scanner.rows.payload),
                    direct.ready.eq(0),
                ]
