"""A group of engines with its own weight port and result port."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.shape import ArrayShape

from ..distinct import place
from .drain import Drain, result
from .engine import Engine, tile_address_bits

__all__ = ["EngineGroup", "weight_beat"]


def weight_beat(shape: ArrayShape) -> data.StructLayout:
    """Payload of a weight stream: one beat and where it goes.

    ``target`` is ``2 * engine + values``: the engine of the group and which of its rings.
    """
    return data.StructLayout(
        {"data": shape.data_bits, "target": 1 + max(1, (shape.group - 1).bit_length())}
    )


class EngineGroup(wiring.Component):
    """Engines, their drain, and the distribution of one weight stream.

    Members
    -------
    start, last_play, tile_write, tile_address, tile_data : In
        Broadcast, see `Engine`.
    filling : In
        Tiles whose loading has been accepted, modulo ``2 * activation_tiles``.
    blocked : Out(1)
        Some engine still needs the buffer that the next tile would take.
    weights : In(stream of `weight_beat`)
    results : Out(stream of `rtl_gen.array.drain.result`)
    done : Out(1)
        Every engine's job has ended and its results have left.
    events : Out
        Valued events taken in this cycle, over the group.
    fault : Out(1)
        Sticky: an engine met a bad block header.
    wrong_weights : Out(1)
        Sticky, with fusion alone: the weights of a column's parts did not sum to one.
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        tile_bits = (2 * shape.activation_tiles - 1).bit_length()
        super().__init__(
            {
                "start": In(1),
                "last_play": In(8),
                "tile_write": In(1),
                "tile_address": In(tile_address_bits(shape)),
                "tile_data": In(shape.activation_bits),
                "filling": In(tile_bits),
                "blocked": Out(1),
                "weights": In(stream.Signature(weight_beat(shape))),
                "results": Out(stream.Signature(result(shape))),
                "done": Out(1),
                "events": Out(range(shape.group + 1)),
                "fault": Out(1),
                **({"wrong_weights": Out(1)} if shape.fusion else {}),
            }
        )

    @property
    def module_name(self) -> str:
        """Name of the emitted module."""
        return "sf_group"

    def elaborate(self, platform):
        shape = self.shape
        m = Module()
        m.submodules.drain = drain = Drain(shape)
        m.d.comb += drain.start.eq(self.start)
        wiring.connect(m, drain.results, wiring.flipped(self.results))

        # One register between the stream and the rings; `space` leaves room for it.
        beat = self.weights.payload
        write = Signal()
        write_data = Signal(shape.data_bits)
        target = Signal.like(beat.target)
        spaces = []
        finished = Signal(shape.group)
        blocked = []
        taken = []
        faults = []
        wrong = []
        m.d.sync += [
            write.eq(self.weights.valid & self.weights.ready),
            write_data.eq(beat.data),
            target.eq(beat.target),
        ]
        for e in range(shape.group):
            engine = Engine(shape)
            place(m, platform, f"engine{e}", engine)
            m.d.comb += [
                engine.start.eq(self.start),
                engine.last_play.eq(self.last_play),
                engine.write_enable.eq(write & (target[1:] == e)),
                engine.write_values.eq(target[0]),
                engine.write_data.eq(write_data),
                engine.tile_write.eq(self.tile_write),
                engine.tile_address.eq(self.tile_address),
                engine.tile_data.eq(self.tile_data),
                engine.filling.eq(self.filling),
                engine.drain_done.eq(getattr(drain, f"done_{e}")),
            ]
            names = ("full", "column", "first", "final", "job_end", "data")
            for name in (*names, "weight") if shape.fusion else names:
                m.d.comb += getattr(drain, f"{name}_{e}").eq(getattr(engine, f"drain_{name}"))
            spaces += [engine.index_space, engine.values_space]
            held = Signal.like(engine.consumed, name=f"held{e}")
            m.d.comb += held.eq(self.filling - engine.consumed)
            blocked.append(held == shape.activation_tiles)
            taken.append(engine.event_taken)
            faults.append(engine.fault)
            if shape.fusion:
                wrong.append(engine.wrong_weights)
        padding = [1] * ((1 << len(beat.target)) - len(spaces))
        m.d.comb += [
            self.weights.ready.eq(Cat(*spaces, *padding).bit_select(beat.target, 1)),
            self.blocked.eq(Cat(*blocked).any()),
            self.events.eq(sum(taken[1:], taken[0])),
            self.fault.eq(Cat(*faults).any()),
            self.done.eq(finished.all()),
        ]
        if shape.fusion:
            m.d.comb += self.wrong_weights.eq(Cat(*wrong).any())
        with m.If(self.start):
            m.d.sync += finished.eq(0)
        # One comparison each: a case over the number would be incomplete for odd groups, which
        # linters of the emitted Verilog refuse.
        for e in range(shape.group):
            with m.If(drain.finished & (drain.finished_engine == e)):
                m.d.sync += finished[e].eq(1)
        return m
