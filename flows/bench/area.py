"""Area of the presets as shipped, whole arrays without AXI, per INT8 multiplier lane.

Every array is mapped to its own part's family and measured flattened, but for those of
`COMPUTED`, which are too large for that: they are computed from modules that are measured one by
one.  What that method misses is found on the array that has bars, which is measured both ways.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.bench.bars import Bar
from flows.bench.presets import DENSE, PRESETS, shipped, with_kernels
from flows.bench.sparsity import MASKS, SPARSITIES, measure
from flows.cache import cache_folder
from flows.compress.masks import masked_weights
from flows.generate import generate
from flows.synth import read_manifest, synthesise
from flows.synth_parts import synthesise_parts
from rtl_gen.config import Derived

__all__ = ["COMPUTED", "HEADER", "run"]

HEADER = (
    *("array", "MAC", "LUT per MAC", "FF per MAC", "DSP per MAC", "BRAM per MAC"),
    *("LUT", "FF", "bits in", "bits out"),
)

COMPUTED = ("large",)
_JUDGED = "mid"
_MODULE = "sf_group"  # what large arrays are made of
_SIZE, _TOKENS = 1024, 64
_DEVIATION = 0.02


def _measured(derived: Derived, *, computed: bool) -> dict[str, Any]:
    """Area of one array on its own family, flattened or computed from its modules."""
    folder = cache_folder("synth")
    folder.mkdir(parents=True, exist_ok=True)
    target, shape = derived.technology, derived.shape
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        design, out = generate(derived, Path(scratch, "rtl")), Path(scratch, "synth")
        if computed:
            found = synthesise_parts(design, target, _MODULE, out=out)
        else:
            found = synthesise(design, target, read_manifest(design).array, out=out)
    return {
        "kernels": shape.kernels,
        "input_port_bits": shape.input_port_bits,
        "output_port_bits": shape.output_port_bits,
        **found,
    }


def _gains(sparse: dict[str, Any], dense: dict[str, Any]) -> list[dict[str, Any]]:
    """Speed-up of the preset with bars per LUT and DSP, against the same without sparsity."""
    size, tokens = _SIZE, _TOKENS
    only = with_kernels(_JUDGED, DENSE).shape
    shape = shipped(_JUDGED).shape
    base = measure(only, masked_weights("random", 0.0, size), "dense", tokens)["cycles"]
    per_lut = (dense["lut"] + dense["lutram"]) / (sparse["lut"] + sparse["lutram"])
    per_dsp = dense["dsp"] / sparse["dsp"]
    found = []
    for mask in MASKS:
        for sparsity in SPARSITIES[1:]:
            weights = masked_weights(mask, sparsity, size)
            gain = base / measure(shape, weights, "bitmap", tokens)["cycles"]
            found.append(
                {
                    "mask": mask,
                    "sparsity": sparsity,
                    "speed_up": gain,
                    "speed_up_per_lut": gain * per_lut,
                    "speed_up_per_dsp": gain * per_dsp,
                    "source": "cycles computed (cycle model), areas measured",
                }
            )
    return found


def run(progress: Callable[[str, int, int], None]) -> dict:
    """Every preset, the one with bars also dense only and by the method of computing."""
    cases = [(name, shipped(name), name in COMPUTED) for name in PRESETS]
    cases.append((f"{_JUDGED}, dense only", with_kernels(_JUDGED, DENSE), False))
    cases.append((f"{_JUDGED}, computed", shipped(_JUDGED), True))
    by_name: dict[str, dict[str, Any]] = {}
    for number, (name, derived, computed) in enumerate(cases):
        progress("synthesise", number, len(cases))
        by_name[name] = {"name": name, **_measured(derived, computed=computed)}
    whole, parts = by_name[_JUDGED], by_name.pop(f"{_JUDGED}, computed")
    dense = by_name[f"{_JUDGED}, dense only"]
    deviation = {name: parts[name] / whole[name] - 1 for name in ("lut", "ff", "dsp", "bram")}
    bars = [
        Bar(f"LUT per MAC, {_JUDGED}", whole["lut_per_mac"], 20, at_most=True),
        Bar(f"FF per MAC, {_JUDGED}", whole["ff_per_mac"], 55, at_most=True),
        Bar(f"DSP per MAC, {_JUDGED}", whole["dsp_per_mac"], 0.5, at_most=True),
        Bar(f"LUT per MAC, {_JUDGED} dense only", dense["lut_per_mac"], 15, at_most=True),
        Bar(
            f"deviation of the computed area, {_JUDGED}",
            max(map(abs, deviation.values())),
            _DEVIATION,
            at_most=True,
        ),
    ]
    figures = list(by_name.values())
    fullest = max(figures, key=lambda figure: max(figure["share"].values()))
    share = max(fullest["share"].values())
    bars.append(Bar(f"share of its part, {fullest['name']}, the fullest", share, 1, at_most=True))
    return {
        "title": "Whole arrays, presets as shipped on their own families (measured, "
        f"{whole['tool']}; those 'computed': "
        f"from one measured group and what surrounds the groups, on {_JUDGED} "
        f"{deviation['lut']:+.1%} LUT and {deviation['ff']:+.1%} FF of the flattened figures)",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "figures": figures,
        "computed_area": {"preset": _JUDGED, "deviation": deviation, "figure": parts},
        "speed_up_over_dense_only": _gains(whole, dense),
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    return (
        figure["name"] if figure["measured"] else f"{figure['name']}, computed",
        figure["mac"],
        f"{figure['lut_per_mac']:.1f}",
        f"{figure['ff_per_mac']:.1f}",
        f"{figure['dsp_per_mac']:.2f}",
        f"{figure['bram_per_mac']:.2f}",
        str(figure["lut"]),
        str(figure["ff"]),
        f"{figure['input_port_bits']:,}",
        f"{figure['output_port_bits']:,}",
    )
