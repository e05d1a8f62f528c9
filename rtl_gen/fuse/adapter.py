"""Weight adapter: one fixed-point gradient step on the Q15 weights of fused parts."""

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.numerics.combine import UNIT, WEIGHT_FRACTION
from golden.planner.refine import GRADIENT_BITS, MAX_PARTS, MAX_STEP_SHIFT

__all__ = ["WeightAdapter", "adapted", "adapter_step"]

_WEIGHT_BITS = WEIGHT_FRACTION + 1


def adapter_step(parts: int) -> data.StructLayout:
    """Weights of all parts (sum 32768), their int32 gradients, and the step's shift."""
    return data.StructLayout(
        {
            "weights": data.ArrayLayout(_WEIGHT_BITS, parts),
            "gradients": data.ArrayLayout(signed(GRADIENT_BITS), parts),
            "shift": range(MAX_STEP_SHIFT + 1),
        }
    )


def adapted(parts: int) -> data.StructLayout:
    """The new weights of all parts."""
    # A payload that is itself an array would name its elements `payload[0]`, which Yosys' ABC9
    # confuses with the bits of `payload`.
    return data.StructLayout({"weights": data.ArrayLayout(_WEIGHT_BITS, parts)})


class WeightAdapter(wiring.Component):
    """``w <- w - step * (g - mean g)``, clamped to 0..1, with the exact sum kept.

    Operation (`golden.planner.refine.adapt_step`), one part per cycle each time: sum the gradients;
    move and clamp the weights while the remainder to 32768 and the largest weight are tracked;
    give the remainder to the largest part and, as far as that cannot take it, to the parts behind
    it.  One adder, one subtractor and one barrel shifter serve all parts.

    Latency: `latency_cycles` from an accepted step to its result; one step at a time.
    Back-pressure: the result waits for ``results.ready``, and until then no step is accepted.

    Parameters
    ----------
    parts : int
        n, 2 to 4.

    Members
    -------
    steps : In(stream of `adapter_step`)
        Weights that sum to 32768; others give a sum that may differ, but never a hang.
    results : Out(stream of `adapted`)

    Raises
    ------
    ValueError
        ``parts`` is not 2 to 4.
    """

    def __init__(self, parts: int = MAX_PARTS) -> None:
        if not 2 <= parts <= MAX_PARTS:
            raise ValueError(f"weight adapter: parts must be 2 to {MAX_PARTS}, got {parts}")
        self._parts = parts
        super().__init__(
            {
                "steps": In(stream.Signature(adapter_step(parts))),
                "results": Out(stream.Signature(adapted(parts))),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """Accept, n sums, n moves, n corrections."""
        return 1 + 3 * self._parts

    def elaborate(self, platform):
        parts = self._parts
        m = Module()
        source = self.steps.payload
        slopes = [Signal(signed(GRADIENT_BITS), name=f"slope{i}") for i in range(parts)]
        shift = Signal(range(MAX_STEP_SHIFT + 1))
        weights = [Signal(_WEIGHT_BITS, name=f"weight{i}") for i in range(parts)]
        total = Signal(signed(GRADIENT_BITS + 2))
        part = Signal(range(parts))
        behind = Signal(range(parts))
        largest = Signal(range(parts))
        greatest = Signal(_WEIGHT_BITS)
        # Between UNIT and -(n - 1) * UNIT.
        rest = Signal(signed(_WEIGHT_BITS + 3))

        # A part number that does not exist must have a value too: linters of the emitted Verilog
        # refuse an incomplete case.
        everyone = Array(weights + weights[-1:] * ((1 << len(part)) - parts))
        slope = Array(slopes + slopes[-1:] * ((1 << len(part)) - parts))[part]

        delta = Signal(signed(GRADIENT_BITS + 4))
        moved = Signal(signed(GRADIENT_BITS + 5))
        clamped = Signal(_WEIGHT_BITS)
        after = Signal(_WEIGHT_BITS)
        m.d.comb += [
            delta.eq((parts * slope - total) >> shift),
            moved.eq(everyone[part] - delta),
            clamped.eq(_clamp(moved)),
            after.eq(_clamp(everyone[part] + rest)),
            behind.eq(Mux(part == parts - 1, 0, part + 1)),
        ]
        for number, weight in enumerate(weights):
            m.d.comb += self.results.payload.weights[number].eq(weight)

        def store(value):
            with m.Switch(part):
                for number, weight in enumerate(weights):
                    with m.Case(number):
                        m.d.sync += weight.eq(value)

        with m.FSM():
            with m.State("idle"):
                m.d.comb += self.steps.ready.eq(1)
                with m.If(self.steps.valid):
                    m.d.sync += [g.eq(source.gradients[i]) for i, g in enumerate(slopes)]
                    m.d.sync += [w.eq(source.weights[i]) for i, w in enumerate(weights)]
                    m.d.sync += [shift.eq(source.shift), total.eq(0)]
                    m.d.sync += [rest.eq(UNIT), greatest.eq(0)]
                    m.d.sync += [part.eq(0), largest.eq(0)]
                    m.next = "sum"
            with m.State("sum"):
                m.d.sync += [total.eq(total + slope), part.eq(behind)]
                with m.If(behind == 0):
                    m.next = "move"
            with m.State("move"):
                store(clamped)
                above = clamped > greatest
                m.d.sync += [rest.eq(rest - clamped), part.eq(behind)]
                with m.If(above):
                    m.d.sync += [greatest.eq(clamped), largest.eq(part)]
                with m.If(part == parts - 1):
                    m.d.sync += part.eq(Mux(above, part, largest))
                    m.next = "correct"
            with m.State("correct"):
                store(after)
                m.d.sync += [rest.eq(rest - (after - everyone[part])), part.eq(behind)]
                # The round ends where it began: at the largest part.
                with m.If(behind == largest):
                    m.next = "done"
            with m.State("done"):
                m.d.comb += self.results.valid.eq(1)
                with m.If(self.results.ready):
                    m.next = "idle"
        return m


def _clamp(value):
    """``value`` limited to 0..UNIT."""
    return Mux(value < 0, 0, Mux(value > UNIT, UNIT, value))
