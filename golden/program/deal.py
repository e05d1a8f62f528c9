"""How the columns of a run-time operand are dealt to the engines.

The K x N operand is cut by this loop nest, which is also the order of its words on the operand
stream, eight rows of a column to a word, each column of a tile from a new word on::

    for pass:                    # `share` columns for each engine, in turn
      for k_tile:                # one activation tile
        for engine:              # while columns are left
          one block: its columns, the rows of the tile

If the rings hold a pass, they replay it for all tiles of tokens of a job. Otherwise the operand
comes again for each tile of tokens.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import BadInput
from ..formats import KERNELS
from ..selector.unit import UnitParameters
from ..shape import ArrayShape

__all__ = ["COLUMNS_MOST", "ROWS_MOST", "Deal", "OperandBlock", "deal_operand"]

ROWS_MOST = 1 << 17
"""Most rows of an operand: up to there results are exact."""
COLUMNS_MOST = (1 << 20) - 1
"""Most columns of an operand."""

_WORD_ROWS = 8


@dataclass(frozen=True, kw_only=True)
class OperandBlock:
    """One engine's part of one k tile in one pass.

    Attributes:
        number: of the pass.
        tile, engine: of the array.
        row, depth: its first row and its rows.
        column, columns: its first column and its columns.
    """

    number: int
    tile: int
    engine: int
    row: int
    depth: int
    column: int
    columns: int

    @property
    def words(self) -> int:
        """Words on the operand stream."""
        return -(-self.depth // _WORD_ROWS) * self.columns

    def of(self, operand: np.ndarray) -> np.ndarray:
        """Its values, int8 (depth, columns)."""
        rows = slice(self.row, self.row + self.depth)
        return operand[rows, self.column : self.column + self.columns]


@dataclass(frozen=True, kw_only=True)
class Deal:
    """How the columns of an operand are dealt.

    Attributes:
        shape: the array.
        depth, outputs: K and N.
        share: columns of an engine in one pass.
        replay: the rings keep a pass for all tiles of tokens of a job.
    """

    shape: ArrayShape
    depth: int
    outputs: int
    share: int
    replay: bool

    @property
    def passes(self) -> int:
        """Turns in which the columns are in the rings."""
        return -(-self.outputs // (self.share * self.shape.engines))

    @cached_property
    def bounds(self) -> np.ndarray:
        """First row of each k tile, then K."""
        return np.append(np.arange(0, self.depth, self.shape.k_tile), self.depth)

    @cached_property
    def blocks(self) -> list[OperandBlock]:
        """All blocks in the order of the stream."""
        found = []
        for number in range(self.passes):
            start = number * self.share * self.shape.engines
            for tile, (low, high) in enumerate(zip(self.bounds, self.bounds[1:], strict=False)):
                for engine in range(self.shape.engines):
                    column = start + engine * self.share
                    columns = min(self.share, self.outputs - column)
                    if columns > 0:
                        found.append(
                            OperandBlock(
                                number=number,
                                tile=tile,
                                engine=engine,
                                row=int(low),
                                depth=int(high - low),
                                column=column,
                                columns=columns,
                            )
                        )
        return found

    def words(self, operand: np.ndarray) -> np.ndarray:
        """The operand's words in the order of the stream, uint64."""
        raw = KERNELS["raw"]()
        return np.concatenate([raw.encode(block.of(operand))[0] for block in self.blocks])


def _beats(deal: Deal, dense: bool) -> tuple[int, int]:
    """Most beats that a pass takes of an index ring, and of a value ring."""
    beat = deal.shape.words_per_beat
    words = -(-np.diff(deal.bounds) // _WORD_ROWS) * deal.share
    return int((-(-(words + 1) // beat)).sum()), int((-(-words // beat)).sum()) if dense else 0


def deal_operand(
    shape: ArrayShape, parameters: UnitParameters, depth: int, outputs: int, m_tiles: int
) -> Deal:
    """Deal an operand so that the rings replay it if they can, in few and even passes.

    Args:
        shape: the array.
        parameters: of its selector.
        depth, outputs: K and N.
        m_tiles: tiles of tokens of the product.

    Raises:
        BadInput: the array has no feeder, or the operand is empty or too large.
    """
    if not shape.operand:
        raise BadInput("array shape: operand: must be true for run-time operands, got false")
    for name, value, most in (("K", depth, ROWS_MOST), ("N", outputs, COLUMNS_MOST)):
        if not 1 <= value <= most:
            raise BadInput(f"operand: {name}: must be 1 to {most}, got {value}")
    dense = any(candidate.kernel == "dense" for candidate in parameters.candidates)
    # One beat stays free for what is under way, one holds the end of the pass before.
    room = [words // shape.words_per_beat - 2 for words in (shape.index_words, shape.value_words)]
    per_engine = -(-outputs // shape.engines)

    def even(most: int, replay: bool) -> Deal:
        share = -(-per_engine // -(-per_engine // most))
        return Deal(shape=shape, depth=depth, outputs=outputs, share=share, replay=replay)

    most = min(parameters.columns, per_engine)
    for share in range(most, 0, -1) if m_tiles > 1 else ():
        found = even(share, replay=True)
        # With several passes the rings hold two, so that one loads while one plays.
        copies = 2 if found.passes > 1 and found.share > 1 else 1
        needs = _beats(found, dense)
        if all(copies * need <= free for need, free in zip(needs, room, strict=True)):
            return found
    return even(most, replay=False)
