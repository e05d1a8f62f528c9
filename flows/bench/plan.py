"""Time and quality of a plan: what a user waits for, and what it finds.

``sparsefuse matmul --kernel auto --engine cycle`` on 1024 x 1024 weights and 64 tokens, 64 engines,
run as a process of its own, start-up included.  Plans are held to those that an exhaustive search
found, in which every layout was encoded and counted; that search took 3 to 19 seconds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import yaml

from flows.arrays import akf_config, sparse_config
from flows.bench.bars import Bar
from flows.compress.masks import mask_of
from flows.files import write_text
from golden.errors import CheckFailed

__all__ = ["CASES", "HEADER", "run"]

HEADER = ("weights", "zeros", "kernels", "seconds", "cycles", "of search", "bytes", "of search")

CASES = {
    ("random", 0.5): {"all": (32924, 659272), "two": (32924, 659272)},
    ("random", 0.7): {"all": (19810, 446976), "two": (19810, 446976)},
    ("random", 0.9): {"all": (6671, 193584), "two": (6638, 237568)},
    ("clustered", 0.7): {"all": (19814, 446752), "two": (19811, 446976)},
    ("block 8x8", 0.7): {"all": (19880, 332032), "two": (19828, 446720)},
    ("2:4", 0.5): {"all": (32915, 658432), "two": (32915, 658432)},
    ("banded", 0.9): {"all": (7087, 194096), "two": (7394, 236544)},
    ("mixed", 0.7): {"all": (19791, 446464), "two": (19791, 446464)},
}
"""Cycles and stored bytes of the exhaustive search (of 2026, before ``band`` was a kernel), by
structure, share of zeros and kernels: all, or dense and bitmap."""

_SIZE, _TOKENS, _SEED = 1024, 64, 20
_RUNS = 3
_SECONDS = 2.0
# Simulated annealing: a plan may come out a little better or worse.
_WORST = 1.005

Progress = Callable[[str, int, int], None]


def _weights(structure: str, sparsity: float, size: int) -> np.ndarray:
    rng = np.random.default_rng(_SEED)
    keep = mask_of(structure, size, sparsity, rng)
    values = rng.integers(1, 128, keep.shape) * rng.choice((-1, 1), keep.shape)
    return (values * keep).astype(np.int8)


def _command(folder: Path, config: str) -> dict:
    """Run the command once; its report, with the seconds that it took."""
    words = ["matmul", f"{config}.yaml", "--activations", "a.npy", "--weights", "w.npy"]
    words += ["--kernel", "auto", "--engine", "cycle", "--report", "r.json"]
    script = "import sys; from flows.cli import main; sys.exit(main())"
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": root}
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise CheckFailed(f"bench plan: matmul ended with {done.returncode}: {done.stderr.strip()}")
    return {**json.loads((folder / "r.json").read_text("utf-8")), "seconds": seconds}


def run(
    progress: Progress,
    cases: Sequence[tuple[str, float]] = tuple(CASES),
    *,
    size: int = _SIZE,
    runs: int = _RUNS,
) -> dict:
    """Plan every case with all kernels and with two.

    Args:
        progress: called with (what, done, total).
        cases: structure and share of zeros; keys of `CASES`.
        size: of the square weights; only the default is held to the search.
        runs: of each command, of which the quickest counts.

    Raises:
        CheckFailed: the command fails.
    """
    configs = {"all": akf_config(), "two": sparse_config(64)}
    figures = []
    with tempfile.TemporaryDirectory(prefix="sparsefuse-") as name:
        folder = Path(name)
        rng = np.random.default_rng(_SEED)
        np.save(folder / "a.npy", rng.integers(-128, 128, (_TOKENS, size)).astype(np.int8))
        for config, derived in configs.items():
            document = derived.config.model_dump(mode="json")
            write_text(folder / f"{config}.yaml", yaml.safe_dump(document))
        places = [(case, config) for case in cases for config in configs]
        # The first run of all computes the performance table and loads what the others find ready.
        np.save(folder / "w.npy", np.zeros((size, size), np.int8))
        first = {config: _command(folder, config)["seconds"] for config in configs}
        for number, ((structure, sparsity), config) in enumerate(places):
            progress("plan", number, len(places))
            np.save(folder / "w.npy", _weights(structure, sparsity, size))
            found = [_command(folder, config) for _ in range(runs)]
            cycles, stored = found[0]["cycles"], found[0]["weight_bytes"]
            searched = CASES[structure, sparsity][config] if size == _SIZE else None
            figures.append(
                {
                    "structure": structure,
                    "sparsity": sparsity,
                    "kernels": config,
                    "seconds": min(each["seconds"] for each in found),
                    "cycles": cycles,
                    "weight_bytes": stored,
                    "cycles_searched": searched and searched[0],
                    "weight_bytes_searched": searched and searched[1],
                    "product": searched and cycles * stored / (searched[0] * searched[1]),
                }
            )
    bars = [
        Bar(
            "seconds of the slowest, start-up included",
            max(f["seconds"] for f in figures),
            _SECONDS,
            True,
        )
    ]
    products = [f["product"] for f in figures if f["product"]]
    if products:
        bars += [
            Bar("cycles x bytes against the search, mean", geometric_mean(products), 1, True),
            Bar("cycles x bytes against the search, worst", max(products), _WORST, True),
        ]
    return {
        "title": f"Plans of {size} x {size} weights, {_TOKENS} tokens, 64 engines: seconds of the "
        f"whole command, best of {runs} (cycle model, exact)",
        "header": HEADER,
        "rows": [_row(figure) for figure in figures],
        "seed": _SEED,
        "seconds_first": first,
        "figures": figures,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict) -> tuple[str, ...]:
    searched = figure["cycles_searched"], figure["weight_bytes_searched"]
    against = ["-", "-"]
    if None not in searched:
        against = [
            f"{figure[name] / whole:.4f}"
            for name, whole in zip(("cycles", "weight_bytes"), searched, strict=True)
        ]
    return (
        figure["structure"],
        f"{figure['sparsity']:.0%}",
        figure["kernels"],
        f"{figure['seconds']:.2f}",
        f"{figure['cycles']:,}",
        against[0],
        f"{figure['weight_bytes']:,}",
        against[1],
    )
