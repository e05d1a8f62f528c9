"""One engine's weight stream: blocks with their headers, kernel by kernel.

A *block* is what an engine takes against one activation tile.  It consists of one *part* or of
several with disjoint support, each with its own header and kernel; the parts run one after
another and the drain adds their column sums, weighted where the parts have scales of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..formats import Kernel
from ..formats.block_header import BlockHeader
from ..numerics.combine import UNIT, weights_valid
from ..planner.choose import Split, checked_parts, choose_kernel
from ..planner.fused import FusedMatrix

__all__ = ["EngineStream", "encode_stream"]


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


@dataclass(frozen=True)
class _Part:
    kernel: Kernel
    cycles: int
    block: np.ndarray
    weight: int = UNIT
    exact: bool = True


def _parts(
    kernels: Sequence[Kernel],
    block: np.ndarray,
    place: tuple[int, np.ndarray],
    split: Split | FusedMatrix | None,
    room: int | None,
) -> list[_Part]:
    """The parts of a block, whose first row and columns are ``place``."""
    if split is None:
        return [_Part(*choose_kernel(kernels, block, room), block)]
    found = split.at(block, *place) if isinstance(split, FusedMatrix) else split(block)
    weights = [part[2] if len(part) == 3 else UNIT for part in found]
    exact = all(weight == UNIT for weight in weights)
    chosen = [
        (choose_kernel(kernels, part[1], room)[0].name if part[0] == "auto" else part[0], part[1])
        for part in found
    ]
    checked_parts(kernels, block, chosen)
    if not weights_valid(weights, exact=exact):
        raise ValueError(f"split: weights: must sum to {UNIT} or all be {UNIT}, got {weights}")
    by_name = {kernel.name: kernel for kernel in kernels}
    return [
        _Part(*choose_kernel([by_name[name]], part), part, weight, exact)
        for (name, part), weight in zip(chosen, weights, strict=True)
    ]


def encode_stream(
    kernels: Sequence[Kernel],
    shares: Sequence[np.ndarray],
    columns: Sequence[np.ndarray],
    bounds: np.ndarray,
    *,
    split: Split | FusedMatrix | None = None,
    room: int | None = None,
) -> EngineStream:
    """Encode one engine's share, segment by segment, k tile by k tile.

    Args:
        kernels: candidates for each block.
        shares: per segment, int8 (K, columns of the segment, at least one).
        columns: per segment, the output column of each.
        bounds: int64 (k tiles + 1,), first row of each k tile, then K.
        split: divides each block into parts, weighted or not; one part by default.
        room: index words of a block beyond which other kernels are preferred.
    """
    index: list[np.ndarray] = []
    values: list[np.ndarray] = []
    index_cuts, values_cuts, blocks, names, headers, tiles, cycles = [], [], [], [], [], [], []
    index_size = values_size = 0
    k_tiles = len(bounds) - 1
    for segment, share in enumerate(shares):
        pending = np.empty(0, np.int8)
        for k_tile in range(k_tiles):
            block = share[bounds[k_tile] : bounds[k_tile + 1]]
            place = int(bounds[k_tile]), columns[segment]
            parts = _parts(kernels, block, place, split, room)
            for number, part in enumerate(parts):
                words, bytes_ = part.kernel.encode(part.block)
                tile_end = number == len(parts) - 1
                end = tile_end and k_tile == k_tiles - 1
                header = BlockHeader(
                    kernel=part.kernel.code,
                    columns=part.block.shape[1],
                    depth=part.block.shape[0],
                    first=k_tile == 0 and number == 0,
                    final=end,
                    tile_end=tile_end,
                    segment_end=end,
                    job_end=end and segment == len(shares) - 1,
                    exact=part.exact,
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
                names.append(part.kernel.name)
                headers.append(header)
                tiles.append(segment * k_tiles + k_tile)
                cycles.append(part.cycles)
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
