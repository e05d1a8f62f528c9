"""``sparsefuse simulate``: the cocotb benches on the generated Verilog."""

import json
import re
import secrets
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cache import cache_folder
from flows.files import check_outputs, write_bytes, write_json
from flows.generate import MANIFEST, generate, simulation_sources
from flows.terminal import print_table, progress_line
from golden.errors import BadInput, CheckFailed
from rtl_gen.config import Config, derive, load
from rtl_gen.design import Design
from sim.benches import (
    BENCHES_OF,
    LOG,
    SIMULATORS,
    Outcome,
    run_benches,
    tail,
    tool_versions,
    wave_suffix,
)

__all__ = ["log_path", "register", "simulate"]

_LARGEST_SEED = 2**31 - 1

_Simulator = StrEnum("_Simulator", list(SIMULATORS))
_NAMES = tuple(name for benches in BENCHES_OF.values() for name in benches)
_Bench = StrEnum("_Bench", list(_NAMES))


def log_path(derived: Design, simulator: str) -> Path:
    """Where the log of the last simulation of a design is kept."""
    return cache_folder("simulate") / f"{derived.name}-{simulator}.log"


def simulate(
    derived: Design,
    *,
    simulator: str = "verilator",
    seed: int = 0,
    benches: Sequence[str] | None = None,
    waves: Path | None = None,
) -> list[Outcome]:
    """Generate the Verilog in a folder of its own and run benches on it; `log_path` has the log.

    Args:
        derived: the configuration.
        benches: by default all of the configuration's top.
        simulator, seed, waves: see `sim.benches.run_benches`.

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
        try:
            with progress_line() as progress:
                return run_benches(
                    simulation_sources(rtl, manifest),
                    derived.shape,
                    derived.hash_word,
                    folder=folder,
                    simulator=simulator,
                    seed=seed,
                    benches=BENCHES_OF[derived.top] if benches is None else benches,
                    waves=waves,
                    cache=cache_folder("verilator"),
                    progress=progress,
                )
        finally:
            if (folder / LOG).exists():
                write_bytes(log_path(derived, simulator), (folder / LOG).read_bytes())


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command("simulate")
    def command(
        config: Annotated[str, typer.Argument(help="Configuration file or preset name.")],
        simulator: Annotated[
            _Simulator,
            typer.Option(
                help="Simulator to run on: Verilator is fast, Icarus an independent opinion."
            ),
        ] = _Simulator("verilator"),
        seed: Annotated[
            int | None,
            typer.Option(help="Seed of all random stimuli; a fresh one by default.", min=0),
        ] = None,
        waves: Annotated[
            Path | None,
            typer.Option(
                help="File to write waveforms to, .vcd from Verilator, .fst from Icarus; none by "
                "default."
            ),
        ] = None,
        bench: Annotated[
            list[_Bench] | None,
            typer.Option(
                metavar="NAME",
                help=f"Run this bench only; may be repeated; all by default. Of an array: "
                f"{', '.join(BENCHES_OF['array'])}.",
            ),
        ] = None,
        report: Annotated[
            Path | None, typer.Option(help="JSON report to write; none by default.")
        ] = None,
    ) -> None:
        """Run the cocotb benches on the generated Verilog."""
        check_outputs({"--report": report, "--waves": waves}, {"CONFIG": config})
        derived = derive(load(config, Config))
        known = BENCHES_OF[derived.top]
        if waves is not None:
            _check_waves(waves, simulator.value)
        if seed is None:
            seed = secrets.randbelow(_LARGEST_SEED)
        benches = tuple(dict.fromkeys(b.value for b in bench)) if bench else known
        for name in benches:
            if name not in known:
                raise BadInput(
                    f"--bench: must be one of {', '.join(known)} where interface.top is "
                    f"{derived.top}, got {name}"
                )
        chosen = "".join(f" --bench {name}" for name in benches) if bench else ""
        replay = f"sparsefuse simulate {config} --simulator {simulator.value} --seed {seed}{chosen}"
        typer.echo(f"seed {seed}; replay: {replay}", err=True)
        outcomes = simulate(
            derived, simulator=simulator.value, seed=seed, benches=benches, waves=waves
        )
        rows = [
            (
                f"{o.bench}: {_readable(o.test)}",
                "pass" if o.passed else "FAIL",
                f"{o.cycles}",
                f"{o.seconds:.2f}",
            )
            for o in outcomes
        ]
        title = f"{derived.name} on {simulator.value}, seed {seed}"
        print_table(title, ("bench: test", "result", "cycles", "seconds"), rows)
        failed = [outcome for outcome in outcomes if not outcome.passed]
        if report is not None:
            figures = {
                "config": derived.config.model_dump(mode="json"),
                "config_hash": derived.config_hash,
                "simulator": simulator.value,
                "tools": tool_versions(simulator.value),
                "seed": seed,
                "replay": replay,
                "passed": len(outcomes) - len(failed),
                "failed": len(failed),
                "tests": [asdict(outcome) for outcome in outcomes],
            }
            write_json(report, figures)
        log = log_path(derived, simulator.value)
        if failed:
            typer.echo(tail(log), err=True)
            names = ", ".join(f"{o.bench}.{o.test} ({o.message})" for o in failed)
            raise CheckFailed(f"{len(failed)} of {len(outcomes)} tests failed: {names}; log: {log}")


def _readable(test: str) -> str:
    """A cocotb test's name without the names of its parameters."""
    return re.sub(r"/\w+=", " ", test)


def _check_waves(waves: Path, simulator: str) -> None:
    """Refuse a file that could not be written, before minutes are spent."""
    suffix = wave_suffix(simulator)
    if waves.suffix != suffix:
        raise BadInput(f"{waves}: --waves: must end in {suffix} with {simulator}, got {waves.name}")
    if waves.is_dir() or not waves.resolve().parent.is_dir():
        raise BadInput(f"{waves}: --waves: must be a file in an existing folder, got none")
