"""``sparsefuse simulate``: the cocotb benches on the generated Verilog."""

import json
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from flows.files import write_bytes, write_json
from flows.generate import MANIFEST, generate, simulation_sources
from flows.terminal import print_table, progress_line
from golden.errors import BadInput, CheckFailed
from rtl_gen.config import Derived, derive, load
from sim.benches import BENCHES, SIMULATORS, Outcome, run_benches, simulator_version, wave_suffix

__all__ = ["register", "simulate"]

_LARGEST_SEED = 2**31 - 1

_Simulator = StrEnum("_Simulator", list(SIMULATORS))
_Bench = StrEnum("_Bench", list(BENCHES))


def simulate(
    derived: Derived,
    *,
    simulator: str = "verilator",
    seed: int = 0,
    benches: Sequence[str] = BENCHES,
    waves: Path | None = None,
    log: Path | None = None,
) -> list[Outcome]:
    """Generate the Verilog in a folder of its own and run benches on it.

    Args:
        derived: the configuration.
        simulator, seed, benches: see `sim.benches.run_benches`.
        waves: file that gets the waveforms.
        log: file that gets everything the simulator and the benches print.

    Raises:
        BadInput: a tool is missing.
        CheckFailed: the build failed, or the simulator ended without results.
        OSError: a file can't be written.
    """
    with tempfile.TemporaryDirectory(prefix="sparsefuse-") as name:
        folder = Path(name, "sim")
        folder.mkdir()
        rtl = generate(derived, Path(name, "rtl"))
        manifest = json.loads((rtl / MANIFEST).read_text("utf-8"))
        with progress_line() as progress:
            try:
                run = run_benches(
                    simulation_sources(rtl, manifest),
                    derived.shape,
                    int(derived.config_hash[:8], 16),
                    folder=folder,
                    simulator=simulator,
                    seed=seed,
                    benches=benches,
                    waves=waves is not None,
                    progress=progress,
                )
            finally:
                if log is not None:
                    text = folder / "simulate.log"
                    write_bytes(log, text.read_bytes() if text.exists() else b"")
        if waves is not None:
            write_bytes(waves, run.waves.read_bytes())
        return run.outcomes
