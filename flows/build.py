"""Where built things are kept between runs."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from flows.generate import MANIFEST, generate, simulation_sources
from rtl_gen.config import Derived
from sim.verilator import ArrayDevice, build_library

__all__ = ["cache_folder", "open_device"]


def cache_folder(kind: str) -> Path:
    """Folder for one kind of built thing, below the user's cache folder."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root, "sparsefuse", kind)


def open_device(
    derived: Derived, progress: Callable[[str, int, int], None] | None = None
) -> ArrayDevice:
    """Generate, verilate (once per distinct Verilog) and open the simulated array.

    Raises:
        BadInput: a tool is missing.
        CheckFailed: a tool failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        generated = generate(derived, Path(folder, "rtl"))
        manifest = json.loads((generated / MANIFEST).read_text())
        sources = simulation_sources(generated, manifest)
        library = build_library(derived.shape, sources, cache_folder("verilator"), progress)
    return ArrayDevice(derived.shape, library)
