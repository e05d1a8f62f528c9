"""Matrices, arrays and decoders that the tests of the plan share."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from golden.formats import KERNELS, STORED, Kernel
from golden.formats.block_header import BlockHeader
from golden.planner.choose import ByCycles, PartChoice
from golden.planner.product import plan_matmul
from golden.planner.tile import WHOLE, Tile
from golden.program.plan import Plan
from golden.shape import ArrayShape

BY_CODE = {kernel.code: kernel for kernel in KERNELS.values()}
BY_NUMBER = {kernel.number: name for name, kernel in KERNELS.items()}

BASE = ArrayShape(
    lanes=4, engines=4, group=2, k_tile=64, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=64, kernels=("dense", "bitmap"), mac="packed",
)  # fmt: skip


def widths(bits: int) -> dict[str, int]:
    """Fields of an array whose streams have all the same width, as far as a column fills it."""
    return {"data_bits": bits, "activation_bits": 0, "result_bits": 0}


SHAPES = {
    "base": BASE,
    "one": replace(BASE, engines=1, group=1, lanes=2, columns=1),
    "rows_per_beat": replace(BASE, engines=3, group=3, lanes=2, **widths(128)),
    "beats_per_row": replace(BASE, lanes=32, **widths(64), k_tile=16),
    "own_widths": replace(BASE, lanes=8, data_bits=128, activation_bits=256, result_bits=64),
    "wide": replace(BASE, **widths(512), index_words=64, engines=6, group=3),
    "least_rings": replace(BASE, index_words=16, value_words=16, columns=32),
    "all_kernels": replace(BASE, kernels=("bitmap", "runlength", "block", "dense")),
}
# Pairs of M, K and N; with lanes of 2 to 32 and tiles of 16 and 64.
SIZES = [(1, 1, 1), (3, 7, 5), (17, 130, 19), (4, 64, 8), (70, 33, 131), (2, 200, 3)]


ALL = replace(BASE, kernels=STORED, index_words=128, value_words=256)


class BlockByBlock:
    """A chooser that asks a function of one block for its parts: kernel's name and int8 values."""

    def __init__(self, shape: ArrayShape, split: Callable) -> None:
        self._shape, self._split = shape, split

    def choose(self, number, tile, blocks, room):
        return [[self._choice(*part) for part in self._split(tile.part(mine))] for mine in blocks]

    def _choice(self, name: str, block: np.ndarray) -> PartChoice:
        kernel = KERNELS[name].configured(self._shape)
        words, stored = kernel.encode(block)
        columns = np.arange(block.shape[1])
        cycles = kernel.cycles(block != 0)
        return PartChoice(
            name, Tile(block), columns, WHOLE, None, cycles, 1 + len(words), len(stored)
        )


def choose_kernel(kernels: Sequence[Kernel], block: np.ndarray) -> tuple[Kernel, int]:
    """The kernel that `ByCycles` takes for an int8 block, and its decoder cycles.

    Raises:
        BadInput: no candidate holds the block.
    """
    ((choice,),) = ByCycles(kernels).choose(0, Tile(block), [np.arange(block.shape[1])], None)
    return next(kernel for kernel in kernels if kernel.name == choice.kernel), choice.cycles


def operands(
    rng: np.random.Generator, size: tuple[int, int, int], zero: float = 0.6
) -> tuple[np.ndarray, np.ndarray]:
    rows, depth, outputs = size
    a = rng.integers(-128, 128, (rows, depth)).astype(np.int8)
    w = rng.integers(-128, 128, (depth, outputs)).astype(np.int8)
    w[rng.random(w.shape) < zero] = 0
    w[:, rng.random(outputs) < 0.2] = 0
    return a, w


def plans(rng: np.random.Generator, shape: ArrayShape) -> list[tuple[Plan, np.ndarray, np.ndarray]]:
    found = []
    for size in SIZES:
        a, w = operands(rng, size, rng.choice([0.0, 0.6, 0.95, 1.0]))
        found += [(plan_matmul(shape, a, w, kernel), a, w) for kernel in shape.kernels]
    return found


def decoded(plan: Plan, engine: int) -> np.ndarray:
    """Weights of one engine from its words alone, as int64 (K, N); other columns are zero."""
    stream = plan.streams[engine]
    out = np.zeros((len(plan.kept), plan.outputs), np.int64)
    index, values = stream.index, stream.values.astype("<u8").view(np.int8)
    at = byte = part = 0
    for segment, columns in enumerate(stream.columns):
        for k_tile in range(plan.k_tiles):
            number = 0
            tile_end = False
            while not tile_end:
                header = BlockHeader.unpack(int(index[at]))
                tile_end = header.tile_end
                end = k_tile == plan.k_tiles - 1 and tile_end
                assert header.first == (k_tile == 0 and number == 0)
                assert header.final == header.segment_end == end
                assert header.job_end == (end and segment == plan.segments - 1)
                assert header.columns == len(columns)
                assert header.depth == plan.tile_rows(k_tile)
                kernel = BY_CODE[header.kernel].configured(plan.shape)
                assert kernel.name == stream.kernels[part]
                assert header == stream.headers[part]
                assert stream.tiles[part] == segment * plan.k_tiles + k_tile
                block = kernel.decode(index[at + 1 :], values[byte:], header.depth, header.columns)
                np.testing.assert_array_equal(block, stream.blocks[part])
                words, bytes_ = kernel.encode(block)
                at += 1 + len(words)
                byte += len(bytes_)
                assert at == stream.index_cuts[part]
                assert 8 * stream.values_cuts[part] >= byte
                real = columns >= 0
                assert not block[:, ~real].any()
                here = slice(plan.bounds[k_tile], plan.bounds[k_tile + 1])
                for column, held in zip(columns[real], block.T[real], strict=True):
                    assert not (out[here, column] != 0)[held != 0].any()
                    out[here, column] += held
                number += 1
                part += 1
        byte = -(-byte // 8) * 8  # a segment begins with a word
    assert at == len(index)
    assert byte == len(values)
    assert part == len(stream.blocks) == len(stream.cycles)
    full = np.zeros((plan_depth(plan), plan.outputs), np.int64)
    full[plan.kept] = out
    return full


def plan_depth(plan: Plan) -> int:
    """Rows up to the last one that is sent."""
    return int(plan.kept[-1]) + 1


def check_streams(plan: Plan, w: np.ndarray) -> None:
    """The streams of all engines decode back to the weights, each non-zero held once."""
    parts = [decoded(plan, e) for e in range(plan.shape.engines)]
    assert sum(np.count_nonzero(part) for part in parts) == np.count_nonzero(w)
    total = np.sum(parts, axis=0)
    np.testing.assert_array_equal(total, w[: len(total)])
    assert not w[len(total) :].any()


def results_of(
    plan: Plan, activations: np.ndarray, job: range, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Results as the array sends them: each engine's own sums, engines interleaved at random."""
    shape = plan.shape
    tokens = np.zeros((plan.m_tiles * shape.lanes, plan.depth), np.int64)
    tokens[: len(activations)] = activations[:, plan.kept]
    results = []
    for group in range(shape.groups):
        queues = []
        for stream in plan.streams[group * shape.group : (group + 1) * shape.group]:
            queue = []
            for segment, columns in enumerate(stream.columns):
                share = np.zeros((plan.depth, len(columns)), np.int64)
                for tile, block in zip(stream.tiles, stream.blocks, strict=True):
                    at, k_tile = divmod(int(tile), plan.k_tiles)
                    if at == segment:
                        share[plan.bounds[k_tile] : plan.bounds[k_tile + 1]] += block
                sums = tokens @ share
                sums[:, columns < 0] = 99
                for m in job:
                    queue += list(sums[m * shape.lanes : (m + 1) * shape.lanes].T)
            queues.append(queue)
        labels = rng.permutation(np.repeat(np.arange(shape.group), [len(q) for q in queues]))
        sources = [iter(queue) for queue in queues]
        data = np.array([next(sources[label]) for label in labels]).astype(np.int32)
        results.append((data, labels.astype(np.uint8)))
    return results


def mixed_weights(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """Patches of different density, empty rows and columns, and the corners of INT8."""
    w = rng.choice([-128, -1, 1, 127, 77], (depth, outputs)).astype(np.int8)
    patches = rng.choice([0.0, 0.02, 0.3, 0.7, 1.0], (-(-depth // 32), -(-outputs // 3)))
    density = patches.repeat(32, 0).repeat(3, 1)[:depth, :outputs]
    w[rng.random(w.shape) >= density] = 0
    w[rng.random(depth) < rng.choice([0.0, 0.3, 0.95])] = 0
    return w
