"""Weights of parts on their way from block header to drain."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from golden.shape import ArrayShape

from ..kernels.source import EventSource
from .combine import WEIGHT_BITS, WeightSumChecker

__all__ = ["PartSource", "PartWeights", "beginning"]

_SCANNER = 2  # chunks inside the scanner


def beginning() -> data.StructLayout:
    """A part begins, with what its header says of weights (`golden.formats.block_header`)."""
    flags = dict.fromkeys(("valid", "exact", "first", "final"), 1)
    return data.StructLayout({**flags, "weight": WEIGHT_BITS})


class PartSource(EventSource):
    """An event source that also tells when a part begins.

    Latency: ``part`` is valid in the cycle in which the decoder begins, before its first row.

    Attributes
    ----------
    part : Signal of `beginning`
    """

    def __init__(self, shape: ArrayShape) -> None:
        super().__init__(shape)
        self.part = Signal(beginning())

    def _sequence(
        self, m: Module, header, opening, running, column_end, block_end, flags
    ) -> Signal:
        known = super()._sequence(m, header, opening, running, column_end, block_end, flags)
        before = Signal(name="running_before")
        m.d.sync += before.eq(running)
        m.d.comb += [
            # A header lies between two parts, so each of them is a rising edge.
            self.part.valid.eq(running & ~before),
            self.part.weight.eq(header.weight),
            self.part.exact.eq(header.exact),
            self.part.first.eq(header.first),
            self.part.final.eq(header.final),
        ]
        return known


class PartWeights(wiring.Component):
    """Weights of the parts in flight, in order, and the check of their sums.

    Operation: decoder and drain are a queue of rows apart, which would be wider by a weight if
    each row carried it.  Here one entry per part waits until the part's last column is drained.
    The queue holds as many parts as rows fit between decoder and drain, so it is never full.
    The weights of the same columns, from their ``first`` part to their ``final`` one over all k
    tiles, must sum to 32768; where that first part says ``exact``, each of them must be 32768.

    Latency: ``weight`` stands 2 cycles after its part began and all parts before it are done;
    ``wrong`` rises 1 cycle after the part that broke the rule began, before any result of it.

    Parameters
    ----------
    shape : ArrayShape
    lane_stages : int
        Stages of the lanes, each of which can hold the last row of a part.

    Members
    -------
    part : In, `beginning`
    done : In(1)
        The oldest part's last column is drained.
    weight : Out(16)
        Of the oldest part.
    wrong : Out(1)
        Sticky.
    """

    def __init__(self, shape: ArrayShape, lane_stages: int) -> None:
        # The decoder's part, scanner, queue of rows with its head, lanes and captured column.
        held = 1 + _SCANNER + shape.queue + 1 + lane_stages + 1
        self._depth = 1 << (held - 1).bit_length()
        super().__init__(
            {
                "part": In(beginning()),
                "done": In(1),
                "weight": Out(WEIGHT_BITS),
                "wrong": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Never full: it has a place for every part that the engine can hold.
        m.submodules.queue = queue = memory.Memory(
            shape=unsigned(WEIGHT_BITS), depth=self._depth, init=[]
        )
        write, read = queue.write_port(), queue.read_port()
        oldest = Signal(range(self._depth))
        m.submodules.checker = checker = WeightSumChecker()
        exact = Signal()
        exact_before = Signal()
        m.d.comb += [
            write.en.eq(self.part.valid),
            write.data.eq(self.part.weight),
            read.addr.eq(oldest + self.done),
            self.weight.eq(read.data),
            exact.eq(Mux(self.part.first, self.part.exact, exact_before)),
            checker.valid.eq(self.part.valid),
            checker.weight.eq(self.part.weight),
            checker.first.eq(self.part.first),
            checker.last.eq(self.part.final),
            checker.exact.eq(exact),
            self.wrong.eq(checker.error),
        ]
        m.d.sync += [write.addr.eq(write.addr + self.part.valid), oldest.eq(read.addr)]
        with m.If(self.part.valid):
            m.d.sync += exact_before.eq(exact)
        return m
