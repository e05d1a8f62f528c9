"""How long generating takes, and that it grows with distinct modules, not with engines."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows.bench.bars import Bar
from flows.bench.presets import PRESETS, shipped
from flows.generate import generate
from rtl_gen.config import Derived, derive, parse

__all__ = ["HEADER", "measure", "run"]

HEADER = ("array", "MACs", "seconds", "modules", "bytes")

_LANES = 16
_MACS = (64, 1024, 4096, 16384)
_SECONDS = {1024: 3, 16384: 30}


def _config(engines: int) -> dict:
    return {
        "name": f"engines_{engines}",
        "target": {"device": "generic", "clock_mhz": 100},
        "schedule": {
            "unroll": {"m": _LANES, "n": engines, "k": 1},
            "tile": {"m": _LANES, "n": 32 * engines, "k": 256},
            "kernels": ["dense", "bitmap"],
            "group": 4,
        },
        "interface": {"top": "array", "data_bits": 128},
    }


def measure(derived: Derived) -> dict[str, Any]:
    """Seconds to generate a design, best of two runs, and the size of its Verilog."""
    seconds = []
    text = ""
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            out = generate(derived, Path(folder, "rtl"))
            seconds.append(time.perf_counter() - start)
            text = (out / "sparsefuse.v").read_text()
    return {
        "name": derived.name,
        "macs": derived.shape.multipliers,
        "seconds": round(min(seconds), 3),
        "modules": text.count("\nendmodule"),
        "bytes": len(text),
        "config_hash": derived.config_hash,
    }


def run(
    progress: Callable[[str, int, int], None],
    presets: Sequence[str] = PRESETS,
    sizes: Sequence[int] = _MACS,
) -> dict:
    """Generate the presets as shipped, and arrays of one shape that differ in engines alone.

    Args:
        progress: called with (what, done, total).
        presets: names.
        sizes: multipliers of the other arrays, the fewest first.
    """
    growth = [derive(parse(_config(macs // _LANES), "bench generate")) for macs in sizes]
    cases = [*map(shipped, presets), *growth]
    figures = []
    for number, derived in enumerate(cases):
        progress("generate", number, len(cases))
        figures.append(measure(derived))
    grown = figures[len(presets) :]
    bars = [
        Bar(f"seconds to generate {f['macs']:,} MACs", f["seconds"], bar, at_most=True)
        for f in grown
        if (bar := _SECONDS.get(f["macs"]))
    ]
    few, many = grown[0], grown[-1]
    bars.append(
        Bar(
            f"modules at {many['macs']:,} MACs over modules at {few['macs']:,}",
            many["modules"] / few["modules"],
            1,
            at_most=True,
        )
    )
    return {
        "title": "Generation, presets as shipped and one shape with more engines (measured)",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "figures": figures,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        figure["name"],
        f"{figure['macs']:,}",
        f"{figure['seconds']:.3f}",
        str(figure["modules"]),
        f"{figure['bytes']:,}",
    )
