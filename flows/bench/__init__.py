"""Benchmarks: each reproduces one table, with its bars, as a report and on the terminal."""

from collections.abc import Callable

from . import (
    akf,
    area,
    demo,
    detect,
    fmax,
    generation,
    harness,
    kernels,
    mutants,
    plan,
    polynomial,
    runtime,
    scale,
    selector,
    sparsity,
    tensors,
)
from . import bytes as stored_bytes

__all__ = ["BENCHES", "Bench"]

Bench = Callable[..., dict]
"""Called with a function (what, done, total), and with the options that it declares."""

BENCHES: dict[str, Bench] = {
    "demo": demo.run,
    "sparsity": sparsity.run,
    "tensors": tensors.run,
    "bytes": stored_bytes.run,
    "area": area.run,
    "generate": generation.run,
    "harness": harness.run,
    "detect": detect.run,
    "kernels": kernels.run,
    "runtime": runtime.run,
    "polynomial": polynomial.run,
    "scale": scale.run,
    "fmax": fmax.run,
    "selector": selector.run,
    "akf": akf.run,
    "plan": plan.run,
    "mutants": mutants.run,
}
"""Each returns a report with ``title``, ``header``, ``rows`` and ``bars``."""
