"""Fusion unit: weighted partial sums of the parts of a column; and the check of the weights."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numerics.combine import ACCUMULATOR_BITS, UNIT, WEIGHT_FRACTION
from golden.numerics.quantise import Rounding

__all__ = [
    "HALF",
    "WEIGHT_BITS",
    "FusionUnit",
    "WeightSumChecker",
    "fused",
    "partial",
    "weighted_sum",
]

WEIGHT_BITS = WEIGHT_FRACTION + 1

HALF = UNIT // 2
"""What an accumulator holds beside the sum."""


def partial(words: int) -> data.StructLayout:
    """What enters the fusion unit: ``words`` pairs of sums of one part.

    ``sums`` are the part's int32 sums, ``running`` the accumulators that the part before it left
    (ignored with ``first``), ``weight`` its Q15 weight, 0..32768; ``last`` marks the last part.
    """
    return data.StructLayout(
        {
            "sums": data.ArrayLayout(signed(32), 2 * words),
            "running": data.ArrayLayout(signed(ACCUMULATOR_BITS), 2 * words),
            "weight": WEIGHT_BITS,
            "first": 1,
            "last": 1,
        }
    )


def fused(words: int) -> data.StructLayout:
    """What leaves: the new accumulators, and their rounded values, which count with ``last``.

    An accumulator is ``HALF`` above its sum, so sums stay below ``2**47 - HALF``.
    """
    return data.StructLayout(
        {
            "running": data.ArrayLayout(signed(ACCUMULATOR_BITS), 2 * words),
            "sums": data.ArrayLayout(signed(32), 2 * words),
            "last": 1,
        }
    )


class FusionUnit(wiring.Component):
    """``running + weight * sums``, and its rounded int32 value, for pairs of sums.

    Operation: three stages: multiply; add the running sum (from 0 with ``first``); round by 15
    bits and saturate (`golden.numerics.combine`).  The unit keeps nothing but its
    pipeline: the memory that holds partial sums between the parts of a column (and between
    k tiles) also holds the running sums, so the parts of a column must be at least
    `latency_cycles` apart.

    Latency: `latency_cycles` from input to output; one transfer per cycle.  Back-pressure: while
    ``results`` waits, the pipeline stands still and ``partials`` is not ready.  Reset empties it.

    Parameters
    ----------
    words : int
        Pairs of sums per transfer, as many as the drain moves per cycle.
    rounding : str
        Where a tie goes.

    Members
    -------
    partials : In(stream of `partial`)
    results : Out(stream of `fused`)
    """

    def __init__(self, words: int = 1, rounding: Rounding = "half_even") -> None:
        self._words = words
        self._rounding: Rounding = rounding
        super().__init__(
            {
                "partials": In(stream.Signature(partial(words))),
                "results": Out(stream.Signature(fused(words))),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """Cycles from an accepted transfer to its result."""
        return 3

    def elaborate(self, platform):
        m = Module()
        step = Signal()
        source = self.partials.payload
        valid = Signal(self.latency_cycles)
        last = Signal(self.latency_cycles)
        first = Signal()
        m.d.comb += [
            self.results.valid.eq(valid[-1]),
            self.results.payload.last.eq(last[-1]),
            step.eq(~self.results.valid | self.results.ready),
            self.partials.ready.eq(step),
        ]
        with m.If(step):
            m.d.sync += [
                valid.eq(Cat(self.partials.valid, valid[:-1])),
                last.eq(Cat(source.last, last[:-1])),
                first.eq(source.first),
            ]
        for lane in range(2 * self._words):
            total, rounded = weighted_sum(
                m,
                step=step,
                value=source.sums[lane],
                weight=source.weight,
                running=source.running[lane],
                first=first,
                rounding=self._rounding,
                name=str(lane),
            )
            with m.If(step):
                m.d.sync += [
                    self.results.payload.running[lane].eq(total),
                    self.results.payload.sums[lane].eq(rounded),
                ]
        return m


def weighted_sum(
    m: Module,
    *,
    step: Value,
    value: Value,
    weight: Value,
    running: Value,
    first: Value,
    rounding: Rounding,
    name: str,
) -> tuple[Signal, Signal]:
    """Add to ``m`` the arithmetic of one sum: ``running + weight * value``, and its rounding.

    Two stages, which move with ``step``: multiply, add. The accumulator begins at a half instead
    of at zero, so that rounding half to even needs no adder: it cuts, and clears the last bit of a
    tie. Cutting rounds every tie up; away from zero, those of negative sums go down instead, which
    takes a decrement.

    Args:
        m: gets the registers.
        step: the pipeline moves.
        value: signed, at most 32 bits.
        weight: Q15, 0..32768.
        running: accumulator so far, signed, as this function returned it.
        first: start afresh; goes with the product, one stage after the others.
        rounding: where a tie goes.
        name: ends the names of the signals.

    Returns:
        The new accumulator (48 bits, a register, a half above the sum), and from it the rounded,
        saturated value (32 bits, combinational).
    """
    before = Signal(signed(ACCUMULATOR_BITS), name=f"before{name}", reset_less=True)
    product = Signal(signed(ACCUMULATOR_BITS), name=f"product{name}", reset_less=True)
    total = Signal(signed(ACCUMULATOR_BITS), name=f"total{name}", reset_less=True)
    with m.If(step):
        m.d.sync += [
            product.eq(value * weight),
            before.eq(running),
            total.eq(product + Mux(first, HALF, before)),
        ]
    rounded = Signal(signed(32), name=f"rounded{name}")
    whole = total[WEIGHT_FRACTION:]
    tie = ~total[:WEIGHT_FRACTION].any()
    low = Cat(whole[0] & ~tie, whole[1:32])
    if rounding == "half_away":
        # The sum of a tie is half a unit below `whole`: negative where that is at most zero.
        away = Signal(len(whole), name=f"away{name}")
        m.d.comb += away.eq(whole - (tie & (whole[-1] | ~whole.any())))
        whole, low = away, away[:32]
    # Whatever lies above bit 31 must repeat the sign.
    sign = whole[-1]
    fits = Mux(sign, whole[31:].all(), ~whole[31:].any())
    m.d.comb += rounded.eq(Mux(fits, low, Mux(sign, 1 << 31, (1 << 31) - 1)))
    return total, rounded


class WeightSumChecker(wiring.Component):
    """Sticky error where the weights of the parts of a block break the rule.

    Operation: fed with the weight of every part header.  The weights from ``first`` to ``last``
    must sum to 32768; with ``exact``, which all parts of a block share, each must be 32768.  A
    part that is not ``first`` without a block begun, or a ``first`` inside one, is an error too.

    Latency: ``error`` rises one cycle after the header that broke the rule and stays until
    ``clear``, which also forgets a block in progress.  One header per cycle, always accepted.

    Members
    -------
    valid, first, last, exact : In(1)
    weight : In(16)
    clear : In(1)
    error : Out(1)
    """

    def __init__(self) -> None:
        flags = {name: In(1) for name in ("valid", "first", "last", "exact", "clear")}
        super().__init__({**flags, "weight": In(WEIGHT_BITS), "error": Out(1)})

    @property
    def latency_cycles(self) -> int:
        """Cycles from a header to ``error``."""
        return 1

    def elaborate(self, platform):
        m = Module()
        # Behind an error the total means nothing, so it need not hold larger ones.
        total = Signal(range(UNIT + 1))
        following = Signal(range(UNIT + (1 << WEIGHT_BITS)))
        inside = Signal()
        high, low = following[WEIGHT_FRACTION:], following[:WEIGHT_FRACTION].any()
        complete = (high == 1) & ~low
        m.d.comb += following.eq(Mux(self.first | self.exact, 0, total) + self.weight)
        with m.If(self.valid):
            wrong = ~complete & (self.exact | self.last | high.any())
            m.d.sync += [
                total.eq(following),
                inside.eq(~self.last),
                self.error.eq(self.error | wrong | (self.first == inside)),
            ]
        with m.If(self.clear):
            m.d.sync += [total.eq(0), inside.eq(0), self.error.eq(0)]
        return m
