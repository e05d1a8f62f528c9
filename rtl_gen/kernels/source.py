"""Event source: turns the index words of an engine's weights into occupied rows."""

from amaranth.hdl import Cat, Const, Module, Signal, Value
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

    A block's decoder is enabled by a register of its own, and one that gives rows by itself only
    when the scanner is empty, so the two never meet.

    Latency: header 2 cycles, end of a block 1, start of a job 1, as a word that is skipped;
    scanner 2 cycles; one row per cycle.

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
        opening = Signal()
        running = Signal()
        column_end = Signal()
        block_end = Signal()
        flags = Signal(data.StructLayout(column_flags()))
        decoders = {name: DECODERS[name](self._shape) for name in self._shape.kernels}
        known = self._sequence(m, header, opening, running, column_end, block_end, flags)
        empty = self._decode(m, decoders, header, column_end, flags)
        enables = []
        for name, decoder in decoders.items():
            enable = Signal(name=f"{name}_enable")
            begins = Signal(name=f"{name}_begins")
            selected = (header.kernel == KERNELS[name].code) if len(decoders) > 1 else Const(1)
            m.d.comb += [
                begins.eq(opening & known & selected & (Const(decoder.scanned) | empty)),
                decoder.enable.eq(enable),
            ]
            with m.If(begins):
                m.d.sync += [enable.eq(1), opening.eq(0)]
            with m.If(block_end):
                m.d.sync += enable.eq(0)
            enables.append(enable)
        m.d.comb += running.eq(Cat(*enables).any())
        return m

    def _sequence(
        self, m: Module, header, opening, running, column_end, block_end, flags
    ) -> Signal:
        """Read headers, count columns and plays; whether the array can run the header's block."""
        shape = self._shape
        incoming = data.View(block_header(), self.index.payload)
        # The column and the play behind the running ones; comparisons are made ahead.
        bits = (shape.columns - 1).bit_length()
        column = Signal(bits, init=min(1, bits))
        replay = Signal(8)
        idle = Signal(init=1)
        begun = Signal()
        ended = Signal()
        in_header = Signal()
        last_column = Signal()
        last_play = Signal()
        known = Signal()
        kernels = [header.kernel == KERNELS[name].code for name in shape.kernels]
        m.d.comb += [
            block_end.eq(column_end & last_column),
            self.hold.eq(~last_play & ~idle),
            self.rewind.eq(ended & header.segment_end),
            self.align.eq(idle),
            known.eq(
                Cat(*kernels).any()
                & ~header.columns[bits:].any()
                & ~header.depth[shape.k_bits :].any()
            ),
            flags.first.eq(header.first),
            flags.final.eq(header.final),
            flags.hold.eq(~last_play),
            flags.block_end.eq(last_column),
            flags.tile_end.eq(last_column & header.tile_end),
            flags.segment_end.eq(last_column & header.segment_end),
            flags.job_end.eq(flags.segment_end & header.job_end & last_play),
        ]
        m.d.sync += [begun.eq(self.start & idle), ended.eq(block_end)]
        with m.If(self.start):
            m.d.sync += idle.eq(0)
        with m.If(in_header):
            m.d.comb += self.index.ready.eq(1)
            there = self.index.valid
            if shape.operand:
                there &= incoming.as_value()[:PADDING_BITS].any()
            with m.If(there):
                m.d.sync += [header.eq(incoming), in_header.eq(0), opening.eq(1)]
        with m.If(opening):
            m.d.sync += [opening.eq(known), last_column.eq(header.columns[:bits] == 0)]
            with m.If(~known):
                m.d.sync += self.fault.eq(1)
        with m.If(column_end):
            m.d.sync += [column.eq(column + 1), last_column.eq(column == header.columns[:bits])]
        with m.If(ended):
            m.d.sync += [column.eq(1), in_header.eq(1)]
            with m.If(header.segment_end):
                m.d.sync += [replay.eq(replay + 1), last_play.eq(replay == self.last_play)]
        with m.If(ended & header.segment_end & last_play):
            m.d.sync += [idle.eq(header.job_end), in_header.eq(~header.job_end)]
        with m.If(begun):
            m.d.sync += in_header.eq(1)
        with m.If(begun | (ended & header.segment_end & last_play)):
            m.d.sync += [replay.eq(1), last_play.eq(self.last_play == 0)]
        return known

    def _decode(self, m: Module, decoders, header, column_end, flags) -> Value:
        """The decoders and, where one needs it, the scanner; whether that is empty."""
        k_bits = self._shape.k_bits
        carried = carries_values(self._shape)
        chunks = stream.Signature(chunk(k_bits, carried)).create()
        direct = stream.Signature(found_row(k_bits)).create()
        kinds = {False: direct, True: chunks}
        for name, decoder in decoders.items():
            m.submodules[name] = decoder
            found = kinds[decoder.scanned]
            m.d.comb += [
                decoder.last_row.eq(header.depth[:k_bits]),
                decoder.final_column.eq(flags.block_end),
                decoder.index.payload.eq(self.index.payload),
                decoder.index.valid.eq(self.index.valid),
                decoder.found.ready.eq(found.ready),
            ]
            with m.If(decoder.index.ready):
                m.d.comb += self.index.ready.eq(1)
        for scanned, found in kinds.items():
            # What is not valid may be anything: the first of a kind needs no gate.
            of_kind = [decoder for decoder in decoders.values() if decoder.scanned == scanned]
            m.d.comb += found.valid.eq(Cat(decoder.found.valid for decoder in of_kind).any())
            for number, decoder in enumerate(of_kind):
                with m.If(decoder.enable if number else 1):
                    m.d.comb += found.payload.eq(decoder.found.payload)
        m.d.comb += column_end.eq(Cat(decoder.column_end for decoder in decoders.values()).any())

        out = self.rows
        m.d.comb += [
            out.valid.eq(direct.valid),
            *(out.payload[name].eq(direct.payload[name]) for name in ("k", "valued", "last")),
            *(out.payload[name].eq(flags[name]) for name in column_flags()),
            direct.ready.eq(out.ready),
        ]
        if not any(decoder.scanned for decoder in decoders.values()):
            return Const(1)
        m.submodules.scanner = scanner = ChunkScanner(k_bits, carried)
        m.d.comb += [
            scanner.chunks.valid.eq(chunks.valid),
            scanner.chunks.payload.chunk.eq(chunks.payload),
            scanner.chunks.payload.flags.eq(flags),
            chunks.ready.eq(scanner.chunks.ready),
            scanner.rows.ready.eq(out.ready),
            out.valid.eq(direct.valid | scanner.rows.valid),
        ]
        # Without a decoder of the other kind, the scanner's rows need no gate either.
        alone = all(decoder.scanned for decoder in decoders.values())
        with m.If(1 if alone else scanner.rows.valid):
            m.d.comb += out.payload.eq(scanner.rows.payload)
        return scanner.empty
