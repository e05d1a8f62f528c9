"""Projection: the SimHash of a block from the counts of its chunks."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.selector.pattern import PatternParameters
from golden.selector.signature import (
    CELL_ROWS,
    COLUMN_SHIFTS,
    PLANES_PER_GENERATOR,
    WORD_ROWS,
    WORD_SHIFTS,
    generator_seeds,
)

from .count import add_all

__all__ = ["Projection"]

_CHUNKS = WORD_ROWS // CELL_ROWS


class Projection(wiring.Component):
    """What each word of 64 rows adds to the projections on the planes.

    Operation: `golden.selector.signature`.  The generators of the planes step with every valid word
    and start again behind a block.

    Latency: 1 cycle of ``advance`` from a word's counts to its parts.

    Parameters
    ----------
    parameters : PatternParameters
        Width, cells and seed of the signature.

    Members
    -------
    advance : In(1)
        The pipeline moves.
    valid, column_end, block_end : In(1)
        Of the word; ``block_end`` only with ``column_end``.
    counts : In(four numbers of 5 bits)
        Non-zeros of the word's chunks.
    parts : Out(one signed(8) per plane)
    """

    def __init__(self, parameters: PatternParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "advance": In(1),
                "valid": In(1),
                "column_end": In(1),
                "block_end": In(1),
                "counts": In(data.ArrayLayout(5, _CHUNKS)),
                "parts": Out(data.ArrayLayout(signed(8), parameters.signature_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        p = self._parameters
        total = Signal(range(WORD_ROWS + 1))
        step = Signal()
        in_cell = Signal(range(max(2, p.cell_columns)))
        next_cell = Signal()
        m.d.comb += [
            total.eq(add_all(list(self.counts))),
            step.eq(self.advance & self.valid),
            next_cell.eq(in_cell == p.cell_columns - 1),
        ]
        with m.If(step & self.column_end):
            m.d.sync += in_cell.eq(Mux(self.block_end | next_cell, 0, in_cell + 1))
        planes = iter(range(p.signature_bits))
        for number, seed in enumerate(generator_seeds(p.signature_bits, p.seed)):
            word, column = (
                Signal(64, name=f"{name}_state_{number}", init=seed) for name in ("word", "column")
            )
            column_next = Signal(64, name=f"column_next_{number}")
            m.d.comb += column_next.eq(
                Mux(next_cell, self._xorshift(m, column, COLUMN_SHIFTS), column)
            )
            with m.If(self.block_end):
                m.d.comb += column_next.eq(seed)
            with m.If(step):
                m.d.sync += word.eq(self._xorshift(m, word, WORD_SHIFTS))
                with m.If(self.column_end):
                    m.d.sync += [column.eq(column_next), word.eq(column_next)]
            for place, plane in zip(range(PLANES_PER_GENERATOR), planes, strict=False):
                minus = word.word_select(place, _CHUNKS)
                negative = add_all([Mux(minus[i], n, 0) for i, n in enumerate(self.counts)])
                with m.If(self.advance):
                    m.d.sync += self.parts[plane].eq(total - 2 * negative)
        return m

    @staticmethod
    def _xorshift(m: Module, state: Value, shifts: tuple[int, int, int]) -> Value:
        left, right, again = shifts
        once, twice = Signal(64), Signal(64)
        m.d.comb += [once.eq(state ^ (state << left)), twice.eq(once ^ (once >> right))]
        return Value.cast((twice ^ (twice << again))[:64])
