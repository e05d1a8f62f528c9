"""Generate: from a configuration to a folder of Verilog, manifest, constraints and register map."""

from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from constraints.render import render
from flows.files import atomic_folder, write_json, write_text
from rtl_gen.config import Derived
from rtl_gen.emit import verilog
from rtl_gen.mac import PRIMITIVES
from rtl_gen.top import ArrayTop
from rtl_gen.top.describe import c_header, describe_selector, register_markdown
from rtl_gen.top.registers import registers_of

__all__ = ["MANIFEST", "PRIMITIVES", "generate", "simulation_sources"]

MANIFEST = "manifest.json"
_FORMAT = 1


def generate(derived: Derived, out: Path) -> Path:
    """Write everything a user needs to simulate, synthesise and drive the array.

    The folder holds ``sparsefuse.v`` (Verilog-2001), ``simulation/`` (twins of vendor
    primitives), ``manifest.json``, ``files.f``, constraints, and the register map as Markdown
    and C header. The same configuration gives the same bytes.

    Args:
        derived: the configuration.
        out: folder; new, empty, or made by an earlier run.

    Returns:
        ``out``.

    Raises:
        BadInput: ``out`` holds something else.
        OSError: it can't be written; nothing is left half-written.
    """
    shape = derived.shape
    selector = derived.selector
    top = ArrayTop(shape, int(derived.config_hash[:8], 16), selector)
    text = verilog(top)
    with atomic_folder(out) as folder:
        write_text(folder / "sparsefuse.v", text)
        sources = ["sparsefuse.v"]
        models = []
        if shape.mac in PRIMITIVES:
            name = f"simulation/{PRIMITIVES[shape.mac]}"
            source = files("rtl_gen.mac").joinpath("primitives", PRIMITIVES[shape.mac])
            write_text(folder / name, source.read_text("utf-8"))
            models.append(name)
        constraints = render(derived, derived.technology)
        for name, content in constraints.items():
            write_text(folder / name, content)
        registers = registers_of(selector is not None)
        write_text(folder / "registers.md", register_markdown(registers, top.constants))
        write_text(folder / "sparsefuse_registers.h", c_header("array", registers))
        write_text(folder / "files.f", "".join(f"{name}\n" for name in sources + models))
        write_json(
            folder / MANIFEST,
            {
                "format": _FORMAT,
                "generator": f"sparsefuse {version('sparsefuse')}",
                "name": derived.name,
                "top": top.module_name,
                "array": "sf_array",
                "engine": "sf_engine",
                "files": sources + models,
                "simulation_models": models,
                "constraints": sorted(constraints),
                "macs": shape.multipliers,
                "shape": asdict(shape),
                "selector": None if selector is None else describe_selector(selector),
                "config": derived.config.model_dump(mode="json"),
                "config_hash": derived.config_hash,
                "device": derived.device.name,
                "family": derived.technology,
                "clock_mhz": derived.clock_mhz,
                "tools": {"amaranth": version("amaranth"), "pyosys": version("pyosys")},
            },
        )
    return out


def simulation_sources(folder: Path, manifest: dict) -> list[Path]:
    """Paths of all Verilog files that a simulator needs."""
    return [folder / name for name in manifest["files"]]
