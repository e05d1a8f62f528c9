"""What the zeros of a weight matrix look like, block by block, and which kernels suit them.

A block is ``k_tile`` rows of the columns that one engine gets if columns are dealt in order; the
plan of a product deals them by their cycles instead, so block figures describe the matrix and add
up to what a product takes but for balance, load and drain.  Cycles are for one tile of tokens.
"""

import fnmatch
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.compress.prune import magnitude, wanda
from flows.engines import table_of
from flows.files import load_npy
from flows.models.base import LinearModel
from flows.models.fetch import fetch, load_model
from golden.errors import BadInput
from golden.numerics.quantise import quantise_weights
from golden.planner.block_selector import CYCLES_FIRST, BlockSelector
from golden.planner.choose import ORDER
from golden.selector.pattern import PatternParameters, analyse
from golden.selector.signature import Buckets
from rtl_gen.config import Derived

__all__ = [
    "METHODS",
    "BlockFigures",
    "LayerFigures",
    "analyse_layer",
    "file_weights",
    "model_weights",
    "pick_layers",
]

METHODS = ("wanda", "magnitude")
_FLOATS = ("float16", "float32", "float64")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BlockFigures:
    """One block: where it is, what it looks like, what it costs in its kernels."""

    row: int
    column: int
    depth: int
    columns: int
    occupied: int
    empty_rows: int
    empty_columns: int
    envelope: int
    diagonal: int
    column_histogram: tuple[int, ...]
    magnitude_histogram: tuple[int, ...]
    signature: int
    bucket: int
    kernels: tuple[str, ...]
    cycles: int
    bytes: int
    cycles_dense: int


@dataclass(frozen=True, eq=False)
class LayerFigures:
    """One matrix."""

    name: str
    weights: np.ndarray
    blocks: tuple[BlockFigures, ...]
    buckets: Buckets

    @property
    def kernels(self) -> dict[str, int]:
        """Parts that each kernel holds."""
        counts = Counter(kernel for block in self.blocks for kernel in block.kernels)
        return {name: counts[name] for name in ORDER if counts[name]}

    def report(self) -> dict[str, Any]:
        """Fields of the JSON report."""
        cycles = sum(block.cycles for block in self.blocks)
        dense = sum(block.cycles_dense for block in self.blocks)
        return {
            "name": self.name,
            "depth": self.weights.shape[0],
            "outputs": self.weights.shape[1],
            "sparsity": float(np.mean(self.weights == 0)),
            "kernels": self.kernels,
            "cycles": cycles,
            "cycles_dense": dense,
            "speed_up": dense / cycles,
            "bytes": sum(block.bytes for block in self.blocks),
            "bytes_dense": self.weights.size,
            "buckets": [
                {
                    "blocks": bucket.blocks,
                    "occupied": bucket.occupied,
                    "octave": bucket.octave,
                    "column_histogram": bucket.column_histogram.tolist(),
                    "magnitude_histogram": bucket.magnitude_histogram.tolist(),
                }
                for bucket in self.buckets.buckets
            ],
            "blocks": [asdict(block) for block in self.blocks],
            "source": "computed (golden model)",
        }


def analyse_layer(name: str, weights: np.ndarray, derived: Derived) -> LayerFigures:
    """Pattern, bucket, kernels, cycles and bytes of every block of an int8 matrix (K, N)."""
    shape = derived.shape
    selector = BlockSelector(shape, table_of(derived), CYCLES_FIRST)
    width = min(shape.columns, -(-weights.shape[1] // shape.engines))
    parameters = PatternParameters(k_tile=shape.k_tile, columns=width, gap_bits=shape.gap_bits)
    buckets = Buckets()
    blocks = []
    for row in range(0, weights.shape[0], shape.k_tile):
        for column in range(0, weights.shape[1], width):
            block = weights[row : row + shape.k_tile, column : column + width]
            pattern = analyse(block, parameters)
            selection = selector.choose(block)
            total = selector.price_of(block, selector.column_floor)
            blocks.append(
                BlockFigures(
                    row=row,
                    column=column,
                    depth=pattern.depth,
                    columns=pattern.columns,
                    occupied=pattern.occupied,
                    empty_rows=pattern.empty_rows,
                    empty_columns=pattern.empty_columns,
                    envelope=pattern.envelope,
                    diagonal=pattern.diagonal,
                    column_histogram=pattern.column_histogram,
                    magnitude_histogram=pattern.magnitude_histogram,
                    signature=pattern.signature,
                    bucket=buckets.add(pattern),
                    kernels=selection.kernels,
                    cycles=total.cycles,
                    bytes=total.bytes,
                    cycles_dense=1 + block.size,
                )
            )
    return LayerFigures(name, weights, tuple(blocks), buckets)


def _pruned(weights: np.ndarray, sparsity: float, method: str, x: np.ndarray | None) -> np.ndarray:
    if not sparsity:
        return weights
    keep = magnitude(weights, sparsity) if x is None else wanda(weights, x, sparsity)
    return np.where(keep, weights, 0).astype(weights.dtype)


def file_weights(path: Path, sparsity: float = 0.0, method: str | None = None) -> np.ndarray:
    """Int8 matrix of a .npy file; floats are quantised per output column.

    Raises:
        BadInput: no such file, another type or shape, numbers that aren't finite, or a method
            that needs activations.
    """
    if method == "wanda":
        raise BadInput(f"{path}: method: must be magnitude for a file, got wanda")
    try:
        dtype = np.load(path, mmap_mode="r", allow_pickle=False).dtype.name
    except Exception:
        # What is wrong with the file is what reading it as a matrix says.
        dtype = "int8"
    if dtype not in ("int8", *_FLOATS):
        raise BadInput(f"{path}: weights: must have dtype int8, {', '.join(_FLOATS)}, got {dtype}")
    weights = load_npy(path, dtype=dtype, field="weights")
    try:
        kept = _pruned(weights, sparsity, "magnitude", None)
        return kept if dtype == "int8" else quantise_weights(kept)[0]
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None


def pick_layers(names: Sequence[str], layers: str | None) -> list[str]:
    """The first N layers, or those whose name fits a pattern; all by default.

    Raises:
        BadInput: a number below 1, or a pattern that fits none.
    """
    if layers is None:
        return list(names)
    if layers.lstrip("-").isdigit():
        if int(layers) < 1:
            raise BadInput(f"layers: must be at least 1 or a pattern, got {layers}")
        return list(names[: int(layers)])
    found = [name for name in names if fnmatch.fnmatch(name, layers) or layers in name]
    if not found:
        raise BadInput(f"layers: must fit a layer such as {names[0]}, got {layers!r}")
    return found


def _inputs(model: LinearModel) -> Sequence[Any]:
    """Photos of a vision model's size, sentences for the others."""
    side = getattr(model, "side", None)
    if side is None:
        from flows.bench.demo import SENTENCES

        return SENTENCES
    # Only a vision model needs what reads photos.
    from flows.models.photos import load_photos

    return list(load_photos(side).values())


def model_weights(
    name: str,
    layers: str | None,
    sparsity: float,
    method: str,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Int8 matrices of a model's linear layers, pruned and quantised per output column."""
    fetch(name, progress=lambda done, total: progress(f"fetch {name}", done, total))
    model: LinearModel = load_model(name)
    chosen = pick_layers(model.linear_names, layers)
    if sparsity and method == "wanda":
        progress("calibrate", 0, 1)
        data = model.calibrate(_inputs(model), chosen)
        pruned = {n: _pruned(d.weight, sparsity, method, d.activations) for n, d in data.items()}
    else:
        pruned = {n: _pruned(model.linear(n)[0], sparsity, method, None) for n in chosen}
    return {n: quantise_weights(weights)[0] for n, weights in pruned.items()}
