"""Area of the whole array, without AXI, per INT8 multiplier lane."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.bench.bars import Bar
from flows.cache import cache_folder
from flows.generate import generate
from flows.synth import read_manifest, synthesise
from rtl_gen.config import derive, parse

__all__ = ["HEADER", "run"]

HEADER = ("array", "target", "LUT/MAC", "FF/MAC", "DSP/MAC", "LUT", "FF", "BRAM")

# name, kernels, device, target
_CASES = (
    ("bitmap", ["bitmap"], "xczu7ev", "xcup"),
    ("dense + bitmap", ["dense", "bitmap"], "xczu7ev", "xcup"),
    ("all kernels", ["dense", "bitmap", "runlength", "nm", "block"], "xczu7ev", "xcup"),
    ("dense only", ["dense"], "xczu7ev", "xcup"),
    ("bitmap, 7 series", ["bitmap"], "xc7a100t", "xc7"),
    ("bitmap, ECP5", ["bitmap"], "lfe5u-85f", "ecp5"),
)


def run(progress: Callable[[str, int, int], None]) -> dict:
    """Eight engines of 16 lanes in one group, 256-row tiles."""
    folder = cache_folder("synth")
    folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for number, (name, kernels, device, target) in enumerate(_CASES):
        progress("synthesise", number, len(_CASES))
        derived = derive(
            parse(
                {
                    "name": "area",
                    "target": {"device": device},
                    "schedule": {
                        "unroll": {"m": 16, "n": 8, "k": 1},
                        "tile": {"m": 16, "n": 256, "k": 256},
                        "kernels": kernels,
                        "group": 8,
                    },
                    "interface": {"top": "array", "data_bits": 128},
                },
                "bench area",
            )
        )
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            design = generate(derived, Path(scratch, "rtl"))
            module = read_manifest(design).array
            figure = synthesise(design, target, module, out=Path(scratch, "synth"))
        figures.append({"name": name, "kernels": kernels, **figure})
    by_name = {figure["name"]: figure for figure in figures}
    bars = [
        Bar("LUT per MAC, bitmap, xcup", by_name["bitmap"]["lut_per_mac"], 25, at_most=True),
        Bar("DSP per MAC, bitmap, xcup", by_name["bitmap"]["dsp_per_mac"], 0.5, at_most=True),
        Bar(
            "LUT per MAC, dense only, xcup", by_name["dense only"]["lut_per_mac"], 15, at_most=True
        ),
    ]
    return {
        "title": "Array of 8 engines x 16 lanes (measured, " + figures[0]["tool"] + ")",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "figures": figures,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[object, ...]:
    return (
        figure["name"],
        figure["target"],
        f"{figure['lut_per_mac']:.1f}",
        f"{figure['ff_per_mac']:.1f}",
        figure["dsp_per_mac"],
        figure["lut"],
        figure["ff"],
        figure["bram"],
    )
