"""Fuse selector in hardware; the law is `golden.selector.selector`'s, bit for bit."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.selector.candidates import COUNT_BITS
from golden.selector.selector import COST_BITS, R_BITS
from golden.selector.table import BASE_BITS, BIN_BITS, FRACTION_BITS, KERNEL_BITS, SLOPE_BITS

from .controller import ERROR_BITS, WEIGHT_BITS, WeightController
from .layouts import choice_layout, selector_ports, statistics_layout

__all__ = ["FuseSelector"]

_GATE = 5
"""Stages from a beat to its cycles, where a block waits for its weights."""


class FuseSelector(wiring.Component):
    """Chooses the candidate of least cost per block and adapts the weights to an error budget.

    Operation: a block is a run of statistics beats, one per candidate in order of their numbers,
    one per cycle. Table read, line, cost and comparison are stages of a pipeline; a
    `WeightController` adapts the weights.
    Without errors (``lossy`` false) the cost is ``beta * R`` alone, so cycles are compared, one
    product of the least follows, and nothing adapts.

    Latency: the choice is offered `latency_cycles` after the last beat, with the weights and the
    running error that its block left. Throughput: a block of `free_candidates` or more beats
    follows the one before without a gap; shorter blocks wait for their weights. Back-pressure: a
    choice not taken stops the next one, which freezes everything. Reset clears weights and
    running error, not the table.

    The products take multiplier blocks: 18 x ``count_bits`` and 16 x ``cycle_bits``, lossy
    16 x 16 as well.

    Parameters
    ----------
    candidates : int
        Most beats of a block; 1 to 256.
    shapes : int
        Block shapes of the table; 1 to 64.
    shift, gain : int
        Of the running error, 1 to 12, and of the controller's step, 1 to 15.
    count_bits : int
        Bits of a block's count; 1 to 24.
    cycle_bits : int
        Bits of R, which saturates; 1 to 24.
    lossy : bool
        Candidates may drop values: errors are weighed and held to the budget.

    Members
    -------
    statistics : In(stream), `statistics_layout`
        What is known of a block for a candidate.
    choices : Out(stream), `choice_layout`
        One per block.
    table_enable, table_address, table_data : In
        Write port of the table: a 64-bit word of `PerformanceTable.rom_image` per cycle. Not
        while a block that uses the word is on its way.
    alpha, beta, alpha_max, beta_min, budget, adapt : In
        Registers; see `golden.selector.selector.Registers`, whose rules they must keep. Steady
        while blocks are on their way. Without errors only ``beta`` has an effect.
    restart : In(1)
        Sets the weights to ``alpha`` and ``beta`` and the running error to 0; wanted once after
        reset, while no block is on its way.
    running_error, alpha_now, beta_now : Out(16)
        State of the controller.

    Raises
    ------
    ValueError
        A parameter out of range.
    """

    def __init__(
        self,
        *,
        candidates: int = 8,
        shapes: int = 4,
        shift: int = 6,
        gain: int = 4,
        count_bits: int = COUNT_BITS,
        lossy: bool = True,
        cycle_bits: int = R_BITS,
    ) -> None:
        limits = (
            ("candidates", candidates, 256),
            ("shapes", shapes, 64),
            ("shift", shift, 12),
            ("gain", gain, 15),
            ("count_bits", count_bits, COUNT_BITS),
            ("cycle_bits", cycle_bits, R_BITS),
        )
        for name, value, most in limits:
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {value}")
        self._candidates, self._shapes = candidates, shapes
        self._shift, self._gain = shift, gain
        self._count_bits, self._lossy, self._cycle_bits = count_bits, lossy, cycle_bits
        self._address_bits = BIN_BITS + KERNEL_BITS + (shapes - 1).bit_length()
        law = f"s{shift}_g{gain}" if lossy else "exact"
        sizes = f"c{candidates}_p{shapes}_n{count_bits}_r{cycle_bits}"
        self.module_name = f"sf_fuse_selector_{sizes}_{law}"
        super().__init__(
            {
                "statistics": In(stream.Signature(statistics_layout(shapes, count_bits, lossy))),
                "choices": Out(stream.Signature(choice_layout(candidates))),
                **selector_ports(shapes),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """From the last beat's transfer to the first cycle that offers the choice."""
        return _GATE + 3 + WeightController.latency_cycles if self._lossy else _GATE + 2

    @property
    def free_candidates(self) -> int:
        """From this many candidates on, blocks stream without a gap."""
        # A block's last beat meets the weights that the block before it left.
        return 3 + WeightController.latency_cycles if self._lossy else 1

    def elaborate(self, platform):
        m = Module()
        flow = Signal()  # the weighing and what follows it
        upper = Signal()  # what comes before: also waits for weights
        m.d.comb += self.statistics.ready.eq(upper)
        number = Signal(max(1, (self._candidates - 1).bit_length()))
        tag = data.StructLayout(
            {
                "valid": 1,
                "last": 1,
                "first": 1,
                "empty": 1,
                "infeasible": 1,
                "number": number.shape(),
                "kernel": KERNEL_BITS,
                "error": len(self.statistics.payload.error),
            }
        )
        # As many as stages in front of the one that hands the choice over.
        stages = _GATE + (3 if self._lossy else 1)
        tags = [Signal(tag, name=f"tag{stage}") for stage in range(stages)]
        cycles = self._read(m, upper, number, tags)
        if self._lossy:
            self._weigh(m, flow, upper, tags, cycles)
        else:
            self._compare(m, flow, upper, tags, cycles)
        return m

    def _read(self, m: Module, upper: Signal, number: Signal, tags: list) -> Signal:
        """Stages in front of the gate: the table's line at the count, in cycles, clipped to R."""
        beat = self.statistics.payload
        line_bits = SLOPE_BITS + BASE_BITS + 1
        m.submodules.table = table = memory.Memory(
            shape=unsigned(line_bits), depth=1 << self._address_bits, init=[]
        )
        write, read = table.write_port(), table.read_port()
        line = Signal(line_bits, reset_less=True)
        m.d.comb += [
            write.addr.eq(self.table_address),
            write.data.eq(self.table_data),
            write.en.eq(self.table_enable),
            read.addr.eq(Cat(beat.bin, beat.kernel, beat.block_shape)),
            read.en.eq(upper),
        ]
        slope = line[:SLOPE_BITS].as_signed()
        base = line[SLOPE_BITS : SLOPE_BITS + BASE_BITS].as_signed()
        counts = [Signal(self._count_bits, name=f"count{i}", reset_less=True) for i in range(2)]
        product = Signal(signed(SLOPE_BITS + self._count_bits), reset_less=True)
        start = Signal(signed(BASE_BITS), reset_less=True)
        total = Signal(signed(max(len(product), BASE_BITS) + 1), reset_less=True)
        cycles = Signal(self._cycle_bits)
        whole = total[FRACTION_BITS:-1]
        with m.If(upper):
            m.d.sync += [
                tags[0].valid.eq(self.statistics.valid),
                tags[0].last.eq(beat.last),
                tags[0].first.eq(number == 0),
                tags[0].empty.eq(beat.empty),
                tags[0].infeasible.eq(beat.infeasible),
                tags[0].number.eq(number),
                tags[0].kernel.eq(beat.kernel),
                tags[0].error.eq(Mux(beat.empty, 0, beat.error)),
                *(after.eq(before) for before, after in pairwise(tags[:_GATE])),
                counts[0].eq(beat.count),
                counts[1].eq(counts[0]),
                # The memory's output is slow: it goes to a register, not to the multiplier.
                line.eq(read.data),
                # An empty block has no cost, whatever holds it.
                tags[2].infeasible.eq((tags[1].infeasible | ~line[-1]) & ~tags[1].empty),
                product.eq(slope * counts[1]),
                start.eq(base),
                total.eq(product + start),
                cycles.eq(whole),
            ]
            with m.If(whole[self._cycle_bits :].any()):
                m.d.sync += cycles.eq((1 << self._cycle_bits) - 1)
            # Last, so that it becomes a reset of the register.
            with m.If(self._free(tags[3]) | (total < 0)):
                m.d.sync += cycles.eq(0)
            with m.If(self.statistics.valid):
                m.d.sync += number.eq(Mux(beat.last, 0, number + 1))
        return cycles

    def _free(self, tag) -> Value:
        """Without errors: nothing costs anything at beta 0, nor does an empty block."""
        return Const(0) if self._lossy else tag.empty | ~self.beta.any()

    def _least(self, m: Module, entered, cost: Signal) -> tuple[Signal, Signal]:
        """The least cost so far with its tag, of costs that come with ``entered``.

        A block's first beat replaces what was before; one that is infeasible gives way to any
        that is not.
        """
        best, least = Signal.like(entered, name="best"), Signal.like(cost, name="least")
        better = ~entered.infeasible & (best.infeasible | (cost < least))
        with m.If(entered.valid & (entered.first | better)):
            m.d.sync += [best.eq(entered), least.eq(cost)]
        return best, least

    def _offer(self, m: Module, best, cost: Value) -> None:
        """The choice leaves."""
        choice = self.choices.payload
        m.d.sync += [
            choice.candidate.eq(best.number),
            choice.kernel.eq(best.kernel),
            choice.cost.eq(cost),
            choice.error.eq(best.error),
        ]
        with m.If(best.infeasible):
            m.d.sync += choice.cost.eq((1 << COST_BITS) - 1)

    def _compare(self, m: Module, flow: Signal, upper: Signal, tags: list, cycles: Signal) -> None:
        """Without errors: the least cycles, then their cost."""
        m.d.comb += [
            flow.eq(~self.choices.valid | self.choices.ready),
            upper.eq(flow),
            self.alpha_now.eq(self.alpha),
            self.beta_now.eq(self.beta),
        ]
        with m.If(flow):
            best, least = self._least(m, tags[-2], cycles)
            m.d.sync += tags[-1].eq(tags[-2])
            ends = tags[-1].valid & tags[-1].last
            m.d.sync += self.choices.valid.eq(ends)
            with m.If(ends):
                self._offer(m, best, (self.beta * least) << 8)

    def _weigh(self, m: Module, flow: Signal, upper: Signal, tags: list, cycles: Signal) -> None:
        """Stages behind the gate: products, sum, least so far; then choice and adaptation.

        A block takes the weights that the block before the last one left. They are fetched when
        the last block's final beat passes the gate, or as soon after it as they are there; the
        last block itself cannot have changed them by then.
        """
        m.submodules.controller = controller = WeightController(self._shift, self._gain)
        for name in ("alpha", "beta", "alpha_max", "beta_min", "budget", "adapt", "restart"):
            m.d.comb += getattr(controller, name).eq(getattr(self, name))
        for name in ("running_error", "alpha_now", "beta_now"):
            m.d.comb += getattr(self, name).eq(getattr(controller, name))
        gate, costed, ended = tags[_GATE - 1], tags[-2], tags[-1]

        alpha, beta = Signal(WEIGHT_BITS, reset_less=True), Signal(WEIGHT_BITS, reset_less=True)
        there = Signal()  # the weights of the block at the gate
        unsettled = Signal(2)  # blocks past the gate that have not left their weights
        passes, closes, fetch = Signal(), Signal(), Signal()
        m.d.comb += [
            upper.eq(flow & (there | ~gate.valid)),
            passes.eq(gate.valid & there),
            closes.eq(flow & passes & gate.last),
            fetch.eq(Mux(there, closes & (unsettled == 0), ~unsettled[1])),
        ]
        m.d.sync += [
            there.eq((fetch | (there & ~closes)) & ~self.restart),
            unsettled.eq(unsettled + closes - controller.done),
        ]
        with m.If(fetch):
            m.d.sync += [alpha.eq(controller.alpha_now), beta.eq(controller.beta_now)]

        error_cost = Signal(WEIGHT_BITS + ERROR_BITS, reset_less=True)
        cycle_cost = Signal(WEIGHT_BITS + self._cycle_bits, reset_less=True)
        cost_bits = min(COST_BITS, max(len(cycle_cost), len(error_cost) - 16) + 9)
        cost = Signal(cost_bits, reset_less=True)
        with m.If(flow):
            m.d.sync += [
                *(after.eq(before) for before, after in pairwise(tags[_GATE - 1 :])),
                tags[_GATE].valid.eq(passes),
                error_cost.eq(alpha * gate.error),
                cycle_cost.eq(beta * cycles),
                # The two overlap above bit 16 of the first: eight bits pass beside the adder.
                cost.eq(Cat(error_cost[8:16], (cycle_cost + error_cost[16:])[: cost_bits - 8])),
            ]
            with m.If(tags[_GATE].empty):
                m.d.sync += cost.eq(0)
            best, least = self._least(m, costed, cost)

        # A choice is offered once the weights are what its block left.
        pending, ends = Signal(), Signal()
        occupied = pending | (self.choices.valid & ~self.choices.ready)
        m.d.comb += [
            ends.eq(ended.valid & ended.last),
            flow.eq(~(ends & occupied)),
            controller.enable.eq(ends & flow),
            controller.error.eq(best.error),
        ]
        with m.If(self.choices.ready):
            m.d.sync += self.choices.valid.eq(0)
        with m.If(controller.done):
            m.d.sync += [pending.eq(0), self.choices.valid.eq(1)]
        with m.If(controller.enable):
            m.d.sync += pending.eq(1)
            self._offer(m, best, least)
