"""Emission: Amaranth components to deterministic Verilog, each distinct module once."""

import subprocess
import sys
import tempfile
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from .distinct import Emission

__all__ = ["convert"]

# Runs in a process of its own: Yosys prints to the terminal and keeps state.
_WRITE = """
import os, sys
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
from pyosys import libyosys as yosys
design = yosys.Design()
for source in sys.argv[2:]:
    yosys.run_pass("read_rtlil " + source, design)
for command in ("proc -nomux -norom", "delete t:$meminit*", "memory_collect", "opt_clean",
                "setattr -mod -unset generator",
                "write_verilog -noattr " + sys.argv[1]):
    yosys.run_pass(command, design)
"""


def convert(top: wiring.Component) -> dict[str, str]:
    """Convert a component and everything it places.

    Args:
        top: a component with a ``module_name``.

    Returns:
        RTLIL text by module name, children after their parents.
    """
    emission = Emission()
    emission.pending[top.module_name] = top  # type: ignore[attr-defined]
    texts: dict[str, str] = {}
    while remaining := [name for name in emission.pending if name not in texts]:
        name = remaining[0]
        component = emission.pending[name]
        texts[name] = rtlil.convert(component, name=name, platform=emission, emit_src=False)
    return texts


def verilog(top: wiring.Component) -> str:
    """Return the Verilog of ``top`` and all modules below it."""
    texts = convert(top)
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for name, text in texts.items():
            Path(folder, f"{name}.il").write_text(text)
            names.append(f"{name}.il")
        subprocess.run(
            [sys.executable, "-P", "-c", _WRITE, "out.v", *names], cwd=folder, check=True
        )
        return Path(folder, "out.v").read_text()
