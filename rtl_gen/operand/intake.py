"""Operand intake: cuts the words of a run-time operand into the blocks of the engines."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.selector.unit import UnitParameters
from golden.shape import ArrayShape

from ..fuse.counter import value_word

__all__ = ["COLUMN_BITS", "ROW_BITS", "OperandIntake", "operand_block", "operand_word"]

ROW_BITS = 17
"""Of the number of the last row: 131,072 rows are the most whose results are exact."""
COLUMN_BITS = 20
"""Of the number of columns."""

_LOW = 3  # bits of a row within its word


def operand_word() -> data.StructLayout:
    """Eight rows of a column; ``last`` ends the operand."""
    return data.StructLayout({"data": 64, "last": 1})


def operand_block(shape: ArrayShape, parameters: UnitParameters) -> data.StructLayout:
    """A block as the intake saw it; ``columns``, ``depth`` and ``words`` are less one.

    ``first``, ``final`` and ``job_end`` are the header's; ``tile_last`` says that no further
    engine has columns of this activation tile.
    """
    words = parameters.columns * shape.k_tile // 8
    return data.StructLayout(
        {
            "columns": (parameters.columns - 1).bit_length(),
            "depth": shape.k_bits,
            "words": (words - 1).bit_length(),
            "first": 1,
            "final": 1,
            "job_end": 1,
            "tile_last": 1,
        }
    )


class OperandIntake(wiring.Component):
    """Follows the loop nest of an operand while its words pass.

    Operation: for each pass (``share`` columns for each engine), for each k tile, for each
    engine that has columns left, for each column, for each 8 rows of the tile: one word. A
    column's last word of a tile may be partly filled; its other bytes are cleared.

    Latency: none; ``values`` and ``store`` go with the word. Throughput: a word per cycle, blocks
    at least ``spacing`` cycles apart from end to end, for the selector's sake. Back-pressure:
    ``space`` low stops the words, ``open`` low the end of a block.

    Errors: ``fault`` is sticky: ``last`` did not come with the operand's last word, or came
    before it.

    Parameters
    ----------
    shape : ArrayShape
    parameters : UnitParameters
        Of the selector.
    spacing : int
        Cycles.

    Members
    -------
    start : In(1)
        Begin an operand (one cycle); the dimensions stand from there on.
    last_row, columns, share, pass_columns : In
        Rows less one; columns; columns per engine and pass; ``share`` times the engines.
    words : In(stream of `operand_word`)
    space, open : In(1)
    values : Out(`value_word`), valid : Out(1)
        For the selector, which must take them.
    store : Out(64)
        For the buffer, with ``valid``.
    block : Out(`operand_block`), block_end : Out(1)
        ``block_end`` marks a block's last word.
    fault : Out(1)
    """

    def __init__(self, shape: ArrayShape, parameters: UnitParameters, spacing: int) -> None:
        self._shape, self._parameters, self._spacing = shape, parameters, spacing
        super().__init__(
            {
                "start": In(1),
                "last_row": In(ROW_BITS),
                "columns": In(COLUMN_BITS),
                "share": In(range(parameters.columns + 1)),
                "pass_columns": In(range(parameters.columns * shape.engines + 1)),
                "words": In(stream.Signature(operand_word())),
                "space": In(1),
                "open": In(1),
                "values": Out(value_word(parameters)),
                "valid": Out(1),
                "store": Out(64),
                "block": Out(operand_block(shape, parameters)),
                "block_end": Out(1),
                "fault": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape, k_bits = self._shape, self._shape.k_bits
        running = Signal()
        word = Signal(k_bits - _LOW)
        column = Signal((self._parameters.columns - 1).bit_length())
        engine = Signal((shape.engines - 1).bit_length())
        tile = Signal(ROW_BITS - k_bits)
        # Columns from here on: of the tile, and of its pass and those behind it.
        left, remaining = Signal(COLUMN_BITS), Signal(COLUMN_BITS)
        count = Signal.like(self.block.words)
        rest = Signal(range(max(2, self._spacing)))

        last_tile, last_row = Signal(), Signal(k_bits)
        column_end, block_end, tile_end, pass_end = Signal(), Signal(), Signal(), Signal()
        last_column, last_pass, accept = Signal(), Signal(), Signal()
        m.d.comb += [
            last_tile.eq(tile == self.last_row[k_bits:]),
            last_row.eq(Mux(last_tile, self.last_row[:k_bits], (1 << k_bits) - 1)),
            column_end.eq(word == last_row[_LOW:]),
            last_column.eq(left == 1),
            block_end.eq(column_end & (last_column | (column + 1 == self.share))),
            tile_end.eq(block_end & (last_column | (engine == shape.engines - 1))),
            pass_end.eq(tile_end & last_tile),
            last_pass.eq(remaining <= self.pass_columns),
            self.words.ready.eq(running & self.space & (~block_end | (self.open & (rest == 0)))),
            accept.eq(self.words.valid & self.words.ready),
        ]
        with m.If(rest != 0):
            m.d.sync += rest.eq(rest - 1)
        with m.If(self.start):
            m.d.sync += [running.eq(1), left.eq(self.columns), remaining.eq(self.columns)]
        with m.If(accept):
            m.d.sync += [word.eq(word + 1), count.eq(count + 1)]
            with m.If(column_end):
                m.d.sync += [word.eq(0), column.eq(column + 1), left.eq(left - 1)]
            with m.If(block_end):
                m.d.sync += [
                    column.eq(0),
                    count.eq(0),
                    engine.eq(engine + 1),
                    rest.eq(self._spacing - 1),
                ]
            with m.If(tile_end):
                m.d.sync += [engine.eq(0), tile.eq(tile + 1)]
                with m.If(~last_tile):
                    m.d.sync += left.eq(remaining)
            with m.If(pass_end):
                m.d.sync += [tile.eq(0), remaining.eq(left - 1), running.eq(~last_pass)]
            with m.If(self.words.payload.last != (pass_end & last_pass)):
                m.d.sync += self.fault.eq(1)

        inside = Mux(column_end, (2 << last_row[:_LOW]) - 1, 0xFF)
        rows = [
            self.words.payload.data.word_select(row, 8) & inside[row].replicate(8)
            for row in range(1 << _LOW)
        ]
        values, block = self.values, self.block
        m.d.comb += [
            self.valid.eq(accept),
            self.store.eq(Cat(rows)),
            *(values.values[row].eq(byte) for row, byte in enumerate(rows)),
            values.block_end.eq(block_end),
            self.block_end.eq(accept & block_end),
            block.columns.eq(column),
            block.depth.eq(last_row),
            block.words.eq(count),
            block.first.eq(tile == 0),
            block.final.eq(last_tile),
            block.job_end.eq(last_tile & last_pass),
            block.tile_last.eq(tile_end),
        ]
        if self._parameters.ragged_matters:
            low = (self._parameters.dense_rows - 1).bit_length()
            m.d.comb += values.ragged.eq(~last_row[:low].all())
        return m
