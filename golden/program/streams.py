"""One engine's weight stream: blocks with their headers, kernel by kernel.

A *block* is what an engine takes against one activation tile.  It consists of one *part* or of
several with disjoint support, each with its own header and kernel; the parts run one after
another and the drain adds their column sums, weighted where the parts have scales of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..formats import WORD_BITS, Kernel
from ..formats.block_header import BlockHeader
from ..numerics.combine import UNIT

__all__ = ["EngineStream", "Part", "encode_stream"]

_BYTES = WORD_BITS // 8


@dataclass(frozen=True, eq=False)
class Part:
    """One kernel's share of a block.

    Attributes:
        kernel: name of the format (`golden.formats`).
        block: int8 (depth, columns), zero outside the part's share.
        weight: of its sums in Q15; `UNIT` is 1.0.
        exact: all parts of the block have the weight 1.0.
    """

    kernel: str
    block: np.ndarray
    weight: int = UNIT
    exact: bool = True


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


def encode_stream(
    kernels: Mapping[str, Kernel],
    segments: Sequence[Sequence[Sequence[Part]]],
    columns: Sequence[np.ndarray],
) -> EngineStream:
    """Encode one engine's share, segment by segment, k tile by k tile.

    Args:
        kernels: formats by name, with the array's parameters.
        segments: ``[segment][k tile]``, the parts of each block, at least one.
        columns: per segment, the output column of each of its blocks' columns.
    """
    index: list[np.ndarray] = []
    values: list[np.ndarray] = []
    index_cuts, values_cuts, blocks, names, headers, tiles, cycles = [], [], [], [], [], [], []
    index_size = values_size = 0
    for number, segment in enumerate(segments):
        pending = np.empty(0, np.int8)
        for k_tile, parts in enumerate(segment):
            for place, part in enumerate(parts):
                kernel = kernels[part.kernel]
                words, stored = kernel.encode(part.block)
                tile_end = place == len(parts) - 1
                end = tile_end and k_tile == len(segment) - 1
                header = BlockHeader(
                    kernel=kernel.code,
                    columns=part.block.shape[1],
                    depth=part.block.shape[0],
                    first=k_tile == 0 and place == 0,
                    final=end,
                    tile_end=tile_end,
                    segment_end=end,
                    job_end=end and number == len(segments) - 1,
                    exact=part.exact,
                    weight=part.weight,
                )
                index += [np.array([header.pack()], np.uint64), words]
                index_size += 1 + len(words)
                pending = np.concatenate([pending, stored])
                whole = len(pending) if end else len(pending) // _BYTES * _BYTES
                padded = np.zeros(-(-whole // _BYTES) * _BYTES, np.int8)
                padded[:whole] = pending[:whole]
                values.append(padded.view("<u8").astype(np.uint64))
                values_size += len(values[-1])
                pending = pending[whole:]
                index_cuts.append(index_size)
                # The word that the part shares with the next one must be there for it as well.
                values_cuts.append(values_size + (1 if len(pending) else 0))
                blocks.append(part.block)
                names.append(part.kernel)
                headers.append(header)
                tiles.append(number * len(segment) + k_tile)
                cycles.append(kernel.cycles(part.block != 0))
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
