"""Fusion arithmetic: weighted sums of the parts of a column, and the check of the weights."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.numerics.combine import ACCUMULATOR_BITS, UNIT, WEIGHT_FRACTION
from golden.numerics.quantise import Rounding

__all__ = [
    "HALF",
    "WEIGHT_BITS",
    "WeightSumChecker",
    "weighted_sum",
]

WEIGHT_BITS = WEIGHT_FRACTION + 1

HALF = UNIT // 2
"""What an accumulator holds beside the sum."""


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
        running: accumulator so far, signed, as this function returned it; goes with the product,
            one stage after value and weight.
        first: start afresh; goes with the product too.
        rounding: where a tie goes.
        name: ends the names of the signals.

    Returns:
        The new accumulator (48 bits, a register, a half above the sum), and from it the rounded,
        saturated value (32 bits, combinational).
    """
    product = Signal(signed(ACCUMULATOR_BITS), name=f"product{name}", reset_less=True)
    total = Signal(signed(ACCUMULATOR_BITS), name=f"total{name}", reset_less=True)
    with m.If(step):
        m.d.sync += [
            product.eq(value * weight),
            total.eq(product + Mux(first, HALF, running)),
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
    """Sticky error where the weights of the parts of a column break the rule.

    Operation: fed with the weight of every part header.  The weights from ``first`` to ``last``,
    of all parts in all k tiles of the same columns, must sum to 32768; with ``exact``, which all
    of them share, each must be 32768.  A part that is not ``first`` with no columns begun, or a
    ``first`` before their ``last``, is an error too.

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
