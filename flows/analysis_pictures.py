"""Pictures of an analysis: occupancy map, histograms of the buckets, kernel map."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from flows.analysis import LayerFigures
from golden.errors import BadInput
from golden.formats import preferred

__all__ = ["draw", "figure_class"]

_PIXELS = 512  # longest side of the occupancy map
_BUCKETS = 6  # fullest buckets that the histogram shows
_COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#bbbbbb")


def figure_class() -> Any:
    """Matplotlib's figure; raises BadInput where the extra is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise BadInput(
            "pictures: must have matplotlib, got none; try pip install 'sparsefuse[pictures]'"
        ) from None
    return Figure


def _save(figure: Any, path: Path) -> None:
    buffer = BytesIO()
    # Without the version in its header the same figures give the same file.
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    path.write_bytes(buffer.getvalue())


def _occupancy(weights: np.ndarray) -> np.ndarray:
    """Share of non-zeros per pixel."""
    rows, columns = (-(-size // _PIXELS) for size in weights.shape)
    occupied = (weights != 0).astype(np.float64)
    high, wide = (np.arange(0, n, s) for n, s in zip(weights.shape, (rows, columns), strict=True))
    sums = np.add.reduceat(np.add.reduceat(occupied, high, axis=0), wide, axis=1)
    sizes = np.diff(high, append=weights.shape[0])[:, None] * np.diff(wide, append=weights.shape[1])
    return sums / sizes


def draw(layer: LayerFigures, folder: Path) -> list[Path]:
    """Write the three pictures of a layer to a folder; return their paths."""
    figures = figure_class()
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", layer.name)
    paths = []

    figure = figures(figsize=(6, 5), layout="constrained")
    axes = figure.add_subplot()
    depth, outputs = layer.weights.shape
    image = axes.imshow(
        _occupancy(layer.weights),
        cmap="viridis",
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
        extent=(0, outputs, depth, 0),
    )
    figure.colorbar(image, label="share of non-zeros")
    axes.set(title=f"{layer.name}: occupancy", xlabel="output column", ylabel="row k")
    paths.append(folder / f"{name}.occupancy.png")
    _save(figure, paths[-1])

    figure = figures(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    order = sorted(range(len(layer.buckets)), key=lambda i: -layer.buckets[i].blocks)[:_BUCKETS]
    for number in order:
        bucket = layer.buckets[number]
        label = f"bucket {number}, {bucket.blocks} blocks"
        counts = bucket.column_histogram / max(1, bucket.columns)
        left.plot(range(len(counts)), counts, marker="o", label=label)
        sizes = bucket.magnitude_histogram[1:] / max(1, bucket.occupied)
        right.plot(range(1, 9), sizes, marker="o", label=label)
    left.set(title="non-zeros per column", xlabel="bits of the count", ylabel="share of columns")
    right.set(title="magnitudes", xlabel="bits of the magnitude", ylabel="share of non-zeros")
    left.legend(fontsize="small")
    paths.append(folder / f"{name}.buckets.png")
    _save(figure, paths[-1])

    rows = sorted({block.row for block in layer.blocks})
    columns = sorted({block.column for block in layer.blocks})
    kernels = [*preferred(), "several"]
    grid = np.zeros((len(rows), len(columns)))
    for block in layer.blocks:
        kernel = block.kernels[0] if len(block.kernels) == 1 else "several"
        grid[rows.index(block.row), columns.index(block.column)] = kernels.index(kernel)
    figure = figures(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    from matplotlib.colors import ListedColormap

    image = axes.imshow(
        grid,
        cmap=ListedColormap(_COLOURS),
        vmin=-0.5,
        vmax=len(kernels) - 0.5,
        aspect="auto",
        interpolation="nearest",
    )
    bar = figure.colorbar(image, ticks=range(len(kernels)))
    bar.ax.set_yticklabels(kernels)
    for axis in (axes.xaxis, axes.yaxis):
        axis.get_major_locator().set_params(integer=True)
    axes.set(title=f"{layer.name}: kernels", xlabel="columns of an engine", ylabel="k tile")
    paths.append(folder / f"{name}.kernels.png")
    _save(figure, paths[-1])
    return paths
