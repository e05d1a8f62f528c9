"""One engine's weight stream: blocks with their headers, kernel by kernel.

A *block* is what an engine takes against one activation tile.  It consists of one *part* or of
several with disjoint support, each with its own header and kernel; the parts run one after
another and the drain adds their column sums, weighted where the parts have scales of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..formats import Kernel
from ..formats.block_header import BlockHeader
from ..numerics.combine import UNIT, weights_valid
from ..planner.choose import Split, checked_parts, choose_kernel
from .parts import Part

__all__ = ["EngineStream", "encode_parts", "encode_stream"]


@dataclass(frozen=True)
class EngineStream:
    """One engine's words for a whole job.

    Attributes:
        index: uint64 words, headers included.
        values: uint64 words, eight value bytes each.
        index_cuts, values_cuts: words up to the end of each part.
        columns: per segment, the output columns (``-1``: a dummy that keeps an idle engine in
            step with the activation tiles).  With k parts several engines hold the same column.
        blocks: the int8 parts themselves, in stream order: by segment, k tile and part.
        kernels: the kernel's name of each part.
        headers: the header of each part, its weight in it.
        tiles: ``segment * k_tiles + k_tile`` of each part.
        cycles: decoder cycles of each part, headers not counted.
    """

    index: np.ndarray
    values: np.ndarray
    index_cuts: np.ndarray
    values_cuts: np.ndarray
    columns: list[np.ndarray]
    blocks: list[np.ndarray]
    kernels: list[str]
    headers: list[BlockHeader]
    tiles: np.ndarray
    cycles: np.ndarray

    @property
    def mixed(self) -> bool:
        """Whether any part has a weight other than 1.0."""
        return not all(header.exact for header in self.headers)

    @property
    def largest(self) -> tuple[int, int, int]:
        """The most index words of a segment, of a part, and the most value words of a segment."""
        ends = np.flatnonzero([header.segment_end for header in self.headers])
        return (
            int(np.diff(self.index_cuts[ends], prepend=0).max()),
            int(np.diff(self.index_cuts, prepend=0).max()),
            int(np.diff(self.values_cuts[ends], prepend=0).max()),
        )


def encode_stream(
    kernels: Sequence[Kernel],
    shares: Sequence[np.ndarray],
    columns: Sequence[np.ndarray],
    bounds: np.ndarray,
    *,
    split: Split | None = None,
    room: int | None = None,
) -> EngineStream:
    """Encode one engine's share, segment by segment, k tile by k tile.

    Args:
        kernels: candidates for each block.
        shares: per segment, int8 (K, columns of the segment, at least one).
        columns: per segment, the output column of each.
        bounds: int64 (k tiles + 1,), first row of each k tile, then K.
        split: divides each block into parts; one part by default.
        room: index words of a block beyond which other kernels are preferred.
    """
    segments = []
    for share in shares:
        tiles: list[Sequence[Part]] = []
        for low, high in pairwise(bounds):
            block = share[low:high]
            parts = [Part(None, block)] if split is None else split(block)
            if split is not None:
                checked_parts(kernels, block, parts)
            tiles.append(parts)
        segments.append(tiles)
    return encode_parts(kernels, segments, columns, room=room)


def encode_parts(
    kernels: Sequence[Kernel],
    segments: Sequence[Sequence[Sequence[Part]]],
    columns: Sequence[np.ndarray],
    *,
    room: int | None = None,
) -> EngineStream:
    """Encode the parts of one engine, in their order.

    Args:
        kernels: candidates for parts that name none.
        segments: per segment and k tile, the parts of the block, at least one.
        columns: per segment, the output column of each column of its blocks.
        room: index words of a block beyond which other kernels are preferred.

    Raises:
        BadInput: a kernel cannot hold its part.
        ValueError: the weights of a segment's parts are neither all 1.0 nor sum to one.
    """
    by_name = {kernel.name: kernel for kernel in kernels}
    index: list[np.ndarray] = []
    values: list[np.ndarray] = []
    index_cuts, values_cuts, blocks, names, headers, tiles, cycles = [], [], [], [], [], [], []
    index_size = values_size = 0
    for segment, held in enumerate(segments):
        weights = [part.weight for parts in held for part in parts]
        exact = all(weight == UNIT for weight in weights)
        if not weights_valid(weights, exact=exact):
            raise ValueError(f"parts: weights: must sum to {UNIT} or all be {UNIT}, got {weights}")
        pending = np.empty(0, np.int8)
        for k_tile, parts in enumerate(held):
            for number, part in enumerate(parts):
                able = kernels if part.kernel is None else [by_name[part.kernel]]
                kernel, spent = choose_kernel(able, part.block, room)
                words, bytes_ = kernel.encode(part.block)
                tile_end = number == len(parts) - 1
                end = tile_end and k_tile == len(held) - 1
                header = BlockHeader(
                    kernel=kernel.code,
                    columns=part.block.shape[1],
                    depth=part.block.shape[0],
                    first=k_tile == 0 and number == 0,
                    final=end,
                    tile_end=tile_end,
                    segment_end=end,
                    job_end=end and segment == len(segments) - 1,
                    exact=exact,
                    weight=part.weight,
                )
                index += [np.array([header.pack()], np.uint64), words]
                index_size += 1 + len(words)
                pending = np.concatenate([pending, bytes_])
                whole = len(pending) if end else len(pending) // 8 * 8
                padded = np.zeros(-(-whole // 8) * 8, np.int8)
                padded[:whole] = pending[:whole]
                values.append(padded.view("<u8").astype(np.uint64))
                values_size += len(values[-1])
                pending = pending[whole:]
                index_cuts.append(index_size)
                # The word that the part shares with the next one must be there for it as well.
                values_cuts.append(values_size + (1 if len(pending) else 0))
                blocks.append(part.block)
                names.append(kernel.name)
                headers.append(header)
                tiles.append(segment * len(held) + k_tile)
                cycles.append(spent)
    return EngineStream(
        index=np.concatenate(index),
        values=np.concatenate(values),
        index_cuts=np.array(index_cuts),
        values_cuts=np.array(values_cuts),
        columns=list(columns),
        blocks=blocks,
        kernels=names,
        headers=headers,
        tiles=np.array(tiles),
        cycles=np.array(cycles, np.int64),
    )
