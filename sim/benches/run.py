"""Runs benches on a simulator: build, simulate, read the results."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from golden.errors import CheckFailed
from golden.operators.detection import DetectorShape
from golden.shape import ArrayShape
from sim.verilator import find_compiler
from sim.verilator.runtime import keep_objects, lend_objects, object_folder

from .power_up import powered_up
from .process import BUILD, LOG, environment_of, run_child, tail

__all__ = [
    "BENCHES",
    "BENCHES_OF",
    "PERIOD_NS",
    "SIMULATORS",
    "Built",
    "Outcome",
    "build_benches",
    "play_benches",
    "run_benches",
    "tool_versions",
    "wave_suffix",
]

BENCHES = ("registers", "product", "formats", "reset", "bad_program", "cycle_count")
"""Modules of this package that hold cocotb tests of the array top."""

BENCHES_OF = {
    "array": BENCHES,
    "detect": tuple(
        f"detect.{name}" for name in ("registers", "events", "reset", "bad_program", "cycle_count")
    ),
}
"""The benches of each top, by ``interface.top``."""

SIMULATORS = ("verilator", "icarus")

PERIOD_NS = 10
"""Clock period of the benches."""

_WAVES = {"verilator": Path("dump.vcd"), "icarus": Path(BUILD, "sparsefuse.fst")}
# cocotb's runner makes every signal public, which costs speed and hides from Verilator that some
# signals are only parts of each other; the benches use the ports alone.
_PUBLIC = """\
`verilator_config
public_flat_rw -module "sparsefuse" -var "clk"
public_flat_rw -module "sparsefuse" -var "rst"
public_flat_rw -module "sparsefuse" -var "s_axi*"
public_flat_rw -module "sparsefuse" -var "m_axis_*"
"""
# Amaranth's Verilog leaves widths to the language's rules, and assignments to parts of one signal
# look circular, which costs speed alone: these three warnings and no other.
_WAIVED = ("-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC", "-Wno-UNOPTFLAT")
_VERILATOR_ARGS = ("--no-public-flat-rw", *_WAIVED, "-O3")
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


@dataclass(frozen=True)
class Built:
    """An array compiled for a simulator; benches run on it as often as wanted, also side by side.

    Attributes:
        folder: where it was built.
        simulator: a name of ``SIMULATORS``.
        settings: what the benches read: shape, hash and seed.
        waves: whether it writes waveforms.
    """

    folder: Path
    simulator: str
    settings: dict
    waves: bool


def build_benches(
    sources: Sequence[Path],
    shape: ArrayShape | DetectorShape,
    config_hash: int,
    *,
    folder: Path,
    simulator: str = "verilator",
    seed: int = 0,
    waves: bool = False,
    arguments: Sequence[str] = (),
    cache: Path | None = None,
) -> Built:
    """Compile a top for a simulator, from a random start of its registers and memories.

    Args:
        sources: the emitted Verilog first, then twins of primitives.
        shape, config_hash: what the Verilog was generated from.
        folder: existing folder to work in; keeps the log.
        simulator: a name of ``SIMULATORS``.
        seed: of the start and of all random stimuli.
        waves: whether runs write waveforms.
        arguments: further arguments of the simulator's compiler.
        cache: folder that keeps the objects of Verilator's library between builds.

    Raises:
        BadInput: a tool is missing.
        CheckFailed: the build failed.
    """
    environment = environment_of(simulator)
    started = folder / "started.v"
    started.write_text(powered_up(sources[0].read_text("utf-8"), seed), "utf-8")
    files = [str(path.resolve()) for path in (started, *sources[1:])]
    if simulator == "verilator":
        (folder / "public.vlt").write_text(_PUBLIC, "utf-8")
        files.append(str((folder / "public.vlt").resolve()))
        arguments = (*_VERILATOR_ARGS, *arguments)
    job = {"sources": files, "build_args": list(arguments), "simulator": simulator, "waves": waves}
    log = folder / LOG
    log.write_bytes(b"")
    kept = None
    if cache is not None and simulator == "verilator":
        options = (version("cocotb"), environment["MAKEFLAGS"], f"waves {waves}")
        kept = object_folder(cache, find_compiler(), options)
        (folder / "lent").mkdir()
        lend_objects(kept, folder / "lent")
        lender = folder / "lend.sh"
        lender.write_text(_LENDER, "utf-8")
        lender.chmod(0o755)
        environment["MAKEFLAGS"] += f" OBJCACHE={lender.resolve()}"
    status = run_child(job | {"step": "build"}, folder, environment, lambda: False)
    if status:
        raise CheckFailed(f"{simulator}: the build failed with status {status}\n{tail(log)}")
    if kept is not None:
        # Of Verilator and of cocotb; the design's own are named Vtop.
        keep_objects(kept, sorted((folder / BUILD).glob("verilat*.o")))
    settings = {"shape": asdict(shape), "config_hash": config_hash, "seed": seed}
    return Built(folder.resolve(), simulator, settings, waves)


def play_benches(
    built: Built,
    folder: Path,
    benches: Sequence[str] = BENCHES,
    *,
    plusargs: Sequence[str] = (),
    only: str | None = None,
    watch: Callable[[str], bool] = lambda log: False,
) -> tuple[int, list[Outcome]]:
    """Run benches on what was built.

    Args:
        built: the array.
        folder: existing folder to work in; keeps the log.
        benches: names of ``BENCHES``.
        only: regular expression of the names of the tests to run; all of them by default.
        plusargs: arguments of the simulation, which its ``$value$plusargs`` finds.
        watch: called with the log so far, a few times a second; true ends the run.

    Returns:
        The simulator's status and one outcome per test, in the order in which they ran; none if
        it did not reach its end.

    Raises:
        BadInput: a tool is missing.
    """
    (folder / "bench.json").write_text(json.dumps(built.settings), "utf-8")
    job = {
        "step": "test",
        "simulator": built.simulator,
        "build_dir": str(built.folder / BUILD),
        "benches": list(benches),
        "seed": built.settings["seed"],
        "waves": built.waves,
        "plusargs": list(plusargs),
        "only": only,
    }
    results = folder / "results.xml"
    results.unlink(missing_ok=True)

    def ends() -> bool:
        return watch((folder / LOG).read_text("utf-8", errors="replace"))

    status = run_child(job, folder, environment_of(built.simulator), ends)
    return status, _outcomes(results) if results.is_file() else []


def run_benches(
    sources: Sequence[Path],
    shape: ArrayShape | DetectorShape,
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
    """Build a top and run cocotb benches on it.

    Args:
        sources, shape, config_hash, folder, simulator, seed: see `build_benches`.
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
    report("build", 0, 1)
    built = build_benches(
        sources,
        shape,
        config_hash,
        folder=folder,
        simulator=simulator,
        seed=seed,
        waves=waves is not None,
        cache=cache,
    )
    report("build", 1, 1)

    def count(text: str) -> bool:
        # cocotb announces each test as "running <name> (<number>/<total>)".
        marks = [line.rpartition("(")[2] for line in text.splitlines() if " running " in line]
        if marks and "/" in marks[-1]:
            number, _, total = marks[-1].partition(")")[0].partition("/")
            report("simulate", int(number) - 1, int(total))
        return False

    status, outcomes = play_benches(built, folder, benches, only=only, watch=count)
    log = folder / LOG
    if not outcomes:
        raise CheckFailed(
            f"{simulator}: the simulation ended with status {status} without results\n{tail(log)}"
        )
    if status and all(outcome.passed for outcome in outcomes):
        raise CheckFailed(f"{simulator}: the simulation ended with status {status}\n{tail(log)}")
    if waves is not None:
        shutil.move(folder / _WAVES[simulator], waves)
    return outcomes


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
