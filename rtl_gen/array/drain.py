"""Drain: finished columns of a group of engines, partial sums, result stream."""

from functools import reduce
from itertools import pairwise
from operator import or_

from amaranth.hdl import Array, Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.shape import ArrayShape

from ..mac import MACS
from ..memory import TwoWidthMemory

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
    integers, the partial sum of the earlier k tiles is added, and the sum is either stored for
    the next k tile or leaves as a result.

    Latency: 4 cycles from the grant to the result.  Back-pressure on the results stops the
    drain, not the lanes, until an engine closes its next column.

    Members (one signal per engine ``e``)
    -------
    start : In(1)
        Begin a job: the round robin starts at engine 0.
    word, step, ask_e, done_e : Out
        Broadcast word number and step; the engine whose word is read; the release of its capture
        registers.
    full_e, column_e, first_e, final_e, job_end_e, data_e : In
    results : Out(stream of `result`)
    finished : Out(1)
        The last result of an engine's job left, for ``finished_engine``.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        self.mac = MACS[shape.mac]
        raw_bits = self.mac.raw_bits(shape.acc_bits) * shape.drain_words
        ports = {
            "start": In(1),
            "word": Out(range(max(2, shape.drain_cycles))),
            "step": Out(1),
            "results": Out(stream.Signature(result(shape))),
            "finished": Out(1),
            "finished_engine": Out(max(1, (shape.group - 1).bit_length())),
        }
        for e in range(shape.group):
            ports[f"ask_{e}"] = Out(1)
            ports[f"done_{e}"] = Out(1)
            ports[f"full_{e}"] = In(1)
            ports[f"column_{e}"] = In(range(max(2, shape.columns)))
            ports[f"first_{e}"] = In(1)
            ports[f"final_{e}"] = In(1)
            ports[f"job_end_{e}"] = In(1)
            ports[f"data_{e}"] = In(raw_bits)
        super().__init__(ports)

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
        m.d.comb += [
            self.word.eq(word),
            last_word.eq(word == words - 1),
        ]
        waiting = Signal(shape.group)
        for e in range(shape.group):
            leaving = active & (engine == e)
            m.d.comb += [
                waiting[e].eq(getattr(self, f"full_{e}") & ~leaving),
                getattr(self, f"ask_{e}").eq(leaving),
                getattr(self, f"done_{e}").eq(leaving & last_word & self.step),
            ]
        following = Signal(engine_bits)
        m.d.comb += following.eq(engine)
        for e in range(shape.group):
            with m.If(engine == e):
                for offset in reversed(range(1, shape.group + 1)):
                    candidate = (e + offset) % shape.group
                    with m.If(waiting[candidate]):
                        m.d.comb += following.eq(candidate)
        with m.If(self.step):
            with m.If(active & ~last_word):
                m.d.sync += word.eq(word + 1)
            with m.Else():
                m.d.sync += [active.eq(waiting.any()), engine.eq(following), word.eq(0)]

        with m.If(self.start):
            m.d.sync += engine.eq(0)

        # Stage 1: the engines present their words; stage 2: one of them is chosen.
        low_bits = (words - 1).bit_length()
        column_bits = (shape.columns - 1).bit_length()
        address_bits = _partial_bits(shape)
        stages = []
        for number in range(1, 5):
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
        one, two, three, four = stages
        sums = self._sums(m, one, two, three, four)
        with m.If(self.step):
            m.d.sync += [
                one["valid"].eq(active),
                one["engine"].eq(engine),
                one["address"].eq(
                    Cat(word[:low_bits], self._of("column", engine)[:column_bits], engine)
                ),
                one["first"].eq(self._of("first", engine)),
                one["final"].eq(self._of("final", engine)),
                one["last"].eq(last_word),
                one["job_end"].eq(self._of("job_end", engine)),
            ]
            for before, after in pairwise(stages):
                m.d.sync += [after[name].eq(before[name]) for name in before]

        payload = self.results.payload
        m.d.comb += [
            self.results.valid.eq(four["valid"] & four["final"]),
            payload.data.eq(sums),
            payload.engine.eq(four["engine"]),
            payload.last.eq(four["last"]),
            self.step.eq(~self.results.valid | self.results.ready),
            self.finished.eq(
                self.results.valid & self.results.ready & four["last"] & four["job_end"]
            ),
            self.finished_engine.eq(four["engine"]),
        ]
        return m

    def _sums(self, m: Module, one, two, three, four):
        """Stages 2 to 4: select, unpack, add; returns the sums of stage 4."""
        shape = self.shape
        raw_bits = self.mac.raw_bits(shape.acc_bits)
        captured = Signal(raw_bits * shape.drain_words, reset_less=True)
        with m.If(self.step):
            # All engines but the one that was asked present zero.
            m.d.sync += captured.eq(
                reduce(or_, (getattr(self, f"data_{e}") for e in range(shape.group)))
            )

        m.submodules.partial = partial = TwoWidthMemory(
            read_bits=shape.result_bits,
            write_bits=shape.result_bits,
            depth=1 << _partial_bits(shape),
        )
        sums = Signal(shape.result_bits)
        m.d.comb += [
            # Read a stage early: the sums meet a register, not the memory's output, and no
            # column of an engine returns within the four cycles until its sum is written.
            partial.read_address.eq(one["address"]),
            partial.read_enable.eq(self.step),
            partial.write_address.eq(four["address"]),
            partial.write_enable.eq(four["valid"] & ~four["final"] & self.step),
            partial.write_data.eq(sums),
        ]
        before = Signal(shape.result_bits, reset_less=True)
        with m.If(self.step):
            m.d.sync += before.eq(partial.read_data)
        with m.If(self.step & two["first"]):
            m.d.sync += before.eq(0)
        for part in range(shape.drain_words):
            pair = self.mac.unpack(m, captured.word_select(part, raw_bits), shape.acc_bits)
            for lane, exact in enumerate(pair):
                index = 2 * part + lane
                unpacked = Signal(signed(shape.acc_bits), name=f"unpacked{index}", reset_less=True)
                with m.If(self.step):
                    m.d.sync += [
                        unpacked.eq(exact),
                        sums.word_select(index, 32).eq(unpacked + before.word_select(index, 32)),
                    ]
        return sums
