"""Which rows of an activation tile hold anything: one bit per row, beside the loader."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from golden.operators.detection import check_word_rows
from golden.shape import ArrayShape

from ..array.array import activation_beat

__all__ = ["RowOccupancy", "occupancy_word"]


def occupancy_word(shape: ArrayShape, word_rows: int) -> data.StructLayout:
    """``rows`` bit i: row ``word_rows * word + i`` is not all zero; ``last`` ends the tile.

    Rows past the end of the tile read 0.
    """
    words = shape.k_tile // word_rows
    return data.StructLayout({"rows": word_rows, "word": (words - 1).bit_length(), "last": 1})


class RowOccupancy(wiring.Component):
    """OR over the lanes of each row of an activation tile, packed ``word_rows`` to a word.

    Operation: watches the beats that the array's loader accepts, without a say in their pace. A
    beat holds ``rows_per_beat`` rows of V bytes, or one of ``beats_per_row`` parts of a row. A
    word leaves when its last row is complete or the tile ends. Beats beyond ``k_tile`` rows, for
    which the array raises its fault, are ignored up to the end of their tile.

    Latency: ``latency_cycles`` from the beat that completes a word to the word.

    Throughput: one beat per cycle. Back-pressure: none; a word is there for one cycle.

    Parameters
    ----------
    shape : ArrayShape
        Lanes, width of a beat and rows of a tile.
    word_rows : int
        Rows per word; a power of two from ``rows_per_beat`` to ``k_tile``.

    Members
    -------
    accept : In(1)
        The loader accepts ``beat`` in this cycle.
    beat : In(`rtl_gen.array.array.activation_beat`)
    valid : Out(1)
    occupied : Out(`occupancy_word`)
    """

    def __init__(self, shape: ArrayShape, *, word_rows: int = 16) -> None:
        check_word_rows(shape, word_rows)
        self._shape = shape
        self._word_rows = word_rows
        super().__init__(
            {
                "accept": In(1),
                "beat": In(activation_beat(shape)),
                "valid": Out(1),
                "occupied": Out(occupancy_word(shape, word_rows)),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """Cycles from a word's last beat to the word."""
        return 1

    @property
    def module_name(self) -> str:
        """Name of the emitted module."""
        shape = self._shape
        return f"sf_occupancy_v{shape.lanes}_d{shape.data_bits}_k{shape.k_tile}_r{self._word_rows}"

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        beats = shape.k_tile * shape.beats_per_row // shape.rows_per_beat
        part_bits = (shape.beats_per_row - 1).bit_length()
        slot_bits = (self._word_rows // shape.rows_per_beat - 1).bit_length()
        last_beat = part_bits + slot_bits
        count = Signal(range(beats + 1))
        slot = Signal(slot_bits)
        word = Signal(len(self.occupied.word))
        row_bits = min(shape.row_bits, shape.data_bits)
        # Bits of this beat, at their place in the word, joined with what earlier beats found.
        found = Cat(
            self.beat.data.word_select(i, row_bits).any() for i in range(shape.rows_per_beat)
        )
        begun = Signal(self._word_rows)
        rows = Signal(self._word_rows)
        full = Signal()
        take = Signal()
        m.d.comb += [
            Cat(slot, word).eq(count[part_bits:]),
            rows.eq(begun | (found << (slot * shape.rows_per_beat))),
            full.eq(count[:last_beat].all() if last_beat else 1),
            take.eq(self.accept & (count != beats)),
        ]
        m.d.sync += self.valid.eq(take & (full | self.beat.last))
        with m.If(take):
            m.d.sync += [
                self.occupied.rows.eq(rows),
                self.occupied.word.eq(word),
                self.occupied.last.eq(self.beat.last),
                begun.eq(Mux(full | self.beat.last, 0, rows)),
                count.eq(count + 1),
            ]
        with m.If(self.accept & self.beat.last):
            m.d.sync += count.eq(0)
        return m
