"""Weight controller: holds the fuse selector's running error to its budget."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ERROR_BITS", "WEIGHT_BITS", "WeightController"]

WEIGHT_BITS = 16
"""Of alpha and beta, unsigned Q8.8."""
ERROR_BITS = 16
"""Of a relative error, Q16."""


class WeightController(wiring.Component):
    """One step of `golden.selector.selector.Selector.update` for each block.

    Operation: five stages, one cycle each: running error; comparisons; the weight that moves and
    its limit; the weight moved; the weight limited. ``done`` is high in the last of them.

    Latency: state and weights are new `latency_cycles` after ``enable``, the cycle after
    ``done``. Throughput: a block every `latency_cycles`; ``enable`` in between is not allowed.
    Reset clears everything.

    Parameters
    ----------
    shift : int
        The running error is an average of weight ``2**-shift``; 1 to 12.
    gain : int
        A step is ``2**-gain`` of the weight; 1 to 15.

    Members
    -------
    enable : In(1)
        A block was decided.
    error : In(16)
        Of its choice, with ``enable``.
    alpha, beta, alpha_max, beta_min, budget, adapt, restart : In
    running_error, alpha_now, beta_now : Out(16)
        See `rtl_gen.fuse.selector.FuseSelector`.
    done : Out(1)
    """

    latency_cycles = 5

    def __init__(self, shift: int, gain: int) -> None:
        self._shift, self._gain = shift, gain
        registers = ("alpha", "beta", "alpha_max", "beta_min")
        super().__init__(
            {
                "enable": In(1),
                "error": In(ERROR_BITS),
                **{name: In(WEIGHT_BITS) for name in registers},
                "budget": In(ERROR_BITS),
                "adapt": In(1),
                "restart": In(1),
                "running_error": Out(ERROR_BITS),
                "alpha_now": Out(WEIGHT_BITS),
                "beta_now": Out(WEIGHT_BITS),
                "done": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        stage = Signal(self.latency_cycles - 1)
        m.d.sync += stage.eq(Cat(self.enable, stage))
        m.d.comb += self.done.eq(stage[-1])

        error_sum = Signal(ERROR_BITS + self._shift)
        running = error_sum[self._shift :]
        change = Signal(signed(ERROR_BITS + 1))
        m.d.comb += [change.eq(self.error - running), self.running_error.eq(running)]
        with m.If(self.enable):
            m.d.sync += error_sum.eq(error_sum + change)

        above, highest, below = Signal(), Signal(), Signal()
        on_beta, falls = Signal(), Signal()
        chosen_beta, chosen_falls = Signal(), Signal()
        m.d.comb += [
            # By the registers' rules a weight that is not at its limit is on the near side.
            chosen_beta.eq(Mux(above, highest, below)),
            chosen_falls.eq(above == chosen_beta),
        ]
        weight, limit = Signal(WEIGHT_BITS), Signal(WEIGHT_BITS)
        moved = Signal(WEIGHT_BITS + 1)
        shifted = (weight ^ falls.replicate(WEIGHT_BITS))[self._gain :]
        step = Cat(shifted[0] | ~shifted.any(), shifted[1:])
        result = Mux(moved > limit, limit, moved[:-1]) ^ falls.replicate(WEIGHT_BITS)
        # Falling is rising of the complement.
        flip = chosen_falls.replicate(WEIGHT_BITS)
        m.d.sync += [
            above.eq(running > self.budget),
            highest.eq(self.alpha_now == self.alpha_max),
            below.eq(self.beta_now != self.beta),
            on_beta.eq(chosen_beta),
            falls.eq(chosen_falls),
            weight.eq(Mux(chosen_beta, self.beta_now, self.alpha_now) ^ flip),
            limit.eq(
                Mux(
                    chosen_beta,
                    Mux(above, self.beta_min, self.beta),
                    Mux(above, self.alpha_max, self.alpha),
                )
                ^ flip
            ),
            moved.eq(weight + step),
        ]
        with m.If(self.restart | (self.done & self.adapt & ~on_beta)):
            m.d.sync += self.alpha_now.eq(Mux(self.restart, self.alpha, result))
        with m.If(self.restart | (self.done & self.adapt & on_beta)):
            m.d.sync += self.beta_now.eq(Mux(self.restart, self.beta, result))
        with m.If(self.restart):
            m.d.sync += error_sum.eq(0)
        return m
