"""Generate: from a configuration to a folder of Verilog, manifest, constraints and register map."""

from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

from constraints.render import render
from flows.files import atomic_folder, write_json, write_text
from rtl_gen.design import Design
from rtl_gen.emit import verilog
from rtl_gen.top.describe import c_header, register_markdown

__all__ = ["MANIFEST", "generate", "simulation_sources"]

MANIFEST = "manifest.json"
_FORMAT = 1


def generate(design: Design, out: Path) -> Path:
    """Write everything a user needs to simulate, synthesise and drive a design.

    The folder holds ``sparsefuse.v`` (Verilog-2001), ``simulation/`` (twins of vendor
    primitives), ``manifest.json``, ``files.f``, constraints, and the register map as Markdown
    and C header. The same configuration gives the same bytes.

    Args:
        design: what the configuration derives to, of any top.
        out: folder; new, empty, or made by an earlier run.

    Returns:
        ``out``.

    Raises:
        BadInput: ``out`` holds something else.
        OSError: it can't be written; nothing is left half-written.
    """
    top = design.component()
    text = verilog(top)
    with atomic_folder(out) as folder:
        write_text(folder / "sparsefuse.v", text)
        sources = ["sparsefuse.v"]
        models = []
        if design.primitive is not None:
            name = f"simulation/{design.primitive}"
            source = files("rtl_gen.mac").joinpath("primitives", design.primitive)
            write_text(folder / name, source.read_text("utf-8"))
            models.append(name)
        constraints = render(design, design.technology)
        for name, content in constraints.items():
            write_text(folder / name, content)
        registers = register_markdown(design.registers, top.constants)
        write_text(folder / "registers.md", registers)
        write_text(folder / "sparsefuse_registers.h", c_header(design.top, design.registers))
        write_text(folder / "files.f", "".join(f"{name}\n" for name in sources + models))
        write_json(
            folder / MANIFEST,
            {
                "format": _FORMAT,
                "generator": f"sparsefuse {version('sparsefuse')}",
                "name": design.name,
                "kind": design.top,
                "top": top.module_name,
                "files": sources + models,
                "simulation_models": models,
                "constraints": sorted(constraints),
                **design.manifest(),
                "config": design.config.model_dump(mode="json"),
                "config_hash": design.config_hash,
                "device": design.device.name,
                "family": design.technology,
                "clock_mhz": design.clock_mhz,
                "tools": {"amaranth": version("amaranth"), "pyosys": version("pyosys")},
            },
        )
    return out


def simulation_sources(folder: Path, manifest: dict) -> list[Path]:
    """Paths of all Verilog files that a simulator needs."""
    return [folder / name for name in manifest["files"]]
