"""Highest clock of the presets after place and route with open tools: ECP5 and iCE40 UP5K.

Placement is a random search, so each array is placed with several seeds; the median is held to the
bar, the worst and the best are shown.  `edge` is also placed with fewer engines, because a part
that is hardly used says what the array itself can do, and a full one what is left of that.  The
array is measured without the AXI bus around it.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows import nextpnr
from flows.bench.bars import Bar
from flows.bench.presets import cut, shipped
from flows.cache import cache_folder
from flows.generate import generate
from flows.synth import read_manifest, synthesise
from rtl_gen.config import Derived

__all__ = ["CASES", "HEADER", "SEEDS", "Case", "place", "run"]

HEADER = (
    *("array", "part", "MACs", "LUT", "FF"),
    *("worst MHz", "median MHz", "best MHz", "bar", "seconds"),
)

Progress = Callable[[str, int, int], None]

SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Case:
    """A preset to place and route.

    Attributes:
        preset: its name.
        bar: clock in MHz that the median of the seeds must reach, and that nextpnr aims for; None
            where the part's family has no open place and route.
        multipliers: lanes in total that the preset is cut to; None as shipped.
    """

    preset: str
    bar: float | None = None
    multipliers: int | None = None

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.preset if self.multipliers is None else f"{self.preset}, cut"

    @property
    def derived(self) -> Derived:
        """The array."""
        if self.multipliers is None:
            return shipped(self.preset)
        return cut(self.preset, self.multipliers)


CASES = (Case("tiny", 36), Case("edge", 110), Case("edge", 140, 32), Case("mid"), Case("large"))


def place(
    derived: Derived, clock_mhz: float, seeds: Sequence[int], progress: Progress
) -> dict[str, Any]:
    """Synthesise once for the array's own part, place and route once per seed.

    Args:
        derived: the array.
        clock_mhz: clock to aim for.
        seeds: the first must be 1.
        progress: called with (what, done, total).

    Returns:
        The synthesis report's area, and per seed ``fmax_mhz`` and ``seconds``.
    """
    what, target = f"{derived.name}, {derived.shape.multipliers} MACs", derived.technology
    folder = cache_folder("synth")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        progress(what, 0, len(seeds))
        design = generate(derived, Path(scratch, "rtl"))
        manifest = read_manifest(design)
        out = Path(scratch, "synth")
        report = synthesise(design, target, manifest.array, True, out=out, clock_mhz=clock_mhz)
        runs = [report["pnr"]]
        # Place and route leaves the netlist that it took, on iCE40 that of a shell with few pins.
        netlist = out / "pnr" / "placed.json"
        for number, seed in enumerate(seeds[1:], 1):
            progress(what, number, len(seeds))
            runs.append(
                nextpnr.place_and_route(
                    netlist,
                    derived.device,
                    freq_mhz=clock_mhz,
                    out=out / f"pnr_{seed}",
                    seed=seed,
                )
            )
    area = ("lut", "ff", "dsp", "bram", "macs", "mac", "tool", "seconds", "share")
    return {
        **{name: report[name] for name in area},
        "device": report["pnr"]["device"],
        "pnr_tool": report["pnr"]["tool"],
        "seeds": [run["seed"] for run in runs],
        "fmax_mhz": [run["fmax_mhz"] for run in runs],
        "pnr_seconds": [run["seconds"] for run in runs],
        "used": report["pnr"]["used"],
        "measured": True,
    }


def run(progress: Progress, cases: Sequence[Case] = CASES, seeds: Sequence[int] = SEEDS) -> dict:
    """Every case that has place and route with every seed; minutes a seed for the largest.

    Args:
        progress: called with (what, done, total).
        cases: as `CASES`; at least one with a bar.
        seeds: of each case; the first must be 1.
    """
    figures, bars = [], []
    # All are derived before the first takes its minutes: what can't be built says so at once.
    arrays = [case.derived for case in cases]
    for case, derived in zip(cases, arrays, strict=True):
        figure = {
            "name": case.name,
            "part": derived.device.name,
            "target": derived.technology,
            "macs": derived.shape.multipliers,
            "clock_mhz": case.bar,
            "config_hash": derived.config_hash,
        }
        if case.bar is not None:
            figure |= place(derived, case.bar, seeds, progress)
            median = statistics.median(figure["fmax_mhz"])
            bars.append(
                Bar(f"MHz, {case.name}, median of {len(figure['seeds'])} seeds", median, case.bar)
            )
        figures.append(figure)
    measured = [f for f in figures if f["clock_mhz"] is not None]
    tools = ", ".join(sorted({f["pnr_tool"] for f in measured}))
    return {
        "title": f"Clock after place and route, {len(seeds)} seeds (measured, "
        f"{measured[0]['tool']}, {tools}; seconds of the slowest seed; "
        "-: no open place and route for the part)",
        "header": HEADER,
        "rows": [_row(f) for f in figures],
        "figures": figures,
        "bars": [bar.report() for bar in bars],
    }


def _row(figure: dict[str, Any]) -> tuple[str, ...]:
    head = (figure["name"], figure["part"], str(figure["macs"]))
    if figure["clock_mhz"] is None:
        return (*head, *["-"] * (len(HEADER) - len(head)))
    clocks = figure["fmax_mhz"]
    return (
        *head,
        *(str(figure[name]) for name in ("lut", "ff")),
        *(f"{value:.1f}" for value in (min(clocks), statistics.median(clocks), max(clocks))),
        f"{figure['clock_mhz']:g}",
        f"{max(figure['pnr_seconds']):.0f}",
    )
