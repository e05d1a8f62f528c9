"""Reference model of the array: from the beats that were accepted to the results that must follow.

It knows the storage formats of `golden` and the loop nest, not the plan that made the streams,
and it is fed by monitors, so a driver that sends something else than the plan shows.
"""

from dataclasses import dataclass

import numpy as np

from golden.formats import KERNELS
from golden.formats.block_header import BlockHeader
from golden.shape import ArrayShape

__all__ = ["ArrayModel", "Expected"]


@dataclass(frozen=True)
class Expected:
    """What a job must give.

    Attributes:
        columns: per engine of the whole array, int32 (columns, lanes) in the order of arrival.
        events: valued events of the job.
    """

    columns: list[np.ndarray]
    events: int


class ArrayModel:
    """Collects accepted beats; `finish` computes the job that they made up."""

    def __init__(self, shape: ArrayShape) -> None:
        self.shape = shape
        self._kernel_of = {k.code: k.configured(shape) for k in KERNELS.values()}
        self.clear()

    def clear(self) -> None:
        """Forget everything, as ``CONTROL.reset`` does."""
        engines = range(self.shape.engines)
        self._words: list[tuple[list[bytes], list[bytes]]] = [([], []) for _ in engines]
        self._tiles: list[np.ndarray] = []
        self._open: list[bytes] = []

    def activation_beat(self, data: int, last: bool) -> None:
        """Take one beat of the activation stream."""
        shape = self.shape
        self._open.append(data.to_bytes(shape.activation_bits // 8, "little"))
        if last:
            raw = np.frombuffer(b"".join(self._open), np.int8)
            self._tiles.append(raw.reshape(-1, shape.lanes).astype(np.int64))
            self._open = []

    def weight_beat(self, group: int, target: int, data: int) -> None:
        """Take one beat of a weight stream; ``target`` is 2 * engine + ring."""
        shape = self.shape
        engine = group * shape.group + (target >> 1)
        self._words[engine][target & 1].append(data.to_bytes(shape.data_bits // 8, "little"))

    def finish(self, m_tiles: int) -> Expected:
        """Compute the job of ``m_tiles`` tiles of tokens from everything seen since the last one.

        Raises:
            AssertionError: beats are missing or left over, or a block is malformed.
        """
        columns, events = [], 0
        for engine in range(self.shape.engines):
            try:
                mine, counted = self._engine(engine, m_tiles)
            except (KeyError, IndexError, ValueError) as error:
                # A word taken for another: an unknown kernel, a field or a block out of its bounds.
                raise AssertionError(
                    f"engine {engine}: the weights are no blocks: {error}"
                ) from error
            columns.append(mine)
            events += counted
        assert not self._open, f"{len(self._open)} activation beats after the last whole tile"
        self.clear()
        return Expected(columns, events)

    def _engine(self, engine: int, m_tiles: int) -> tuple[np.ndarray, int]:
        """Play one engine's job; return its columns and its number of events."""
        shape = self.shape
        index, values = (np.frombuffer(b"".join(ring), "<u8") for ring in self._words[engine])
        index_at = value_at = tile_at = events = 0
        results: list[np.ndarray] = []
        ended = False
        while not ended:
            segment, index_at, value_at, ended = self._segment(index, values, index_at, value_at)
            for _ in range(m_tiles):
                sums: list[np.ndarray] = []
                for header, block, valued in segment:
                    assert tile_at < len(self._tiles), f"engine {engine}: no activation tile left"
                    tile = self._tiles[tile_at][: header.depth]
                    products = list((tile.T @ block.astype(np.int64)).T)
                    pairs = zip(products, sums, strict=True) if not header.first else None
                    sums = [a + b for a, b in pairs] if pairs else products
                    results += sums if header.final else []
                    events += valued
                    tile_at += header.tile_end
        assert tile_at == len(self._tiles), (
            f"engine {engine}: {len(self._tiles)} activation tiles sent, {tile_at} used"
        )
        for name, ring, at in (("index", index, index_at), ("value", values, value_at)):
            # The last beat of a ring is filled up.
            assert 0 <= len(ring) - at < shape.words_per_beat, (
                f"engine {engine}: {len(ring)} {name} words sent, {at} used"
            )
        exact = np.array(results).reshape(-1, shape.lanes)
        return ((exact + 2**31) % 2**32 - 2**31).astype(np.int32), events

    def _segment(
        self, index: np.ndarray, values: np.ndarray, index_at: int, value_at: int
    ) -> tuple[list[tuple[BlockHeader, np.ndarray, int]], int, int, bool]:
        """Decode blocks up to the end of a segment; value words are shared between its blocks."""
        raw = values[value_at:].view(np.int8)
        used = 0
        segment = []
        while True:
            assert index_at < len(index), "the index stream ends inside a segment"
            header = BlockHeader.unpack(int(index[index_at]))
            kernel = self._kernel_of[header.kernel]
            block = kernel.decode(index[index_at + 1 :], raw[used:], header.depth, header.columns)
            words, bytes_ = kernel.encode(block)
            stored = index[index_at + 1 : index_at + 1 + len(words)]
            assert np.array_equal(stored, words), "a block does not encode to what was sent"
            index_at += 1 + len(words)
            used += len(bytes_)
            segment.append((header, block, int(kernel.steps(block).events.sum())))
            if header.segment_end:
                return segment, index_at, value_at + -(-used // 8), bool(header.job_end)
