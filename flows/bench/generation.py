"""How long generating takes, and that it grows with distinct modules, not with engines."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.bench.bars import Bar
from flows.generate import generate
from rtl_gen.config import derive, parse

__all__ = ["HEADER", "run"]

HEADER = ("MACs", "seconds", "modules", "bytes")


def _config(engines: int) -> dict:
    return {
        "name": f"engines_{engines}",
        "target": {"device": "generic", "clock_mhz": 100},
        "schedule": {
            "unroll": {"m": 16, "n": engines, "k": 1},
            "tile": {"m": 16, "n": 32 * engines, "k": 256},
            "kernels": ["dense", "bitmap"],
            "group": 4,
        },
        "interface": {"top": "array", "data_bits": 128},
    }


def run(progress: Callable[[str, int, int], None]) -> dict:
    """Generate arrays of 64 to 16,384 multipliers; best of two runs each, in seconds."""
    sizes = (4, 64, 256, 1024)
    figures = []
    for number, engines in enumerate(sizes):
        progress("generate", number, len(sizes))
        derived = derive(parse(_config(engines), "bench generate"))
        seconds = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                out = generate(derived, Path(folder, "rtl"))
                seconds.append(time.perf_counter() - start)
                text = (out / "sparsefuse.v").read_text()
        figures.append(
            {
                "macs": derived.shape.multipliers,
                "seconds": round(min(seconds), 3),
                "modules": text.count("\nendmodule"),
                "bytes": len(text),
            }
        )
    by_size = {figure["macs"]: figure for figure in figures}
    bars = [
        Bar("seconds to generate 1,024 MACs", by_size[1024]["seconds"], 3, at_most=True),
        Bar("seconds to generate 16,384 MACs", by_size[16384]["seconds"], 30, at_most=True),
        Bar(
            "modules at 16,384 MACs over modules at 64",
            by_size[16384]["modules"] / by_size[64]["modules"],
            1,
            at_most=True,
        ),
    ]
    return {
        "title": "Generation (measured)",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "figures": figures,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{figure['macs']:,}",
        f"{figure['seconds']:.3f}",
        str(figure["modules"]),
        f"{figure['bytes']:,}",
    )
