"""Highest clock after place and route with open tools: ECP5 (speed grade 6) and iCE40 UP5K.

Placement is a random search, so each array is placed with several seeds; the best and the worst
are shown and held to the bar: the best is what ``synth --seeds 3`` gives, the worst what one
without luck gives.  The array is measured without the AXI bus around it.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows import nextpnr
from flows.bench.bars import Bar
from flows.cache import cache_folder
from flows.generate import generate
from flows.synth import read_manifest, synthesise
from rtl_gen.config import Derived, derive, load, parse

__all__ = ["CASES", "HEADER", "SEEDS", "place", "run"]

HEADER = (
    *("array", "device", "MACs", "LUT", "FF", "DSP"),
    *("seeds", "worst MHz", "best MHz", "bar"),
)

Progress = Callable[[str, int, int], None]

SEEDS = (1, 2, 3)
# name, target, engines (None: the preset's), clock to reach in MHz, seeds; all eight engines of
# edge are not routed in twelve minutes, and four take six
CASES = (
    ("tiny", "ice40", None, 25.0, SEEDS),
    ("edge, 2 engines", "ecp5", 2, 120.0, SEEDS),
    ("edge, 4 engines", "ecp5", 4, 120.0, SEEDS[:1]),
)


def _derived(name: str, engines: int | None) -> Derived:
    """A preset, or ``edge`` with another number of engines."""
    base = load(name.partition(",")[0])
    if engines is None:
        return derive(base)
    raw = base.model_dump(mode="json")
    columns = raw["schedule"]["tile"]["n"] // raw["schedule"]["unroll"]["n"]
    raw["schedule"]["unroll"]["n"] = engines
    raw["schedule"]["tile"]["n"] = columns * engines
    return derive(parse(raw, "bench fmax"))


def place(
    derived: Derived, target: str, clock_mhz: float, seeds: Sequence[int], progress: Progress
) -> dict[str, Any]:
    """Synthesise once, place and route once per seed.

    Returns:
        The synthesis report's area, and ``fmax_mhz``, one figure per seed.
    """
    folder = cache_folder("synth")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        progress(f"{derived.name} on {target}", 0, len(seeds))
        design = generate(derived, Path(scratch, "rtl"))
        manifest = read_manifest(design)
        out = Path(scratch, "synth")
        report = synthesise(design, target, manifest.array, True, out=out, clock_mhz=clock_mhz)
        runs = [report["pnr"]]
        # Place and route leaves the netlist that it took, on iCE40 that of a shell with few pins.
        netlist = out / "pnr" / "placed.json"
        for number, seed in enumerate(seeds[1:], 1):
            progress(f"{derived.name} on {target}", number, len(seeds))
            runs.append(
                nextpnr.place_and_route(
                    netlist,
                    derived.device,
                    freq_mhz=clock_mhz,
                    out=out / f"pnr_{seed}",
                    seed=seed,
                )
            )
    area = {name: report[name] for name in ("lut", "ff", "dsp", "bram", "macs", "tool")}
    return {
        "target": target,
        **area,
        "device": report["pnr"]["device"],
        "pnr_tool": report["pnr"]["tool"],
        "seeds": [run["seed"] for run in runs],
        "fmax_mhz": [run["fmax_mhz"] for run in runs],
        "used": report["pnr"]["used"],
        "config_hash": derived.config_hash,
        "measured": True,
    }


def run(progress: Progress, cases: Sequence[tuple] = CASES) -> dict:
    """Every case with every seed; minutes in all.

    Args:
        progress: called with (what, done, total).
        cases: as `CASES`; the first seed of each must be 1.
    """
    figures, bars = [], []
    for name, target, engines, clock_mhz, seeds in cases:
        figure = place(_derived(name, engines), target, clock_mhz, seeds, progress)
        figures.append({"name": name, "clock_mhz": clock_mhz, **figure})
        reached = {"best": max(figure["fmax_mhz"]), "worst": min(figure["fmax_mhz"])}
        bars += [
            Bar(f"MHz, {name} on {target}, {k} seed", v, clock_mhz) for k, v in reached.items()
        ]
    tools = ", ".join(sorted({f["pnr_tool"] for f in figures}))
    return {
        "title": f"Clock after place and route (measured, {figures[0]['tool']}, {tools})",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "figures": figures,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[object, ...]:
    return (
        figure["name"],
        f"{figure['target']} {figure['device']}",
        figure["macs"],
        figure["lut"],
        figure["ff"],
        figure["dsp"],
        len(figure["seeds"]),
        f"{min(figure['fmax_mhz']):.1f}",
        f"{max(figure['fmax_mhz']):.1f}",
        f"{figure['clock_mhz']:g}",
    )
