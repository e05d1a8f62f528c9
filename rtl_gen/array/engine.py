"""One engine: an event source, an activation tile and the lanes that consume the events."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.shape import ArrayShape

from ..distinct import place
from ..event import carries_values, marks, row
from ..fuse.combine import WEIGHT_BITS
from ..fuse.weights import PartSource, PartWeights
from ..kernels.source import EventSource
from ..kernels.values import ValueReader
from ..mac import MACS
from ..memory import Queue, RegisteredMemory, ReplayRing, TwoWidthMemory

__all__ = ["Engine", "engine_name", "tile_address_bits"]


def tile_address_bits(shape: ArrayShape) -> int:
    """Bits of the activation write address, in beats."""
    rows = shape.activation_tiles * shape.k_tile
    return (rows * shape.beats_per_row // shape.rows_per_beat - 1).bit_length()


def engine_name(shape: ArrayShape) -> str:
    """Module name; the array holds one kind of engine only."""
    return "sf_engine"


class Engine(wiring.Component):
    """Events against a vector of activations, one event per cycle in all lanes.

    Operation: the rows that the source finds wait in a queue; a row is taken as an event when its
    value and its activation tile are there; the tile is released with the tile's last event, so
    engines slip against each other by up to ``activation_tiles`` tiles.  A closing column is
    copied into capture registers and drained from there while the next column runs; the lanes
    stop only if the drain has not fetched the previous column yet.

    Latency: `ValueReader`'s and 1 + mac latency cycles from the row to its sum, one more to the
    capture.

    Parameters
    ----------
    shape : ArrayShape

    Members
    -------
    start, last_play : In
        See `EventSource`.
    write_enable, write_values, write_data : In
        One beat for the ring of index words, or of values with ``write_values``.
    index_space, values_space : Out(1)
    tile_write, tile_address, tile_data : In
        Broadcast of activation beats.
    filling : In
        Tiles whose last beat was accepted, modulo ``2 * activation_tiles``; the beat itself comes
        a cycle later.
    consumed : Out
        Tiles released so far, likewise.
    drain_done : In(1)
        The last word is being read: the capture registers are free.
    drain_data : Out
        The captured column, the pairs of lanes side by side in the MAC's own form.
    drain_full : Out(1)
        A column waits; ``drain_column`` (its number in the pass) and ``drain_first``,
        ``drain_final``, ``drain_job_end`` describe it.
    drain_weight : Out(16)
        With fusion alone: weight of the part that the waiting column belongs to.
    wrong_weights : Out(1)
        With fusion alone: see `PartWeights`.
    event_taken : Out(1)
        A valued event entered the lanes (performance counter).
    fault : Out(1)
    """

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        self.mac = MACS[shape.mac]
        self._tile_bits = (2 * shape.activation_tiles - 1).bit_length()
        super().__init__(
            {
                "start": In(1),
                "last_play": In(8),
                "write_enable": In(1),
                "write_values": In(1),
                "write_data": In(shape.data_bits),
                "index_space": Out(1),
                "values_space": Out(1),
                "tile_write": In(1),
                "tile_address": In(tile_address_bits(shape)),
                "tile_data": In(shape.activation_bits),
                "filling": In(self._tile_bits),
                "consumed": Out(self._tile_bits),
                "drain_done": In(1),
                "drain_data": Out(self.mac.raw_bits(shape.acc_bits) * shape.lanes // 2),
                "drain_full": Out(1),
                "drain_column": Out(range(max(2, shape.columns))),
                "drain_first": Out(1),
                "drain_final": Out(1),
                "drain_job_end": Out(1),
                "event_taken": Out(1),
                "fault": Out(1),
                **(
                    {"drain_weight": Out(WEIGHT_BITS), "wrong_weights": Out(1)}
                    if shape.fusion
                    else {}
                ),
            }
        )

    @property
    def module_name(self) -> str:
        """Name of the emitted module."""
        return engine_name(self.shape)

    def elaborate(self, platform):
        m = Module()
        enable = Signal(init=1)
        self._lanes(m, platform, self._feed(m, enable), enable)
        return m

    def _feed(self, m: Module, enable: Signal) -> ValueReader:
        """Ring, source, queue of rows and value reader; events leave the latter."""
        shape = self.shape
        m.submodules.source = source = (PartSource if shape.fusion else EventSource)(shape)
        m.submodules.index_ring = ring = ReplayRing(
            depth=shape.index_words, beat_words=shape.words_per_beat, cells=self.mac.cells
        )
        carried = carries_values(shape)
        m.submodules.queue = queue = Queue(row(shape.k_bits, carried), shape.queue)
        m.submodules.reader = reader = ValueReader(
            shape.k_bits,
            depth=shape.value_words,
            beat_words=shape.words_per_beat,
            carried=carried,
            byte_ports=shape.byte_ports,
            cells=self.mac.cells,
        )
        # Tiles whose rows were taken; a tile is free again when they have been multiplied.
        taken = Signal.like(self.consumed)
        following = Signal.like(self.consumed)
        rows_open = Signal()
        head = reader.rows.payload
        m.d.comb += following.eq(taken + 1)
        m.d.sync += rows_open.eq(self.filling != taken)
        with m.If(reader.rows.valid & reader.rows.ready & head.last & head.tile_end):
            m.d.sync += [taken.eq(following), rows_open.eq(self.filling != following)]
        m.d.comb += [
            source.start.eq(self.start),
            source.last_play.eq(self.last_play),
            ring.write_enable.eq(self.write_enable & ~self.write_values),
            ring.write_data.eq(self.write_data),
            ring.hold.eq(source.hold),
            ring.rewind.eq(source.rewind),
            ring.align.eq(source.align),
            reader.start.eq(self.start),
            reader.enable.eq(enable),
            reader.rows_open.eq(rows_open),
            reader.write_enable.eq(self.write_enable & self.write_values),
            reader.write_data.eq(self.write_data),
            self.index_space.eq(ring.space),
            self.values_space.eq(reader.space),
            self.fault.eq(source.fault),
        ]
        wiring.connect(m, ring.words, source.index)
        wiring.connect(m, source.rows, queue.write)
        wiring.connect(m, queue.read, reader.rows)
        return reader

    def _lanes(self, m: Module, platform, reader: ValueReader, enable: Signal) -> None:
        """Tile memory, multipliers, capture and drain hand-over."""
        shape = self.shape
        head = reader.events
        take = Signal()
        m.d.comb += [
            take.eq(reader.valid & enable),
            self.event_taken.eq(take & head.valued),
        ]
        m.d.sync += self.consumed.eq(self.consumed + (take & head.last & head.tile_end))

        ports = {"read_bits": shape.row_bits, "write_bits": shape.activation_bits}
        depth = shape.activation_tiles * shape.k_tile
        if self.mac.cells:
            tile = RegisteredMemory(**ports, depth=depth, cells=True)
            m.d.comb += tile.move.eq(enable)
        else:
            tile = TwoWidthMemory(**ports, depth=depth)
        m.submodules.tile = tile
        bank_bits = (shape.activation_tiles - 1).bit_length()
        m.d.comb += [
            tile.write_enable.eq(self.tile_write),
            tile.write_address.eq(self.tile_address),
            tile.write_data.eq(self.tile_data),
            tile.read_enable.eq(enable),
            tile.read_address.eq(Cat(head.k, self.consumed[:bank_bits])),
        ]

        # The event travels beside its activations.
        weight = Signal(8, reset_less=True)
        valid = Signal()
        load = Signal()
        opening = Signal(init=1)
        stages = 1 + self.mac.kind.latency_cycles
        carried = data.StructLayout({"last": 1, **marks()})
        line = [Signal(carried, name=f"marks{i}") for i in range(stages)]
        with m.If(enable):
            m.d.sync += [valid.eq(take), weight.eq(head.value), load.eq(opening)]
            with m.If(take):
                m.d.sync += opening.eq(head.last)
            m.d.sync += [
                line[0].last.eq(head.last & take),
                *(line[0][name].eq(head[name]) for name in marks()),
            ]
            for before, after in pairwise(line):
                m.d.sync += after.eq(before)
        # A close token adds nothing, but it may open its column.
        with m.If(enable & ~head.valued):
            m.d.sync += weight.eq(0)

        # The sum of a closing column is visible: capture it, or wait for the drain.  That the
        # lanes must wait is known a cycle before, as so many registers move with `enable`.
        due = line[-1]
        due_next = line[-2].last | ~enable
        busy = Signal()
        capture = Signal()
        reset_column = Signal()
        m.d.comb += capture.eq(due.last & enable)
        m.d.sync += enable.eq(~(due_next & (capture | (busy & ~self.drain_done))))
        with m.If(capture):
            m.d.sync += [
                busy.eq(1),
                self.drain_first.eq(due.first),
                self.drain_final.eq(due.final),
                self.drain_job_end.eq(due.job_end),
                reset_column.eq(due.block_end),
            ]
        with m.If(self.drain_done):
            m.d.sync += [
                busy.eq(0),
                self.drain_full.eq(0),
                self.drain_column.eq(self.drain_column + 1),
            ]
            with m.If(reset_column):
                m.d.sync += self.drain_column.eq(0)
        if shape.fusion:
            m.submodules.weights = weights = PartWeights(shape, reader.latency_cycles + stages)
            m.d.comb += [
                weights.part.eq(m.submodules.source.part),
                weights.done.eq(self.drain_done & reset_column),
                self.drain_weight.eq(weights.weight),
                self.wrong_weights.eq(weights.wrong),
            ]
        captured = Signal()
        m.d.sync += captured.eq(capture)
        with m.If(captured):
            m.d.sync += self.drain_full.eq(1)

        raws = []
        for pair in range(shape.lanes // 2):
            mac = self.mac(shape.acc_bits)
            place(m, platform, f"mac{pair}", mac)
            m.d.comb += [
                mac.enable.eq(enable),
                mac.valid.eq(valid),
                mac.load.eq(load),
                mac.capture.eq(capture),
                mac.x.eq(tile.read_data.word_select(pair, 16)),
                mac.weight.eq(weight),
            ]
            raws.append(mac.raw)
        m.d.comb += self.drain_data.eq(Cat(*raws))
