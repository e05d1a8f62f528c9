"""One plan of one product: kernels chosen, columns dealt out, streams encoded once.

`plan_matmul` is the way of one set of weights to the words that an array is sent.  Where several
ways to choose kernels compete, `golden.planner.compete` calls it for each with the same `Operand`.
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
from .layout import Layout, arrange, parts_to_try, tilings
from .operand import Items, Operand, SentRows

__all__ = ["BALANCES", "operand_of", "plan_matmul", "plan_of", "plan_without_search"]

BALANCES = ("lpt", "anneal")
"""Ways to distribute columns over engines."""

_WORTH = 0.99  # of the predicted cycles, to be worth more parts or tiles
_CUTS = ("rank", "range")  # ways to cut a column into k parts


def operand_of(
    shape: ArrayShape,
    activations: np.ndarray,
    weights: np.ndarray,
    *,
    drop_weight_rows: bool = True,
    drop_activation_rows: bool = False,
) -> Operand:
    """The weights of a product, for `plan_matmul`; the arguments are explained there."""
    check_operands(activations, weights)
    needed = np.ones(len(weights), bool)
    if drop_weight_rows:
        needed &= weights.any(axis=1)
    if drop_activation_rows:
        needed &= activations.any(axis=0)
    return Operand(shape, weights, needed)


def plan_of(layout: Layout, shape: ArrayShape, rows: int, sent: SentRows) -> Plan:
    """Encode a layout, for ``rows`` tokens."""
    items = layout.items
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
    """A plan by longest processing time alone, all rows sent, on given k tiles.

    Args:
        shape: the array.
        kernels: candidates for each block.
        weights: int8 (K, N).
        bounds: int64 (k tiles + 1,), first row of each k tile, then K.
        tokens: M.
        parts: k parts of each column.
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
        kernel: name of a kernel of the array for all blocks, or ``auto``: for each block the one
            with the fewest decoder cycles, then the fewest bytes, then the first by preference.
        k_split: parts, held by different engines, that each column's rows are cut into; or
            ``auto``: the number with the least predicted cycles.
        balance: ``lpt``, or ``anneal`` to improve on it; never worse in predicted cycles.
        seed: of the annealing.
        chooser: decides which kernels hold each block, instead of ``kernel``.
            For parts with scales of their own see `golden.planner.fused.plan_fused`.
        grouping: brings like columns together and ends k tiles where the structure does, for
            fewer stored bytes, instead of ``balance``; one k part only.
        drop_weight_rows: leave out each k whose weights are zero in all columns.
        drop_activation_rows: leave out each k whose activations are zero for all tokens; such a
            plan is good for these activations alone.
        operand: the weights as `operand_of` made them, where several plans share them.

    Raises:
        BadInput: operands of wrong type or shape, a kernel the array does not have or that
            cannot hold the weights, ``k_split`` or ``balance`` out of range.
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
    for bounds in tilings(shape, depth) if grouping is None else [grouping.bounds(sent)]:
        # What the first tile's load is to a long product is not worth trying.
        load = min(shape.k_tile, depth) * shape.row_bits / shape.data_bits
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
    """Columns, or k parts of them, cut in the way that costs fewer cycles."""
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
    """How the items are dealt to engines; see `golden.planner.layout.arrange`."""

    def deal(segments: int) -> Iterator[list[list[np.ndarray]]]:
        if grouping is not None:
            yield grouping.assign(items, segments, seed)
            return
        yield items.assigned(kernels, engines, segments, None)
        if balance == "anneal":
            yield items.assigned(kernels, engines, segments, seed)

    return deal
