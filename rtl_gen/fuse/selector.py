"""Fuse selector in hardware; the law is `golden.fuse.selector`'s, bit for bit."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.fuse.candidates import COUNT_BITS
from golden.fuse.selector import COST_BITS, R_BITS
from golden.fuse.table import BASE_BITS, BIN_BITS, FRACTION_BITS, KERNEL_BITS, SLOPE_BITS

__all__ = ["FuseSelector", "choice_layout", "statistics_layout"]

_WEIGHT_BITS = 16  # unsigned Q8.8
_ERROR_BITS = 16


def statistics_layout(shapes: int) -> data.StructLayout:
    """One candidate of one block; ``last`` closes the block, ``empty`` is the block's."""
    return data.StructLayout(
        {
            "bin": BIN_BITS,
            "kernel": KERNEL_BITS,
            "block_shape": (shapes - 1).bit_length(),
            "count": COUNT_BITS,
            "error": _ERROR_BITS,
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


class FuseSelector(wiring.Component):
    """Chooses the candidate of least cost per block and adapts the weights to an error budget.

    Operation: a block is a run of statistics beats, one per candidate in order of their numbers,
    one per cycle. Table read, line, cost, comparison, adaptation are stages of a pipeline.
    Latency: the choice is offered `latency_cycles` after the last beat. Throughput: a block of
    `free_candidates` or more beats follows the one before without a gap; shorter blocks wait
    until at most one block is ahead in the weighing. Back-pressure: a choice not taken freezes
    everything. Reset restores weights and running error, not the table.

    The 18 x 24, 16 x 16 and 16 x 24 bit products take a multiplier block each.

    Parameters
    ----------
    candidates : int
        Most beats of a block; 1 to 256.
    shapes : int
        Block shapes of the table; 1 to 64.
    shift, gain : int
        Of the running error, 1 to 12, and of the controller's step, 1 to 15.

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
        while blocks are on their way.
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

    latency_cycles = 7
    """From the last beat's transfer to the first cycle that offers the choice."""

    free_candidates = 3
    """From this many candidates on, blocks stream without a gap."""

    def __init__(
        self, *, candidates: int = 8, shapes: int = 4, shift: int = 6, gain: int = 4
    ) -> None:
        limits = (
            ("candidates", candidates, 256),
            ("shapes", shapes, 64),
            ("shift", shift, 12),
            ("gain", gain, 15),
        )
        for name, value, most in limits:
            if not 1 <= value <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {value}")
        self._candidates, self._shapes = candidates, shapes
        self._shift, self._gain = shift, gain
        self._address_bits = BIN_BITS + KERNEL_BITS + (shapes - 1).bit_length()
        self.module_name = f"sf_fuse_selector_c{candidates}_p{shapes}_s{shift}_g{gain}"
        super().__init__(
            {
                "statistics": In(stream.Signature(statistics_layout(shapes))),
                "choices": Out(stream.Signature(choice_layout(candidates))),
                "table_enable": In(1),
                "table_address": In(self._address_bits),
                "table_data": In(64),
                "alpha": In(_WEIGHT_BITS),
                "beta": In(_WEIGHT_BITS),
                "alpha_max": In(_WEIGHT_BITS),
                "beta_min": In(_WEIGHT_BITS),
                "budget": In(_ERROR_BITS),
                "adapt": In(1),
                "restart": In(1),
                "running_error": Out(_ERROR_BITS),
                "alpha_now": Out(_WEIGHT_BITS),
                "beta_now": Out(_WEIGHT_BITS),
            }
        )

    def elaborate(self, platform):
        m = Module()
        flow = Signal()  # the weighing and what follows it
        upper = Signal()  # what comes before: also waits for weights
        m.d.comb += flow.eq(~self.choices.valid | self.choices.ready)
        beat = self.statistics.payload
        m.d.comb += self.statistics.ready.eq(upper)

        # Stage 1: table. A line is read while its beat is registered.
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
                "error": _ERROR_BITS,
            }
        )
        tags = [Signal(tag, name=f"tag{stage}") for stage in range(6)]
        count = Signal(COUNT_BITS)
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
            ]
            with m.If(self.statistics.valid):
                m.d.sync += number.eq(Mux(beat.last, 0, number + 1))

        # Stages 2 and 3: the line at the block's count, in 1/256 cycles, clipped to R.
        product = Signal(signed(SLOPE_BITS + COUNT_BITS))
        start = Signal(signed(BASE_BITS))
        cycles = Signal(R_BITS)
        total = Signal(signed(SLOPE_BITS + COUNT_BITS + 1))
        whole = total >> FRACTION_BITS
        m.d.comb += total.eq(product + start)
        with m.If(upper):
            m.d.sync += [
                tags[1].eq(tags[0]),
                tags[1].infeasible.eq(tags[0].infeasible | ~read.data[-1]),
                product.eq(slope * count),
                start.eq(base),
                tags[2].eq(tags[1]),
                cycles.eq(whole),
            ]
            with m.If(total < 0):
                m.d.sync += cycles.eq(0)
            with m.Elif(whole[R_BITS:].any()):
                m.d.sync += cycles.eq((1 << R_BITS) - 1)

        # Stage 4: weighing. A block takes the weights that the block before the last one left:
        # the present ones if one block is still in flight, the previous ones if none is.
        ahead = Signal(2)
        begins = tags[2].valid & tags[2].first
        hold = begins & ahead[1]
        m.d.comb += upper.eq(flow & ~hold)
        alpha_before, beta_before = Signal(_WEIGHT_BITS), Signal(_WEIGHT_BITS)
        alpha_held, beta_held = Signal(_WEIGHT_BITS), Signal(_WEIGHT_BITS)
        alpha, beta = Signal(_WEIGHT_BITS), Signal(_WEIGHT_BITS)
        m.d.comb += [
            alpha.eq(Mux(begins, Mux(ahead[0], self.alpha_now, alpha_before), alpha_held)),
            beta.eq(Mux(begins, Mux(ahead[0], self.beta_now, beta_before), beta_held)),
        ]
        error_cost = Signal(_WEIGHT_BITS + _ERROR_BITS)
        cycle_cost = Signal(_WEIGHT_BITS + R_BITS)
        cost = Signal(COST_BITS)
        with m.If(flow):
            m.d.sync += [
                tags[3].eq(tags[2]),
                tags[3].valid.eq(tags[2].valid & ~hold),
                alpha_held.eq(alpha),
                beta_held.eq(beta),
                error_cost.eq(alpha * tags[2].error),
                cycle_cost.eq(beta * cycles),
                # Stage 5: the sum.
                tags[4].eq(tags[3]),
                cost.eq((error_cost >> 8) + (cycle_cost << 8)),
            ]
            with m.If(tags[3].empty):
                m.d.sync += cost.eq(0)
            with m.Elif(tags[3].infeasible):
                m.d.sync += cost.eq(Const((1 << COST_BITS) - 1))

            # Stage 6: least so far; a block's first beat replaces what was before.
            best = Signal(choice_layout(self._candidates))
            m.d.sync += tags[5].eq(tags[4])
            with m.If(tags[4].valid & (tags[4].first | (cost < best.cost))):
                m.d.sync += [
                    best.candidate.eq(tags[4].number),
                    best.kernel.eq(tags[4].kernel),
                    best.cost.eq(cost),
                    best.error.eq(tags[4].error),
                ]

            # Stage 7: the choice leaves, the weights adapt.
            error_sum = Signal(_ERROR_BITS + self._shift)
            ends = tags[5].valid & tags[5].last
            m.d.sync += self.choices.valid.eq(ends)
            m.d.sync += ahead.eq(ahead + (begins & ~hold) - ends)
            with m.If(ends):
                m.d.sync += [
                    self.choices.payload.eq(best),
                    alpha_before.eq(self.alpha_now),
                    beta_before.eq(self.beta_now),
                ]
                self._adapt(m, error_sum, best.error)
        with m.If(self.restart):
            m.d.sync += [
                self.alpha_now.eq(self.alpha),
                self.beta_now.eq(self.beta),
                alpha_before.eq(self.alpha),
                beta_before.eq(self.beta),
                error_sum.eq(0),
            ]
        m.d.comb += self.running_error.eq(error_sum >> self._shift)
        return m

    def _adapt(self, m: Module, error_sum: Signal, error: Value) -> None:
        """One step of the controller."""
        following = Signal.like(error_sum, name="error_following")
        m.d.comb += following.eq(error_sum - (error_sum >> self._shift) + error)
        m.d.sync += error_sum.eq(following)
        alpha_step, beta_step = Signal(_WEIGHT_BITS), Signal(_WEIGHT_BITS)
        for step, weight in ((alpha_step, self.alpha_now), (beta_step, self.beta_now)):
            shifted = weight >> self._gain
            m.d.comb += step.eq(Mux(shifted == 0, 1, shifted))

        def rise(weight: Value, step: Value, most: Value) -> None:
            m.d.sync += weight.eq(Mux(most - weight > step, weight + step, most))

        def fall(weight: Value, step: Value, least: Value) -> None:
            m.d.sync += weight.eq(Mux(weight - least > step, weight - step, least))

        with m.If(self.adapt):
            with m.If((following >> self._shift) > self.budget):
                with m.If(self.alpha_now < self.alpha_max):
                    rise(self.alpha_now, alpha_step, self.alpha_max)
                with m.Else():
                    fall(self.beta_now, beta_step, self.beta_min)
            with m.Elif(self.beta_now < self.beta):
                rise(self.beta_now, beta_step, self.beta)
            with m.Else():
                fall(self.alpha_now, alpha_step, self.alpha)
