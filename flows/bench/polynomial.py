"""Polynomials of sparse matrices on the RTL: exact products, smoothing against float."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.bench.bars import Bar
from flows.bench.study.polynomial import Product
from flows.bench.study.smoother import smooth
from flows.build import open_device
from golden.cycles.count import count_cycles
from golden.operators.matmul import matmul
from golden.planner.product import plan_matmul
from rtl_gen.config import derive, load
from sim.verilator import ArrayDevice

__all__ = ["HEADER", "matrices", "poisson", "run"]

HEADER = ("matrix", "density", "degree", "residual", "float", "cycles", "over dense")

_SEED = 11
_ROUNDS = 12
_DEGREES = (0, 1, 3)


def poisson(side: int) -> NDArray[np.float64]:
    """Five-point Laplacian on a square grid, Dirichlet boundary: (side**2, side**2)."""
    line = 2 * np.eye(side) - np.eye(side, k=1) - np.eye(side, k=-1)
    return np.kron(line, np.eye(side)) + np.kron(np.eye(side), line)


def matrices() -> dict[str, NDArray[np.float64]]:
    """Matrices by name: our own Laplacian, and with the extra ``matrices`` those of pyamg."""
    found = {"poisson 16 x 16": poisson(16)}
    if find_spec("pyamg") is not None:
        # Only with the extra: it brings scipy.
        gallery = import_module("pyamg.gallery")
        diffusion = import_module("pyamg.gallery.diffusion")
        stencil = diffusion.diffusion_stencil_2d(epsilon=0.1, theta=np.pi / 6)
        found["pyamg poisson 16 x 16"] = gallery.poisson((16, 16)).toarray()
        found["pyamg diffusion 16 x 16"] = gallery.stencil_grid(stencil, (16, 16)).toarray()
        found["pyamg airfoil"] = gallery.load_example("airfoil")["A"].toarray()
    return found


def run(progress: Callable[[str, int, int], None]) -> dict:
    """Preset ``edge``: smoothing rounds with every product on the RTL."""
    figures = []
    listed = matrices()
    with open_device(derive(load("edge")), progress) as device:
        for number, (name, matrix) in enumerate(listed.items()):
            progress("smooth", number, len(listed))
            right = np.random.default_rng(_SEED).normal(size=len(matrix))
            for degree in _DEGREES:
                counts = {"cycles": 0, "dense": 0, "unlike": 0, "late": 0}
                product = _counted(device, counts)
                done = smooth(matrix, right, _ROUNDS, degree=degree, product=product)
                figures.append(
                    {
                        "matrix": name,
                        "rows": len(matrix),
                        "density": np.count_nonzero(matrix) / matrix.size,
                        "degree": degree,
                        "residual": float(done.fixed[-1]),
                        "residual_float": float(done.reference[-1]),
                        "cycles": counts["cycles"],
                        "cycles_dense": counts["dense"],
                        "speedup": counts["dense"] / counts["cycles"],
                        "unlike": counts["unlike"],
                        "cycles_unlike_the_model": counts["late"],
                        "cycles_source": "measured (RTL, Verilator); dense: cycle model",
                    }
                )
    slower = max(f["residual"] / f["residual_float"] for f in figures)
    return {
        "title": f"Smoothing of A x = b, {_ROUNDS} rounds, one vector (measured on the RTL)",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "seed": _SEED,
        "figures": figures,
        "bars": [
            Bar("products unlike numpy's", sum(f["unlike"] for f in figures), 0, True).report(),
            Bar(
                "cycles apart from the cycle model's",
                sum(f["cycles_unlike_the_model"] for f in figures),
                0,
                True,
            ).report(),
            Bar("largest residual over float's", slower, 2.0, at_most=True).report(),
        ],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        figure["matrix"],
        f"{figure['density']:.2%}",
        str(figure["degree"]),
        f"{figure['residual']:.2e}",
        f"{figure['residual_float']:.2e}",
        f"{figure['cycles']:,}",
        f"{figure['speedup']:.1f}",
    )


def _counted(device: ArrayDevice, counts: dict[str, int]) -> Product:
    """A product on the device that adds up its cycles, the dense kernel's, and differences."""

    def product(a: NDArray[np.int8], w: NDArray[np.int8]) -> NDArray[np.int32]:
        plan = plan_matmul(device.shape, a, w, "bitmap", balance="lpt")
        before = device.cycles
        output = device.matmul(plan, a)
        took = device.cycles - before
        counts["cycles"] += took
        counts["late"] += abs(took - count_cycles(plan).cycles)
        counts["unlike"] += not np.array_equal(output, matmul(a, w))
        dense = plan_matmul(device.shape, a, w, "dense", balance="lpt")
        counts["dense"] += count_cycles(dense).cycles
        return output

    return product
