"""Gap counter: pads of the ``runlength`` kernel and the envelope, from occupancy words."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.selector.pattern import PatternParameters
from golden.selector.signature import WORD_ROWS

from .count import count_ones, lowest

__all__ = ["GapCounter"]

_INDEX = range(WORD_ROWS)


class GapCounter(wiring.Component):
    """What each word of 64 rows adds to a block's pads, long gaps and envelope.

    Operation: the first stage counts gaps inside the word, as if a non-zero stood in front of
    it, and finds the outermost non-zeros; the second corrects the first gap by the zeros that
    reach into the word.  A gap of g zeros takes ``g // pad`` pads: the gaps of at least ``pad``,
    plus those of at least ``2 pad`` and so on, so no divider is needed.

    Latency: 1 cycle to ``has``, ``lead`` and ``tail``, 2 to the sums, in cycles of ``advance``.

    Parameters
    ----------
    parameters : PatternParameters
        Rows of a block and bits of a gap.

    Members
    -------
    advance : In(1)
        The pipeline moves.
    occupied : In(64)
        Bit i: row i of the word is non-zero.
    valid, column_end : In(1)
        Of the word whose ``has`` is visible.
    has : Out(1)
        The word holds a non-zero.
    lead, tail : Out(6)
        Zeros in front of its first and behind its last non-zero, undefined without one.
    pads, long_gaps, envelope : Out
        See `golden.selector.pattern.Pattern`.
    """

    def __init__(self, parameters: PatternParameters) -> None:
        self._pad = pad = parameters.pad
        self._reach = reach = parameters.k_tile + WORD_ROWS
        super().__init__(
            {
                "advance": In(1),
                "occupied": In(WORD_ROWS),
                "valid": In(1),
                "column_end": In(1),
                "has": Out(1),
                "lead": Out(_INDEX),
                "tail": Out(_INDEX),
                "pads": Out(range(reach // pad + 1)),
                "long_gaps": Out(range(WORD_ROWS // pad + 2)),
                "envelope": Out(range(reach + 1)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        rows = list(self.occupied)
        has, lead = lowest(rows)
        _, tail = lowest(rows[::-1])
        inner_pads, inner_long = self._inside(m)
        pads, long_gaps = Signal.like(self.pads), Signal.like(self.long_gaps)
        with m.If(self.advance):
            m.d.sync += [
                self.has.eq(has),
                self.lead.eq(lead),
                self.tail.eq(tail),
                pads.eq(inner_pads),
                long_gaps.eq(inner_long),
            ]
        self._across(m, pads, long_gaps)
        return m

    def _inside(self, m: Module) -> tuple[Value, Value]:
        """Pads and long gaps of the word as if a non-zero stood in front of it."""
        pad = self._pad
        if pad >= WORD_ROWS:
            return Value.cast(0), Value.cast(0)
        # Bit j: any of the `reach` rows before j is occupied, by doubling and then overlapping.
        reach, window = 1, Signal(WORD_ROWS, name="window_1")
        m.d.comb += window.eq(self.occupied << 1)
        while reach < pad:
            more = min(reach, pad - reach)
            wider = Signal(WORD_ROWS, name=f"window_{reach + more}")
            m.d.comb += wider.eq(window | (window << more))
            reach, window = reach + more, wider
        # Two ends of gaps of at least `pad` rows never fall into one group.
        group = 1 << ((pad + 1).bit_length() - 1)
        levels = []
        clear = Const(-1, WORD_ROWS)
        for level in range(1, (WORD_ROWS - 1) // pad + 1):
            # Bit j: the `level * pad` rows before j are empty.
            longer = Signal(WORD_ROWS, name=f"clear_{level}")
            m.d.comb += longer.eq(~window & (clear << pad))
            clear = longer
            ends = Signal(WORD_ROWS, name=f"ends_{level}")
            m.d.comb += ends.eq(self.occupied & clear)
            starts = range(level * pad, WORD_ROWS, group)
            levels.append([ends[i : min(i + group, WORD_ROWS)].any() for i in starts])
        return count_ones(end for level in levels for end in level), count_ones(levels[0])

    def _across(self, m: Module, inner_pads: Signal, inner_long: Signal) -> None:
        """Add what reaches into the word; keep what reaches out of it."""
        pad = self._pad
        # Zeros since the last non-zero or the column's start: all, and by whole pads and a rest.
        zeros = Signal(range(self._reach))
        whole = Signal(range(self._reach // pad + 1))
        rest = Signal(range(pad))
        started = Signal()
        reached = Signal(range(2 * pad))
        full = Signal()
        lead_rest = Array(i % pad for i in _INDEX)[self.lead]
        m.d.comb += [
            reached.eq(rest + Mux(self.has, lead_rest, WORD_ROWS % pad)),
            full.eq(reached >= pad),
        ]
        with m.If(self.advance & self.valid):
            with m.If(self.column_end):
                m.d.sync += [zeros.eq(0), whole.eq(0), rest.eq(0), started.eq(0)]
            with m.Elif(self.has):
                m.d.sync += [
                    zeros.eq(self.tail),
                    whole.eq(Array(i // pad for i in _INDEX)[self.tail]),
                    rest.eq(Array(i % pad for i in _INDEX)[self.tail]),
                    started.eq(1),
                ]
            with m.Else():
                m.d.sync += [
                    zeros.eq(zeros + WORD_ROWS),
                    whole.eq(whole + WORD_ROWS // pad + full),
                    rest.eq(Mux(full, reached - pad, reached)),
                ]
        # A first gap that is long within the word was counted there.
        first_long = self.has & (self.lead < pad) & (whole.any() | full)
        # Zeros before a column's first non-zero are outside its envelope.
        span = Mux(started, WORD_ROWS + zeros, WORD_ROWS - self.lead) - self.tail
        with m.If(self.advance):
            m.d.sync += [
                self.pads.eq(inner_pads + Mux(self.has, whole + full, 0)),
                self.long_gaps.eq(inner_long + first_long),
                self.envelope.eq(Mux(self.has, span, 0)),
            ]
