"""Area of a large array, computed from modules that are measured one by one.

Flattening thousands of lanes at once takes hours, and all groups of an array are alike: one is
measured flattened, what surrounds them is measured with empty groups, and the cells are added up
by the number of instances.  Only what synthesis would optimise across the groups' ports is missed;
`bench area` states how much that is.
"""

from collections import Counter
from pathlib import Path

from constraints.devices import devices
from flows.synth import area_figures, read_manifest, synthesise
from flows.synth_targets import TARGETS

__all__ = ["synthesise_parts"]

_SOURCE = "computed from measured modules"


def synthesise_parts(folder: Path, target: str, module: str, *, out: Path) -> dict:
    """Area of the manifest's array from one ``module`` and what surrounds its instances.

    Args:
        folder: holds ``manifest.json`` and the Verilog files that it names.
        target: a name of :data:`flows.synth_targets.TARGETS`.
        module: instantiated by the array, any number of times.
        out: folder for a folder of each run; made if missing.

    Returns:
        The fields of a report of `flows.synth.synthesise`; ``measured`` is False, ``source`` says
        what the figures are, and ``modules`` gives each module's instances and measured totals.

    Raises:
        BadInput: as `flows.synth.synthesise`.
        CheckFailed: a tool failed, or the array holds no such module.
    """
    manifest = read_manifest(folder)
    around = synthesise(folder, target, manifest.array, out=out / "around", boxes=(module,))
    one = synthesise(folder, target, module, out=out / module)
    instances = around["boxes"].pop(module)
    cells = Counter(around["cells"])
    for name, count in one["cells"].items():
        cells[name] += instances * count
    named = ("lut", "ff", "dsp", "bram", "lutram", "seconds")
    parts = [(manifest.array, 1, around), (module, instances, one)]
    return {
        **{name: value for name, value in around.items() if name != "boxes"},
        **area_figures(
            TARGETS[target], dict(sorted(cells.items())), devices()[around["part"]], manifest
        ),
        "seconds": round(around["seconds"] + one["seconds"], 3),
        "measured": False,
        "source": _SOURCE,
        "modules": [
            {"module": name, "instances": count, **{key: figure[key] for key in named}}
            for name, count, figure in parts
        ],
    }
