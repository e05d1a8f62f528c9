"""Drain: finished columns of a group of engines, partial sums, result stream."""

from itertools import pairwise

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numerics.combine import ACCUMULATOR_BITS
from golden.shape import ArrayShape

from ..fuse.combine import WEIGHT_BITS, weighted_sum
from ..mac import MACS
from ..memory import RegisteredMemory

__all__ = ["Drain", "result"]


def result(shape: ArrayShape) -> data.StructLayout:
    """Payload of a result stream: ``2 * drain_words`` INT32 sums of one column."""
    engine_bits = max(1, (shape.group - 1).bit_length())
    return data.StructLayout({"data": shape.result_bits, "engine": engine_bits, "last": 1})


def _partial_bits(shape: ArrayShape) -> int:
    """Address bits of the partial sums: engine, column and word each in a field of its own."""
    counts = (shape.group, shape.columns, shape.drain_cycles)
    return sum((count - 1).bit_length() for count in counts)


class Drain(wiring.Component):
    """Fetches captured columns in turn, adds partial sums, sends the final ones.

    Operation: round robin over the engines whose column waits; ``drain_cycles`` cycles per
    column, without a gap from one column to the next.  The captured form is turned into
    integers, the partial sum of the earlier parts and k tiles is added, and the sum is either
    stored for the next one or leaves as a result.  With fusion each integer is first multiplied
    by its part's weight, sums have 48 bits, and results are rounded as ``shape.rounding`` says
    (`golden.numerics.combine`).

    Latency: `latency_cycles` from the grant to the result.  Back-pressure on the results stops
    the drain, not the lanes, until an engine closes its next column.

    Members (one signal per engine ``e``)
    -------
    start : In(1)
        Begin a job: the round robin starts at engine 0.
    done_e : Out(1)
        The last word of the captured column is being read: its registers are free.
    full_e, column_e, first_e, final_e, job_end_e, data_e : In
    weight_e : In(16)
        With fusion alone: weight of the part that the captured column belongs to.
    results : Out(stream of `result`)
    finished : Out(1)
        The last result of an engine's job left, for ``finished_engine``.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        self.mac = MACS[shape.mac]
        column_bits = self.mac.raw_bits(shape.acc_bits) * shape.lanes // 2
        ports = {
            "start": In(1),
            "results": Out(stream.Signature(result(shape))),
            "finished": Out(1),
            "finished_engine": Out(max(1, (shape.group - 1).bit_length())),
        }
        for e in range(shape.group):
            ports[f"done_{e}"] = Out(1)
            ports[f"full_{e}"] = In(1)
            ports[f"column_{e}"] = In(range(max(2, shape.columns)))
            ports[f"first_{e}"] = In(1)
            ports[f"final_{e}"] = In(1)
            ports[f"job_end_{e}"] = In(1)
            ports[f"data_{e}"] = In(column_bits)
            if shape.fusion:
                ports[f"weight_{e}"] = In(WEIGHT_BITS)
        super().__init__(ports)

    @property
    def latency_cycles(self) -> int:
        """Cycles from the grant to the result."""
        return 5 if self.shape.fusion else 3

    def _of(self, name: str, engine: Signal):
        ports = [getattr(self, f"{name}_{e}") for e in range(self.shape.group)]
        # An engine number that does not exist must have a value too: linters of the emitted
        # Verilog refuse an incomplete case.
        ports += ports[-1:] * ((1 << len(engine)) - len(ports))
        return Array(ports)[engine]

    def elaborate(self, platform):
        shape = self.shape
        m = Module()
        words = shape.drain_cycles
        engine_bits = max(1, (shape.group - 1).bit_length())

        # Stage 0: grant and word number.
        active = Signal()
        engine = Signal(engine_bits)
        word = Signal(range(max(2, words)))
        last_word = Signal()
        step = Signal()
        m.d.comb += last_word.eq(word == words - 1)
        waiting = Signal(shape.group)
        leaving = Signal(shape.group)
        left = Signal(shape.group)
        recent = Signal(shape.group)
        for e in range(shape.group):
            m.d.comb += [
                leaving[e].eq(active & (engine == e)),
                getattr(self, f"done_{e}").eq(leaving[e] & last_word & step),
                waiting[e].eq(getattr(self, f"full_{e}") & ~leaving[e] & ~recent[e]),
            ]
        # An engine returns four steps after it left at the earliest, when the sums it left are
        # written.  By itself it takes as many cycles, but the drain may have stood still.
        with m.If(step):
            m.d.sync += [left.eq(leaving), recent.eq(leaving | left)]
        following = Signal(engine_bits)
        m.d.comb += following.eq(engine)
        for e in range(shape.group):
            with m.If(engine == e):
                for offset in reversed(range(1, shape.group + 1)):
                    candidate = (e + offset) % shape.group
                    with m.If(waiting[candidate]):
                        m.d.comb += following.eq(candidate)
        with m.If(step):
            with m.If(active & ~last_word):
                m.d.sync += word.eq(word + 1)
            with m.Else():
                m.d.sync += [active.eq(waiting.any()), engine.eq(following), word.eq(0)]

        with m.If(self.start):
            m.d.sync += engine.eq(0)

        # Stage 0 addresses a word of a captured column, stage 1 holds it.
        low_bits = (words - 1).bit_length()
        column_bits = (shape.columns - 1).bit_length()
        address_bits = _partial_bits(shape)
        stages = []
        for number in range(self.latency_cycles + 1):
            stages.append(
                {
                    name: Signal(bits, name=f"{name}{number}")
                    for name, bits in (
                        ("valid", 1),
                        ("engine", engine_bits),
                        ("address", max(1, address_bits)),
                        ("first", 1),
                        ("final", 1),
                        ("last", 1),
                        ("job_end", 1),
                    )
                }
            )
        here, sent = stages[0], stages[-1]
        m.d.comb += [
            here["valid"].eq(active),
            here["engine"].eq(engine),
            here["address"].eq(
                Cat(word[:low_bits], self._of("column", engine)[:column_bits], engine)
            ),
            here["first"].eq(self._of("first", engine)),
            here["final"].eq(self._of("final", engine)),
            here["last"].eq(last_word),
            here["job_end"].eq(self._of("job_end", engine)),
        ]
        integers = self._unpacked(m, step, engine, word)
        finish = self._weighted if shape.fusion else self._plain
        sums = finish(m, step, stages, integers)
        with m.If(step):
            for before, after in pairwise(stages):
                m.d.sync += [after[name].eq(before[name]) for name in before]

        payload = self.results.payload
        m.d.comb += [
            self.results.valid.eq(sent["valid"] & sent["final"]),
            payload.data.eq(sums),
            payload.engine.eq(sent["engine"]),
            payload.last.eq(sent["last"]),
            step.eq(~self.results.valid | self.results.ready),
            self.finished.eq(
                self.results.valid & self.results.ready & sent["last"] & sent["job_end"]
            ),
            self.finished_engine.eq(sent["engine"]),
        ]
        return m

    def _unpacked(self, m: Module, step: Signal, engine: Signal, word: Signal) -> list[tuple]:
        """Stages 1 and 2: choose a word of a captured column; its integers, and a carry to each."""
        shape = self.shape
        raw_bits = self.mac.raw_bits(shape.acc_bits)
        word_bits = raw_bits * shape.drain_words
        columns = [getattr(self, f"data_{e}") for e in range(shape.group)]
        columns += columns[-1:] * ((1 << len(engine)) - len(columns))
        # One multiplexer over all words of all engines, written as a tree of pairs, in which
        # synthesis finds the wide multiplexers behind the look-up tables.
        words = [
            column.word_select(number, word_bits)
            for column in columns
            for number in range(shape.drain_cycles)
        ]
        for bit in (*word[: (shape.drain_cycles - 1).bit_length()], *engine):
            words = [Mux(bit, odd, even) for even, odd in zip(words[::2], words[1::2], strict=True)]
        captured = Signal(word_bits, reset_less=True)
        with m.If(step):
            m.d.sync += captured.eq(words[0])
        integers = []
        for part in range(shape.drain_words):
            raw = captured.word_select(part, raw_bits)
            low, high, lacking = self.mac.unpack(m, raw, shape.acc_bits)
            for lane, (exact, carry) in enumerate(((low, Const(0, 1)), (high, lacking))):
                number = 2 * part + lane
                # A multiplier behind has no carry.
                value = exact + carry if shape.fusion else exact
                unpacked = Signal(signed(32), name=f"unpacked{number}", reset_less=True)
                kept = Signal(name=f"carry{number}", reset_less=True)
                with m.If(step):
                    m.d.sync += [unpacked.eq(value), kept.eq(carry)]
                integers.append((unpacked, kept))
        return integers

    def _partial(self, m: Module, step: Signal, read: dict, write: dict, sums: Value) -> Value:
        """Memory of partial sums, read and written in these stages; what was read, registered."""
        bits = self.shape.partial_bits
        m.submodules.partial = partial = RegisteredMemory(
            read_bits=bits,
            write_bits=bits,
            depth=1 << _partial_bits(self.shape),
            cells=self.mac.cells,
        )
        m.d.comb += [
            partial.move.eq(step),
            partial.read_address.eq(read["address"]),
            partial.read_enable.eq(step),
            partial.write_address.eq(write["address"]),
            partial.write_enable.eq(write["valid"] & ~write["final"] & step),
            partial.write_data.eq(sums),
        ]
        return partial.read_data

    def _plain(self, m: Module, step: Signal, stages: list[dict], integers: list[tuple]) -> Signal:
        """Sums of stage 3."""
        here, one, _, three = stages
        sums = Signal(self.shape.result_bits)
        # Read a stage early: the sums meet a register, not the memory's output.
        read = self._partial(m, step, here, three, sums)
        m.d.comb += m.submodules.partial.clear.eq(one["first"])
        for index, (unpacked, carry) in enumerate(integers):
            with m.If(step):
                # The carry enters below the lowest bit, where twice a bit is that bit above.
                total = Cat(carry, unpacked) + Cat(carry, read.word_select(index, 32))
                m.d.sync += sums.word_select(index, 32).eq(total[1:33])
        return sums

    def _weighted(
        self, m: Module, step: Signal, stages: list[dict], integers: list[tuple]
    ) -> Signal:
        """Weighted sums, written in stage 4, rounded in stage 5."""
        here, one, _, three, four, _ = stages
        weights = [Signal(WEIGHT_BITS, name=f"weight{i}", reset_less=True) for i in range(1, 3)]
        with m.If(step):
            m.d.sync += [
                weights[0].eq(self._of("weight", here["engine"])),
                *(after.eq(before) for before, after in pairwise(weights)),
            ]
        totals = Signal(self.shape.partial_bits)
        rounded = Signal(self.shape.result_bits, reset_less=True)
        read = self._partial(m, step, one, four, totals)
        for index, (unpacked, _) in enumerate(integers):
            running = read.word_select(index, ACCUMULATOR_BITS)
            total, result = weighted_sum(
                m,
                step=step,
                value=unpacked,
                weight=weights[-1],
                running=running.as_signed(),
                first=three["first"],
                rounding=self.shape.rounding,
                name=str(index),
            )
            m.d.comb += totals.word_select(index, ACCUMULATOR_BITS).eq(total)
            with m.If(step):
                m.d.sync += rounded.word_select(index, 32).eq(result)
        return rounded
