"""Operand feeder: a run-time operand on its way through the selector into the engines' rings."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import KERNELS
from golden.formats.block_header import HEADER_FIELDS
from golden.numerics.combine import UNIT
from golden.selector.unit import BLOCKS_AHEAD, UnitParameters
from golden.shape import ArrayShape

from ..fuse.count import pick, reaches
from ..fuse.counter import value_word
from ..fuse.layouts import choice_layout
from .intake import COLUMN_BITS, ROW_BITS, OperandIntake, operand_word
from .packer import BeatPacker, block_beat, block_word

__all__ = ["OperandFeeder"]


class OperandFeeder(wiring.Component):
    """Deals the columns of a run-time operand to the engines, each block as its choice says.

    Operation: `OperandIntake` cuts the words into blocks and hands them to the selector and to a
    buffer of two blocks. When a block's choice is there, its header goes to the index ring of its
    engine and its words follow: to the index ring for ``raw``, to the value ring for ``dense``.
    Bytes below the chosen threshold are cleared on the way, so that they never become events. An
    engine without columns gets a column of one zero for each activation tile.

    Latency: a block's header leaves `header_cycles` after its last word, and the selector's
    latency, if the blocks before it have left. Throughput: a word per cycle, one more per block.
    Back-pressure: a full ring stops the words that follow, and in time the operand.

    Errors: see `OperandIntake`.

    Parameters
    ----------
    shape : ArrayShape
        With ``operand``.
    parameters : UnitParameters
        Of the selector, see `UnitParameters.of_operand`.
    spacing : int
        Least cycles from a block's end to the next one's, for the selector's sake.

    Members
    -------
    start : In(1)
        Begin an operand (one cycle); the three dimensions stand from before it to its end.
    last_row, columns, share : In
        Rows less one; columns; columns that an engine takes in one pass.
    words : In(stream of `operand_word`)
    values : Out(stream of `value_word`)
        To the selector, which must take each at once.
    choices : In(stream of `choice_layout`)
        From the selector; always taken.
    beats : Out(stream of `block_beat`)
        For the groups' weight streams.
    fault : Out(1)
    """

    header_cycles = 2

    def __init__(self, shape: ArrayShape, parameters: UnitParameters, spacing: int) -> None:
        self._shape, self._parameters = shape, parameters
        self._intake = OperandIntake(shape, parameters, spacing)
        self._packer = BeatPacker(shape)
        for part in (self._intake, self._packer):
            # Amaranth warns of parts never elaborated; of a feeder that isn't, it warns already.
            part._MustUse__silence = True
        super().__init__(
            {
                "start": In(1),
                "last_row": In(ROW_BITS),
                "columns": In(COLUMN_BITS),
                "share": In(range(parameters.columns + 1)),
                "words": In(stream.Signature(operand_word())),
                "values": Out(stream.Signature(value_word(parameters))),
                "choices": In(stream.Signature(choice_layout(len(parameters.candidates)))),
                "beats": Out(stream.Signature(block_beat(shape))),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.intake = intake = self._intake
        m.submodules.packer = packer = self._packer
        wiring.connect(m, wiring.flipped(self.words), intake.words)
        wiring.connect(m, packer.beats, wiring.flipped(self.beats))
        for name in ("start", "last_row", "columns", "share"):
            m.d.comb += getattr(intake, name).eq(getattr(self, name))
        m.d.sync += intake.pass_columns.eq(self.share * self._shape.engines)
        m.d.comb += [
            self.values.valid.eq(intake.valid),
            self.values.payload.eq(intake.values),
            self.choices.ready.eq(1),
            self.fault.eq(intake.fault),
        ]

        # The buffer of words, and what is known of the blocks in it.
        depth = self._parameters.buffer_words
        depth_bits = (depth - 1).bit_length()
        m.submodules.buffer = buffer = memory.Memory(shape=64, depth=depth, init=[])
        store, fetch = buffer.write_port(), buffer.read_port()
        written, read = Signal(depth_bits + 1), Signal(depth_bits + 1)
        ahead_bits = (BLOCKS_AHEAD - 1).bit_length()
        names = ("ended", "chosen", "begun")
        ended, chosen, begun = (Signal(ahead_bits + 1, name=name) for name in names)
        block = self._queue(m, "blocks", intake.block_end, intake.block, ended, begun)
        decided = self._decided(m)
        choice = self._queue(m, "decisions", self.choices.valid, decided, chosen, begun)
        m.d.comb += [
            store.addr.eq(written),
            store.data.eq(intake.store),
            store.en.eq(intake.valid),
            intake.space.eq((written ^ read) != depth),
            intake.open.eq((ended ^ begun) != BLOCKS_AHEAD),
        ]
        m.d.sync += [
            written.eq(written + intake.valid),
            ended.eq(ended + intake.block_end),
            chosen.eq(chosen + self.choices.valid),
        ]
        self._deal(m, block, choice, chosen != begun, begun, fetch, read)
        return m

    def _queue(self, m: Module, name: str, write: Value, entry, head: Value, tail: Value):
        """A small memory of entries written at ``head``; the one at ``tail``."""
        layout = entry.shape()
        kept = memory.Memory(shape=layout, depth=BLOCKS_AHEAD, init=[])
        m.submodules[name] = kept
        port, out = kept.write_port(), kept.read_port(domain="comb")
        m.d.comb += [
            port.addr.eq(head),
            port.data.eq(entry),
            port.en.eq(write),
            out.addr.eq(tail),
        ]
        return out.data

    def _decided(self, m: Module) -> Signal:
        """What the present choice means for its block's words."""
        p = self._parameters
        layout = data.StructLayout({"dense": 1, "threshold": (len(p.thresholds) - 1).bit_length()})
        decided = Signal(layout, name="decided")
        number = self.choices.payload.candidate
        m.d.comb += [
            decided.dense.eq(pick((int(c.kernel == "dense") for c in p.candidates), number)),
            decided.threshold.eq(
                pick((p.thresholds.index(c.threshold) for c in p.candidates), number)
            ),
        ]
        return decided

    def _cleared(self, word: Value, threshold: Value) -> Value:
        """A word without the bytes below the threshold of that number."""
        thresholds = self._parameters.thresholds
        kept = []
        for row in range(8):
            byte = word.word_select(row, 8)
            kept.append(pick([1, *(reaches(byte, t) for t in thresholds[1:])], threshold))
        bytes_ = [word.word_select(row, 8) & kept[row].replicate(8) for row in range(8)]
        return Value.cast(Cat(bytes_))

    def _deal(self, m: Module, block, choice, there: Value, begun, fetch, read) -> None:
        """Headers and words, in the order of the engines, into the packer's register."""
        shape = self._shape
        words = self._packer.words
        item = Signal(block_word(shape))
        full, load, final_word = Signal(), Signal(), Signal()
        left = Signal.like(block.words)
        # Of the block whose words are on their way.
        dense, threshold = Signal(), Signal.like(choice.threshold)
        running = Signal(data.StructLayout({"first": 1, "final": 1, "job_end": 1, "tile_last": 1}))
        group = Signal((shape.groups - 1).bit_length())
        engine = Signal((shape.group - 1).bit_length())
        last_engine, next_engine = Signal(), Signal()
        m.d.comb += [
            words.valid.eq(full),
            words.payload.eq(item),
            load.eq(~full | words.ready),
            final_word.eq(left == 0),
            last_engine.eq((engine == shape.group - 1) & (group == shape.groups - 1)),
        ]
        with m.If(words.ready):
            m.d.sync += full.eq(0)
        with m.If(next_engine):
            m.d.sync += engine.eq(engine + 1)
            with m.If(engine == shape.group - 1):
                m.d.sync += [engine.eq(0), group.eq(Mux(last_engine, 0, group + 1))]

        def send(payload: Value, values: object, end: object) -> None:
            m.d.sync += [
                full.eq(1),
                item.data.eq(payload),
                item.target.eq(Cat(values, engine)),
                item.group.eq(group),
                item.end.eq(end),
            ]

        # Where the feeder is: at a header or behind it, of an engine with columns or without.
        body, idle = Signal(), Signal()
        m.d.comb += [
            fetch.addr.eq(Mux(body, read + 1, read)),
            fetch.en.eq(load & ~idle & (body | there)),
        ]
        with m.If(load & ~idle & ~body & there):
            # The values of a dense block have a ring of their own.
            kernel = Mux(choice.dense, KERNELS["dense"].code, KERNELS["raw"].code)
            fields = {"kernel": kernel, "columns": block.columns, "depth": block.depth}
            send(_header(block, **fields), Const(0, 1), choice.dense)
            m.d.sync += [
                body.eq(1),
                begun.eq(begun + 1),
                dense.eq(choice.dense),
                threshold.eq(choice.threshold),
                left.eq(block.words),
                *(running[name].eq(block[name]) for name, _ in running.shape()),
            ]
        with m.If(load & ~idle & body):
            send(self._cleared(fetch.data, threshold), dense, final_word)
            m.d.sync += [read.eq(read + 1), left.eq(left - 1)]
            with m.If(final_word):
                m.d.comb += next_engine.eq(1)
                m.d.sync += [body.eq(0), idle.eq(running.tile_last & ~last_engine)]
        with m.If(load & idle & ~body):
            send(_header(running, kernel=KERNELS["raw"].code), Const(0, 1), 0)
            m.d.sync += body.eq(1)
        with m.If(load & idle & body):
            send(Const(0, 64), Const(0, 1), 1)
            m.d.comb += next_engine.eq(1)
            m.d.sync += [body.eq(0), idle.eq(~last_engine)]


def _header(place, **fields: Value | int) -> Value:
    """A block's header (`golden.formats.block_header`) at a place in the loop nest.

    Args:
        place: with ``first``, ``final`` and ``job_end``.
        fields: others that are not 0.
    """
    fields |= {"first": place.first, "final": place.final, "segment_end": place.final}
    fields |= {"job_end": place.job_end, "tile_end": 1, "exact": 1, "weight": UNIT}
    parts: list[Value] = []
    for name, bits, low in HEADER_FIELDS:
        parts.append(Const(0, low - len(Cat(parts))))
        value = fields.get(name, 0)
        if isinstance(value, int):
            value = Const(value, bits)
        parts += [value[:bits], Const(0, max(0, bits - len(value)))]
    return Value.cast(Cat(parts))
