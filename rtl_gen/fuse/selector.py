"""Fuse selector in hardware; the law is `golden.fuse.selector`'s, bit for bit."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.fuse.candidates import COUNT_BITS
from golden.fuse.selector import COST_BITS, R_BITS
from golden.fuse.table import BASE_BITS, BIN_BITS, FRACTION_BITS, KERNEL_BITS, SLOPE_BITS

__all__ = ["FuseSelector", "choice_layout", "selector_ports", "statistics_layout"]

_WEIGHT_BITS = 16  # unsigned Q8.8
_ERROR_BITS = 16


def statistics_layout(
    shapes: int, count_bits: int = COUNT_BITS, lossy: bool = True
) -> data.StructLayout:
    """One candidate of one block; ``last`` closes the block, ``empty`` is the block's.

    ``error`` is there only where candidates may drop values (``lossy``).
    """
    return data.StructLayout(
        {
            "bin": BIN_BITS,
            "kernel": KERNEL_BITS,
            "block_shape": (shapes - 1).bit_length(),
            "count": count_bits,
            "error": _ERROR_BITS if lossy else 0,
            "infeasible": 1,
            "empty": 1,
            "last": 1,
        }
    )


def choice_layout(candidates: int) -> data.StructLayout:
    """The chosen candidate of one block; no candidate was feasible where ``cost`` is all ones."""
    return data.StructLayout(
        {
            "candidate": max(1, (candidates - 1).bit_length()),
            "kernel": KERNEL_BITS,
            "cost": COST_BITS,
            "error": _ERROR_BITS,
        }
    )


def selector_ports(shapes: int) -> dict:
    """Table port, registers and state of a `FuseSelector`; see there."""
    registers = ("alpha", "beta", "alpha_max", "beta_min")
    return {
        "table_enable": In(1),
        "table_address": In(BIN_BITS + KERNEL_BITS + (shapes - 1).bit_length()),
        "table_data": In(64),
        **{name: In(_WEIGHT_BITS) for name in registers},
        "budget": In(_ERROR_BITS),
        "adapt": In(1),
        "restart": In(1),
        "running_error": Out(_ERROR_BITS),
        "alpha_now": Out(_WEIGHT_BITS),
        "beta_now": Out(_WEIGHT_BITS),
    }


class FuseSelector(wiring.Component):
    """Chooses the candidate of least cost per block and adapts the weights to an error budget.

    Operation: a block is a run of statistics beats, one per candidate in order of their numbers,
    one per cycle. Table read, line, cost, comparison, adaptation are stages of a pipeline.
    Without errors (``lossy`` false) the cost is ``beta * R`` alone, so cycles are compared, one
    product of the least follows, and nothing adapts. Latency: the choice is offered
    `latency_cycles` after the last beat. Throughput: a block of `free_candidates` or more beats
    follows the one before without a gap; shorter blocks wait until at most one block is ahead in
    the weighing. Back-pressure: a choice not taken freezes everything. Reset restores weights
    and running error, not the table.

    The products take multiplier blocks: 18 x ``count_bits`` and 16 x 24, lossy 16 x 16 as well.

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
        Registers; see `golden.fuse.selector.Registers`, whose rules they must keep. Steady
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
    ) -> None:
        limits = (
            ("candidates", candidates, 256),
            ("shapes", shapes, 64),
            ("shift", shift, 12),
            ("gain", gain, 15),
            ("count_bits", count_bits, COUNT_BITS),
        )
        for name, value, most in limits:
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {value}")
        self._candidates, self._shapes = candidates, shapes
        self._shift, self._gain = shift, gain
        self._count_bits, self._lossy = count_bits, lossy
        self._address_bits = BIN_BITS + KERNEL_BITS + (shapes - 1).bit_length()
        law = f"s{shift}_g{gain}" if lossy else "exact"
        self.module_name = f"sf_fuse_selector_c{candidates}_p{shapes}_n{count_bits}_{law}"
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
        return 7 if self._lossy else 5

    @property
    def free_candidates(self) -> int:
        """From this many candidates on, blocks stream without a gap."""
        return 3 if self._lossy else 1

    def elaborate(self, platform):
        m = Module()
        flow = Signal()  # the weighing and what follows it
        upper = Signal()  # what comes before: also waits for weights
        m.d.comb += flow.eq(~self.choices.valid | self.choices.ready)
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
        tags = [Signal(tag, name=f"tag{stage}") for stage in range(self.latency_cycles - 1)]
        cycles = self._read(m, upper, number, tags)
        if self._lossy:
            self._weigh(m, flow, upper, tags, cycles)
        else:
            self._compare(m, flow, upper, tags, cycles)
        return m

    def _read(self, m: Module, upper: Signal, number: Signal, tags: list) -> Signal:
        """Stages 1 to 3: the table's line at the block's count, in cycles, clipped to R."""
        beat = self.statistics.payload
        # A line is read while its beat is registered.
        line_bits = SLOPE_BITS + BASE_BITS + 1
        m.submodules.table = table = memory.Memory(
            shape=unsigned(line_bits), depth=1 << self._address_bits, init=[]
        )
        write, read = table.write_port(), table.read_port()
        m.d.comb += [
            write.addr.eq(self.table_address),
            write.data.eq(self.table_data),
            write.en.eq(self.table_enable),
            read.addr.eq(Cat(beat.bin, beat.kernel, beat.block_shape)),
            read.en.eq(upper),
        ]
        slope = read.data[:SLOPE_BITS].as_signed()
        base = read.data[SLOPE_BITS : SLOPE_BITS + BASE_BITS].as_signed()
        count = Signal(self._count_bits)
        product = Signal(signed(SLOPE_BITS + self._count_bits))
        start = Signal(signed(BASE_BITS))
        cycles = Signal(R_BITS)
        total = Signal(signed(max(SLOPE_BITS + self._count_bits, BASE_BITS) + 1))
        whole = total[FRACTION_BITS:-1]
        m.d.comb += total.eq(product + start)
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
                count.eq(beat.count),
                tags[1].eq(tags[0]),
                # An empty block has no cost, whatever holds it.
                tags[1].infeasible.eq((tags[0].infeasible | ~read.data[-1]) & ~tags[0].empty),
                product.eq(slope * count),
                start.eq(base),
                tags[2].eq(tags[1]),
                cycles.eq(whole),
            ]
            with m.If(whole[R_BITS:].any()):
                m.d.sync += cycles.eq((1 << R_BITS) - 1)
            # Last, so that it becomes a reset of the register.
            with m.If(total < 0):
                m.d.sync += cycles.eq(0)
            with m.If(self.statistics.valid):
                m.d.sync += number.eq(Mux(beat.last, 0, number + 1))
        return cycles

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
            upper.eq(flow),
            self.alpha_now.eq(self.alpha),
            self.beta_now.eq(self.beta),
        ]
        weighed = Signal(R_BITS)
        # Nothing costs anything at beta 0, nor does an empty block: candidate 0 of equals.
        with m.If(self.beta.any() & ~tags[2].empty):
            m.d.comb += weighed.eq(cycles)
        with m.If(flow):
            best, least = self._least(m, tags[2], weighed)
            m.d.sync += tags[3].eq(tags[2])
            ends = tags[3].valid & tags[3].last
            m.d.sync += self.choices.valid.eq(ends)
            with m.If(ends):
                self._offer(m, best, (self.beta * least) << 8)

    def _weigh(self, m: Module, flow: Signal, upper: Signal, tags: list, cycles: Signal) -> None:
        """Stages 4 to 7: products, sum, least so far, choice and adaptation.

        A block takes the weights that the block before the last one left: the present ones
        while the one before it is in flight, the previous ones after that.
        """
        ahead = Signal(2)
        begins = tags[2].valid & tags[2].first
        hold = begins & ahead[1]
        m.d.comb += upper.eq(flow & ~hold)
        alpha_before, beta_before = Signal(_WEIGHT_BITS), Signal(_WEIGHT_BITS)
        # A block counts itself behind its first beat.
        present = Mux(begins, ahead[0], ahead[1])
        error_cost = Signal(_WEIGHT_BITS + _ERROR_BITS)
        cycle_cost = Signal(_WEIGHT_BITS + R_BITS)
        cost = Signal(COST_BITS)
        shared = error_cost[16:]
        with m.If(flow):
            m.d.sync += [
                tags[3].eq(tags[2]),
                tags[3].valid.eq(tags[2].valid & ~hold),
                error_cost.eq(Mux(present, self.alpha_now, alpha_before) * tags[2].error),
                cycle_cost.eq(Mux(present, self.beta_now, beta_before) * cycles),
                tags[4].eq(tags[3]),
                # The two overlap above bit 16 of the first: eight bits pass beside the adder.
                cost.eq(Cat(error_cost[8:16], (cycle_cost + shared)[: COST_BITS - 8])),
            ]
            with m.If(tags[3].empty):
                m.d.sync += cost.eq(0)
            best, least = self._least(m, tags[4], cost)
            m.d.sync += tags[5].eq(tags[4])
            ends = tags[5].valid & tags[5].last
            m.d.sync += self.choices.valid.eq(ends)
            m.d.sync += ahead.eq(ahead + (begins & ~hold) - ends)
            with m.If(ends):
                self._offer(m, best, least)
                m.d.sync += [
                    alpha_before.eq(self.alpha_now),
                    beta_before.eq(self.beta_now),
                ]
        error_sum = Signal(_ERROR_BITS + self._shift)
        self._adapt(m, flow & ends, error_sum, best.error)
        with m.If(self.restart):
            m.d.sync += [
                self.alpha_now.eq(self.alpha),
                self.beta_now.eq(self.beta),
                alpha_before.eq(self.alpha),
                beta_before.eq(self.beta),
                error_sum.eq(0),
            ]
        m.d.comb += self.running_error.eq(error_sum >> self._shift)

    def _adapt(self, m: Module, enable: Value, error_sum: Signal, error: Value) -> None:
        """One step of the controller: one weight moves one step towards one limit."""
        following = Signal.like(error_sum, name="error_following")
        change = Signal(signed(_ERROR_BITS + 1))
        above, on_beta, falls = Signal(), Signal(), Signal()
        weight, limit = Signal(_WEIGHT_BITS), Signal(_WEIGHT_BITS)
        step, moved = Signal(_WEIGHT_BITS), Signal(_WEIGHT_BITS + 1)
        result = Signal(_WEIGHT_BITS)
        shifted = weight >> self._gain
        m.d.comb += [
            change.eq(error - (error_sum >> self._shift)),
            following.eq(error_sum + change),
            above.eq((following >> self._shift) > self.budget),
            # By the registers' rules a weight that is not at its limit is on the near side.
            on_beta.eq(Mux(above, self.alpha_now == self.alpha_max, self.beta_now != self.beta)),
            falls.eq(above == on_beta),
            weight.eq(Mux(on_beta, self.beta_now, self.alpha_now)),
            step.eq(Cat(shifted[0] | ~shifted.any(), shifted[1:])),
            # Falling is rising of the complement.
            limit.eq(
                Mux(
                    on_beta,
                    Mux(above, self.beta_min, self.beta),
                    Mux(above, self.alpha_max, self.alpha),
                )
                ^ falls.replicate(_WEIGHT_BITS)
            ),
            moved.eq((weight ^ falls.replicate(_WEIGHT_BITS)) + step),
            result.eq(Mux(moved > limit, limit, moved) ^ falls.replicate(_WEIGHT_BITS)),
        ]
        with m.If(enable):
            m.d.sync += error_sum.eq(following)
            with m.If(self.adapt & on_beta):
                m.d.sync += self.beta_now.eq(result)
            with m.If(self.adapt & ~on_beta):
                m.d.sync += self.alpha_now.eq(result)
