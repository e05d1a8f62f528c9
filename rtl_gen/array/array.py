"""The sparse array: groups of engines behind one broadcast of activation tiles."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.shape import ArrayShape

from ..distinct import place
from .drain import result
from .engine import tile_address_bits
from .group import EngineGroup, weight_beat

__all__ = ["SparseArray", "activation_beat"]


def activation_beat(shape: ArrayShape) -> data.StructLayout:
    """Payload of the activation stream: rows of V bytes, ``last`` ends a tile."""
    return data.StructLayout({"data": shape.activation_bits, "last": 1})


class SparseArray(wiring.Component):
    """``OUT[m][n] += IN[m][k] * W[k][n]`` with m over lanes and n over engines.

    Operation: ``start`` begins a job. Activation tiles arrive in the order segment, m tile, k
    tile; each is a packet of rows k, V bytes each, and is written into every engine at once.
    Weights arrive as the engines' ring words (`golden.program.plan`). Results leave per group, a
    column of V INT32 sums at a time, labelled with the engine.

    Latency: ``busy`` rises in the cycle after ``start`` and falls in the cycle after the last
    result was accepted.

    Parameters
    ----------
    shape : ArrayShape

    Members
    -------
    start : In(1)
    m_tiles : In(8)
        Tiles of tokens in the job, 1 to 255; must not change while busy.
    activations : In(stream of `activation_beat`)
    weights_g : In(stream of `weight_beat`), one per group
    results_g : Out(stream of `rtl_gen.array.drain.result`), one per group
    busy : Out(1)
    events : Out
        Valued events taken in this cycle.
    fault : Out(3)
        Sticky: bit 0 a bad block header, bit 1 an activation tile longer than ``k_tile`` rows,
        bit 2 weights of a column's parts that do not sum to one (with fusion alone).
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        ports: dict = {
            "start": In(1),
            "m_tiles": In(8),
            "activations": In(stream.Signature(activation_beat(shape))),
            "busy": Out(1),
            "events": Out(range(shape.engines + 1)),
            "fault": Out(3),
        }
        for g in range(shape.groups):
            ports[f"weights_{g}"] = In(stream.Signature(weight_beat(shape)))
            ports[f"results_{g}"] = Out(stream.Signature(result(shape)))
        super().__init__(ports)

    @property
    def module_name(self) -> str:
        """Name of the emitted module."""
        return "sf_array"

    def elaborate(self, platform):
        shape = self.shape
        m = Module()
        tile_bits = (2 * shape.activation_tiles - 1).bit_length()
        bank_bits = (shape.activation_tiles - 1).bit_length()
        beats = shape.k_tile * shape.beats_per_row // shape.rows_per_beat

        # Loader: accept a beat, broadcast it one cycle later.
        filling = Signal(tile_bits)
        beat = Signal(range(beats + 1))
        space = Signal()
        turn = Signal()
        accept = Signal()
        write = Signal()
        address = Signal(tile_address_bits(shape))
        tile_data = Signal(shape.activation_bits)
        overlong = Signal()
        last_play = Signal(8)
        blocked = []
        m.d.comb += [
            self.activations.ready.eq(space & ~turn),
            accept.eq(self.activations.valid & self.activations.ready),
            overlong.eq(beat == beats),
        ]
        m.d.sync += [
            write.eq(accept & ~overlong),
            address.eq(Cat(beat[: (beats - 1).bit_length()], filling[:bank_bits])),
            tile_data.eq(self.activations.payload.data),
            # `space` lags behind `filling` by one cycle.
            turn.eq(accept & self.activations.payload.last),
            last_play.eq(self.m_tiles - 1),
        ]
        with m.If(accept):
            with m.If(self.activations.payload.last):
                m.d.sync += [filling.eq(filling + 1), beat.eq(0)]
            with m.Elif(~overlong):
                m.d.sync += beat.eq(beat + 1)
            with m.If(overlong):
                m.d.sync += self.fault[1].eq(1)

        done = []
        faults = []
        wrong = []
        events = []
        for g in range(shape.groups):
            group = EngineGroup(shape)
            place(m, platform, f"group{g}", group)
            m.d.comb += [
                group.start.eq(self.start),
                group.last_play.eq(last_play),
                group.tile_write.eq(write),
                group.tile_address.eq(address),
                group.tile_data.eq(tile_data),
                group.filling.eq(filling),
            ]
            wiring.connect(m, wiring.flipped(getattr(self, f"weights_{g}")), group.weights)
            wiring.connect(m, group.results, wiring.flipped(getattr(self, f"results_{g}")))
            blocked.append(group.blocked)
            done.append(group.done)
            faults.append(group.fault)
            if shape.fusion:
                wrong.append(group.wrong_weights)
            events.append(group.events)
        m.d.sync += space.eq(~Cat(*blocked).any())
        with m.If(Cat(*faults).any()):
            m.d.sync += self.fault[0].eq(1)
        with m.If(Cat(*wrong).any()):
            m.d.sync += self.fault[2].eq(1)
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
        with m.Elif(Cat(*done).all()):
            m.d.sync += self.busy.eq(0)
        m.d.comb += self.events.eq(sum(events[1:], events[0]))
        return m
