"""Makes one plan of one product: chooses kernels, deals columns to engines, encodes the streams.

`plan_matmul` turns a weight matrix into the words that an array is sent.  Where several ways to
choose kernels compete, `golden.planner.compete` calls it for each of them with the same `Operand`.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..errors import BadInput
from ..formats import KERNELS, Kernel
from ..operators.matmul import check_operands
from ..program.plan import Plan
from ..program.streams import encode_stream
from ..shape import ArrayShape
from .choose import ByCycles, Chooser, built_kernels
from .grouping import Grouping
from .layout import Layout, arrange, parts_to_try
from .operand import Items, Operand, SentRows
from .tilings import check_sums, tilings

__all__ = ["BALANCES", "operand_of", "plan_matmul", "plan_of", "plan_without_search"]

BALANCES = ("lpt", "anneal")
"""Ways to distribute columns over engines."""

_WORTH = 0.99  # more parts or tiles are taken if they need less than this share of the cycles
_CUTS = ("rank", "range")  # ways to cut a column into k parts, see `cut_rows`


def operand_of(
    shape: ArrayShape,
    activations: np.ndarray,
    weights: np.ndarray,
    *,
    drop_weight_rows: bool = True,
    drop_activation_rows: bool = False,
) -> Operand:
    """Return the weights of a product for `plan_matmul`, which explains the arguments."""
    check_operands(activations, weights)
    needed = np.ones(len(weights), bool)
    if drop_weight_rows:
        needed &= weights.any(axis=1)
    if drop_activation_rows:
        needed &= activations.any(axis=0)
    return Operand(shape, weights, needed)


def plan_of(layout: Layout, shape: ArrayShape, rows: int, sent: SentRows) -> Plan:
    """Encode a layout into the plan of a product of ``rows`` tokens.

    Raises:
        BadInput: the accumulators might not hold the sums of a tile.
    """
    items = layout.items
    for tile in items.tiles:
        check_sums(shape, tile.block)
    formats = {name: KERNELS[name].configured(shape) for name in shape.kernels}
    streams = [
        encode_stream(
            formats,
            [[[part.part() for part in block] for block in segment] for segment in parts],
            [items.column[columns] for columns in engine],
        )
        for engine, parts in zip(layout.columns, layout.parts, strict=True)
    ]
    return Plan(
        shape=shape,
        rows=rows,
        depth=len(sent.kept),
        outputs=sent.weights.shape[1],
        kept=sent.kept,
        bounds=items.bounds,
        streams=streams,
        segments=layout.segments,
        replay=layout.replay,
        k_split=items.parts,
        predicted=layout.predicted,
        predicted_start=layout.predicted_start,
    )


def plan_without_search(
    shape: ArrayShape,
    kernels: Sequence[Kernel],
    weights: np.ndarray,
    bounds: np.ndarray,
    tokens: int,
    parts: int = 1,
) -> Plan:
    """Plan a product by longest processing time alone, with given k tiles and all rows sent.

    Args:
        shape: the array.
        kernels: candidates for each block.
        weights: int8 (K, N).
        bounds: int64 (k tiles + 1,), first row of each k tile, then K.
        tokens: number of tokens, M.
        parts: number of k parts of each column.
    """
    sent = SentRows(np.arange(len(weights)), weights)
    items = _items(sent, bounds, parts, kernels)
    deal = _dealer(items, kernels, shape.engines, "lpt", 0, None)
    layout = arrange(shape, ByCycles(kernels), items, -(-tokens // shape.lanes), deal)
    return plan_of(layout, shape, tokens, sent)


def plan_matmul(
    shape: ArrayShape,
    activations: np.ndarray,
    weights: np.ndarray,
    kernel: str = "auto",
    *,
    k_split: int | str = 1,
    balance: str = "anneal",
    seed: int = 0,
    chooser: Chooser | None = None,
    grouping: Grouping | None = None,
    drop_weight_rows: bool = True,
    drop_activation_rows: bool = False,
    operand: Operand | None = None,
) -> Plan:
    """Plan O = A @ W on an array.

    Args:
        shape: the array.
        activations: int8 (M, K).
        weights: int8 (K, N).
        kernel: name of a kernel of the array for all blocks, or ``auto``, which takes for each
            block the one with the fewest decoder cycles, then the fewest bytes, then the first by
            preference.
        k_split: number of parts, on different engines, that each column's rows are cut into, or
            ``auto`` for the number with the fewest predicted cycles.
        balance: ``lpt`` for longest processing time first, or ``anneal`` to improve on it; the
            predicted cycles never get worse.
        seed: seed of the annealing.
        chooser: chooses the kernels of each block, instead of ``kernel``.  For parts with scales of
            their own see `golden.planner.fused.plan_fused`.
        grouping: chooses k tiles and columns of each engine for fewer stored bytes, instead of
            ``balance``; needs one k part.
        drop_weight_rows: leave out each k whose weights are zero in all columns.
        drop_activation_rows: leave out each k whose activations are zero for all tokens; such a
            plan is right for these activations alone.
        operand: what `operand_of` returned for the same weights, where several plans share it.

    Raises:
        BadInput: an operand has the wrong type or shape, the array lacks the kernel, the kernel
            cannot hold the weights, or ``k_split`` or ``balance`` is out of range.
    """
    kernels = built_kernels(shape, kernel)
    tried = parts_to_try(shape, weights.shape[-1], k_split)
    if grouping is not None:
        if 1 not in tried:
            raise BadInput(f"k_split: must be 1 or auto where columns are grouped, got {k_split}")
        tried = [1]
    if balance not in BALANCES:
        raise BadInput(f"balance: must be one of {', '.join(BALANCES)}, got {balance!r}")
    operand = operand or operand_of(
        *(shape, activations, weights),
        drop_weight_rows=drop_weight_rows,
        drop_activation_rows=drop_activation_rows,
    )
    sent = operand.sent(kernels)
    m_tiles = -(-len(activations) // shape.lanes)
    chooser = chooser or ByCycles(kernels)
    found: list[Layout] = []
    depth = len(sent.kept)
    for bounds in tilings(shape, sent.weights) if grouping is None else [grouping.bounds(sent)]:
        # In a long product the load of the first tile is too small a share to be worth a try.
        load = min(shape.k_tile, depth) * shape.row_bits / shape.activation_bits
        if found and load < (1 - _WORTH) * found[-1].predicted:
            break
        for parts in tried:
            items = _items(sent, bounds, parts, kernels)
            deal = _dealer(items, kernels, shape.engines, balance, seed, grouping)
            layout = arrange(shape, chooser, items, m_tiles, deal)
            if not found or layout.predicted < _WORTH * found[-1].predicted:
                found.append(layout)
    return plan_of(found[-1], shape, len(activations), sent)


def _items(sent: SentRows, bounds: np.ndarray, parts: int, kernels: Sequence[Kernel]) -> Items:
    """Return the columns, or k parts of them cut in whichever way costs fewer cycles."""
    if parts == 1:
        return sent.items(bounds)
    cut = [sent.items(bounds, parts, how) for how in _CUTS]
    return min(cut, key=lambda items: int(items.costs(kernels).sum()))


def _dealer(
    items: Items,
    kernels: Sequence[Kernel],
    engines: int,
    balance: str,
    seed: int,
    grouping: Grouping | None,
) -> Callable[[int], Iterator[list[list[np.ndarray]]]]:
    """Return a function that deals the items to engines, for `golden.planner.layout.arrange`."""

    def deal(segments: int) -> Iterator[list[list[np.ndarray]]]:
        if grouping is not None:
            yield grouping.assign(items, segments, seed)
            return
        yield items.assigned(kernels, engines, segments, None)
        if balance == "anneal":
            yield items.assigned(kernels, engines, segments, seed)

    return deal
