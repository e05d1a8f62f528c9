"""From the counts of a block to one beat per candidate, for the fuse selector."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import KERNELS
from golden.selector.table import BINS
from golden.selector.unit import UnitParameters

from .count import pick
from .counter import counts_layout
from .layouts import statistics_layout

__all__ = ["StatisticsFeed"]

_RATIO_BITS = 16


class StatisticsFeed(wiring.Component):
    """Serialises a block: count, density bin and error of each candidate, one per cycle.

    Operation: the count is what a candidate's threshold keeps; its bin follows from the size of the
    block's shape (`golden.selector.table.density_bin`). The relative error is a division, a bit per
    cycle, done once for candidates of one threshold that follow each other. The block stays at the
    input until its last candidate leaves.

    Latency: `latency_cycles` from the block's first cycle at the input to its first beat, if that
    drops nothing. Throughput: a block every `UnitParameters.block_cycles`. Back-pressure: a beat
    not taken freezes everything but the division. Counts, bins, errors and ``empty`` are those
    of `golden.selector.unit.describe_raw`; the error of an empty block is not defined.

    Parameters
    ----------
    parameters : UnitParameters
        Candidates and sizes.

    Members
    -------
    blocks : In(stream), `counts_layout`
        One block per transfer.
    statistics : Out(stream), `statistics_layout`
        One candidate per transfer, ``last`` with the last one.
    """

    latency_cycles = 2

    def __init__(self, parameters: UnitParameters) -> None:
        self._parameters = p = parameters
        self._layout = statistics_layout(len(p.sizes), p.count_bits, p.lossy)
        super().__init__(
            {
                "blocks": In(stream.Signature(counts_layout(p))),
                "statistics": Out(stream.Signature(self._layout)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        p = self._parameters
        block, beat = self.blocks.payload, self.statistics.payload
        final = len(p.candidates) - 1
        number = Signal(range(max(2, final + 1)))
        flow, offers, ready = Signal(), Signal(), Signal()
        m.d.comb += [
            flow.eq(~self.statistics.valid | self.statistics.ready),
            offers.eq(self.blocks.valid & ready),
            self.blocks.ready.eq(flow & ready & (number == final)),
        ]
        with m.If(flow & offers):
            m.d.sync += number.eq(Mux(number == final, 0, number + 1))
        error = self._ratio(m, number, ready, flow & offers) if p.lossy else Const(0, 0)
        if not p.lossy:
            m.d.comb += ready.eq(1)

        counts = [block.kept[p.thresholds.index(c.threshold)] for c in p.candidates]
        infeasible = [
            block.ragged if p.ragged_matters and c.kernel == "dense" else 0 for c in p.candidates
        ]
        kernels = [KERNELS[candidate.kernel].number for candidate in p.candidates]
        # First stage: the candidate's count; second: its bin.
        valid = Signal()
        picked = Signal(self._layout)
        with m.If(flow):
            m.d.sync += [
                valid.eq(offers),
                picked.kernel.eq(pick(kernels, number)),
                picked.block_shape.eq(block.block_shape),
                picked.count.eq(pick(counts, number)),
                picked.error.eq(error),
                picked.infeasible.eq(pick(infeasible, number)),
                picked.empty.eq(block.kept[0] == 0),
                picked.last.eq(number == final),
                self.statistics.valid.eq(valid),
                beat.eq(picked),
                beat.bin.eq(self._bin(picked)),
            ]
        return m

    def _bin(self, picked) -> Value:
        """Density bin, from the highest of the limits that the count is above."""
        # count << shift > size, with the shift on the constant's side.
        limits = [[size >> shift for size in self._parameters.sizes] for shift in range(6, 0, -1)]
        above = [picked.count > pick(row, picked.block_shape) for row in limits]
        reached = [picked.count.any(), *above]
        # Each limit implies those below it, so the number of them is a priority code.
        result: Value = Const(0, 3)
        for place, bit in enumerate(reached, 1):
            result = Mux(bit, Const(place, 3), result)
        assert len(reached) == BINS - 1
        return result

    def _ratio(self, m: Module, number: Signal, ready: Signal, leaves: Value) -> Value:
        """Relative error of the present candidate; ``ready`` once it is there.

        A non-restoring division of ``dropped << 16`` by the energy: the remainder may fall below
        zero and then takes the energy back instead of giving it. A block that loses everything
        reaches 65535, as the saturation asks for: the remainder stays at the divisor.
        """
        p = self._parameters
        block = self.blocks.payload
        needed, dropped = [], []
        before = 0
        for candidate in p.candidates:
            t = candidate.threshold
            needed.append(int(t not in (0, before)))
            before = t or before
            dropped.append(block.dropped[f"below_{max(t, p.thresholds[1])}"])
        left = Signal(range(_RATIO_BITS + 1))  # bits to go, and one cycle to begin
        there = Signal()
        remainder = Signal(signed(p.energy_bits + 1))
        quotient = Signal(_RATIO_BITS)
        following = Signal(signed(p.energy_bits + 1))
        gives = ~remainder[-1]
        # Giving adds the complement and, as the doubled remainder's lowest bit, one.
        divisor = Cat(block.energy ^ gives.replicate(p.energy_bits), gives)
        m.d.comb += [
            following.eq(Cat(gives, remainder) + divisor),
            ready.eq(~pick(needed, number) | there),
        ]
        with m.If(left != 0):
            m.d.sync += [
                left.eq(left - 1),
                quotient.eq(Cat(~following[-1], quotient[:-1])),
                remainder.eq(following),
                there.eq(left == 1),
            ]
        with m.Elif(self.blocks.valid & ~ready):
            m.d.sync += [left.eq(_RATIO_BITS), remainder.eq(pick(dropped, number))]
        with m.If(leaves):
            m.d.sync += there.eq(0)
        dropping = pick((int(candidate.threshold > 0) for candidate in p.candidates), number)
        return Mux(dropping, quotient, 0)
