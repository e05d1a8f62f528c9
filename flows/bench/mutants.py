"""How many deliberate faults the cocotb benches notice, and which they don't.

Yosys lists mutations of the Verilog of preset ``test`` (``mutate -list`` after ``proc;
opt_clean``).  All of them are built into one design, each behind its number; a run of the benches
sets one number and ends with the first test that fails.  A mutant that no test notices survived,
unless it is equivalent: proved (`flows.bench.miter`), or judged so (`flows.bench.judged`).

Results are kept by what they depend on, one file a mutant: a run that was cut short goes on where
it stopped.
"""

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import golden
import sim.benches
from flows.bench.bars import Bar
from flows.bench.judged import Judged, change_of, judged_mutants
from flows.bench.miter import proved_equal
from flows.cache import cache_folder
from flows.files import write_json
from flows.generate import MANIFEST, generate, simulation_sources
from flows.yosys import run as run_yosys
from golden.errors import BadInput, CheckFailed
from rtl_gen.config import Derived, derive, load
from sim.benches import Built, build_benches, play_benches, tail
from sim.benches.process import LOG

__all__ = ["HEADER", "run"]

HEADER = ("module: change", "state", "what")

_PRESET = "test"
_LIST_SEED = 5
_SEED = 1  # of the benches
_BAR = 0.95
_PROCESSES = 2
# What a mutant may take at most, in times of the whole array: its loops may have no end.
_PATIENCE = 6
# The quick ones first: most mutants fall to any of them.
_ORDER = ("registers", "cycle_count", "formats", "bad_program", "reset", "product")
_PREPARE = ("read_verilog sparsefuse.v", "hierarchy -check -top sparsefuse", "proc", "opt_clean")
_FAILED = re.compile(r"cocotb\.regression +sim\.benches\.(\S+) failed")
# What ends a simulation from outside says nothing about a mutant: SIGKILL and SIGTERM.
_STOPPED = re.compile(r"return code: -(?:9|15)\b")
_SHOWN = 90


def run(
    progress: Callable[[str, int, int], None], *, count: int = 100, block: str | None = None
) -> dict:
    """Run the benches on mutants of preset ``test``.

    Args:
        progress: called with (what, done, total).
        count: mutants to list, at least 1; Yosys may find fewer in a small block.
        block: module to change; any by default.

    Raises:
        BadInput: ``count`` or ``block`` is none, or a tool is missing.
        CheckFailed: a tool failed or was stopped, or the benches fail without a mutant.
    """
    if count < 1:
        raise BadInput(f"bench mutants: --count: must be at least 1, got {count}")
    derived = derive(load(_PRESET))
    with tempfile.TemporaryDirectory(prefix="sparsefuse-") as name:
        folder = Path(name)
        rtl = generate(derived, folder / "rtl")
        manifest = json.loads((rtl / MANIFEST).read_text("utf-8"))
        source, *twins = simulation_sources(rtl, manifest)
        progress("list", 0, 1)
        mutations = _listed(source, folder, count, block)
        changes = _described(folder, mutations)
        judged = judged_mutants((folder / "reference").glob("*.v"))
        progress("build", 0, 1)
        sources = [_mutated(folder, mutations), _numbered(source, folder, len(mutations)), *twins]
        found = _played(sources, derived, folder, mutations, progress)
    return _report(mutations, changes, judged, found)


def _yosys(commands: list[str], folder: Path, name: str) -> None:
    run_yosys(commands, folder, log_name=f"{name}.log")


def _listed(source: Path, folder: Path, count: int, block: str | None) -> list[dict[str, str]]:
    """Mutations as Yosys names them: mode, module, cell, port and bits."""
    (folder / "sparsefuse.v").write_bytes(source.read_bytes())
    modules = re.findall(r"^module (\\\S+|\w+)", source.read_text("utf-8"), re.MULTILINE)
    known = [module.removeprefix("\\") for module in modules]
    if block is not None and block not in known:
        raise BadInput(f"bench mutants: --block: must be one of {', '.join(known)}, got {block!r}")
    chosen = f"-module {block} " if block else ""
    listing = f"mutate -list {count} -seed {_LIST_SEED} {chosen}-o mutations.txt"
    _yosys([*_PREPARE, "write_rtlil prepared.il", listing], folder, "list")
    mutations = []
    for line in (folder / "mutations.txt").read_text("utf-8").splitlines():
        words = line.split()
        options = dict(zip(words[1::2], words[2::2], strict=True))
        names = ("-mode", "-module", "-cell", "-port", "-portbit", "-ctrlbit")
        mutations.append({name[1:]: options[name] for name in names if name in options})
    return mutations


def _command(mutation: dict[str, str]) -> str:
    return "mutate " + " ".join(f"-{name} {value}" for name, value in mutation.items())


def _described(folder: Path, mutations: list[dict[str, str]]) -> list[list[str]]:
    """The lines of Verilog that each mutation changes, under names that follow from neighbours.

    The array without a mutation stays in ``reference``, one file a module.
    """
    named = ["rename -hide w:_*_", "autoname", "memory_collect", "setattr -unset src"]
    (folder / "reference").mkdir()
    (folder / "mutated").mkdir()
    commands = ["read_rtlil prepared.il", "design -save prepared"]
    for module in sorted({mutation["module"] for mutation in mutations}):
        file = f"reference/{module}.v"
        commands += ["design -load prepared", f"select {module}", *named]
        commands += [f"write_verilog -noattr -selected {file}", "select -clear"]
    for number, mutation in enumerate(mutations):
        commands += ["design -load prepared", f"select {mutation['module']}", _command(mutation)]
        commands += [*named, f"write_verilog -noattr -selected mutated/{number}.v", "select -clear"]
    _yosys(commands, folder, "describe")
    return [
        change_of(
            (folder / "reference" / f"{mutation['module']}.v").read_text("utf-8"),
            (folder / "mutated" / f"{number}.v").read_text("utf-8"),
        )
        for number, mutation in enumerate(mutations)
    ]


def _mutated(folder: Path, mutations: list[dict[str, str]]) -> Path:
    """The array with all mutations, of which input ``mutant`` chooses one; 0 chooses none."""
    bits = len(mutations).bit_length()
    commands = ["read_rtlil prepared.il"]
    for number, mutation in enumerate(mutations, start=1):
        commands.append(f"{_command(mutation)} -ctrl mutant {bits} {number}")
    commands += ["memory_collect", "rename sparsefuse sparsefuse_mutated", "setattr -unset src"]
    _yosys([*commands, "write_verilog -noattr mutated.v"], folder, "mutate")
    return folder / "mutated.v"


def _numbered(source: Path, folder: Path, count: int) -> Path:
    """A top with the ports of the array, whose mutant is an argument of the simulation."""
    text = source.read_text("utf-8")
    top = re.split(r"^module sparsefuse\b", text, flags=re.MULTILINE)[1].partition("endmodule")[0]
    ports = re.findall(r"^  ((?:input|output) (?:\[\d+:0\] )?(\w+));$", top, re.MULTILINE)
    declared = ",\n  ".join(port for port, _ in ports)
    connected = ", ".join(f".{name}({name})" for _, name in ports)
    wrapper = f"""module sparsefuse(
  {declared}
);
  reg [{count.bit_length() - 1}:0] mutant;
  initial if (!$value$plusargs("mutant=%d", mutant)) mutant = 0;
  sparsefuse_mutated top({connected}, .mutant(mutant));
endmodule
"""
    path = folder / "numbered.v"
    path.write_text(wrapper, "utf-8")
    return path


def _played(
    sources: list[Path],
    derived: Derived,
    folder: Path,
    mutations: list[dict[str, str]],
    progress: Callable[[str, int, int], None],
) -> list[dict]:
    """One result per mutant: the test that noticed it, empty if none did, and the seconds.

    Of those that none noticed, ``proved`` says whether they are equivalent.
    """
    (folder / "build").mkdir()
    built = build_benches(
        sources,
        derived.shape,
        int(derived.config_hash[:8], 16),
        folder=folder / "build",
        seed=_SEED,
        arguments=("-Wno-lint", "-Wno-fatal"),
        cache=cache_folder("verilator"),
    )
    progress("build", 1, 1)
    kept = cache_folder("mutants") / _digest(sources)
    started = time.monotonic()
    baseline = _play(built, folder, 0, None)
    if baseline["by"]:
        raise CheckFailed(f"bench mutants: the array without a mutant fails: {baseline['by']}")
    limit = _PATIENCE * (time.monotonic() - started) * _PROCESSES
    done = 0

    def one(number: int) -> dict:
        nonlocal done
        file = kept / f"{number}.json"
        if file.is_file():
            result = json.loads(file.read_text("utf-8"))
        else:
            result = _play(built, folder, number, limit)
            if not result["by"]:
                mutation = mutations[number - 1]
                place, prepared = folder / f"run{number}", folder / "prepared.il"
                result["proved"] = proved_equal(
                    prepared, mutation["module"], _command(mutation), place
                )
            write_json(file, result)
        done += 1
        progress("mutants", done, len(mutations))
        return result

    with ThreadPoolExecutor(min(_PROCESSES, os.cpu_count() or 1)) as pool:
        try:
            return list(pool.map(one, range(1, len(mutations) + 1)))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _play(built: Built, folder: Path, number: int, limit: float | None) -> dict:
    """Run the benches on one mutant until a test fails or ``limit`` seconds have passed.

    Raises:
        CheckFailed: the simulation was stopped from outside.
    """
    place = folder / f"run{number}"
    place.mkdir()
    started = time.monotonic()
    late = False

    def ends(log: str) -> bool:
        nonlocal late
        late = limit is not None and time.monotonic() - started > limit
        return late or bool(_FAILED.search(log))

    status, outcomes = play_benches(
        built, place, _ORDER, plusargs=[f"+mutant={number}"], watch=ends
    )
    log = (place / LOG).read_text("utf-8", errors="replace")
    failed = _FAILED.search(log)
    bad = [f"{outcome.bench}.{outcome.test}" for outcome in outcomes if not outcome.passed]
    if failed or bad:
        by = failed[1] if failed else bad[0]
    elif late:
        by = f"no end within {limit:.0f} s"
    elif status in (-9, -15) or _STOPPED.search(log):
        raise CheckFailed(
            f"bench mutants: the simulation of mutant {number} was stopped from "
            "outside; what is known is kept, run the bench again"
        )
    elif status or not outcomes:
        by = f"simulator, status {status}: {tail(place / LOG).splitlines()[-1:]}"
    else:
        by = ""
    return {"by": by, "seconds": round(time.monotonic() - started, 1)}


def _digest(sources: list[Path]) -> str:
    """Hash of what a result depends on."""
    digest = hashlib.sha256()
    packages = (Path(str(sim.benches.__file__)).parent, Path(str(golden.__file__)).parent)
    files = [*sources, *(path for place in packages for path in sorted(place.rglob("*.py")))]
    for part in [f"{_SEED} {_ORDER}", version("verilator"), version("cocotb")]:
        digest.update(part.encode() + b"\0")
    for path in files:
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def _report(
    mutations: list[dict[str, str]], changes: list[list[str]], judged: Judged, found: list[dict]
) -> dict:
    """Table, figures and bars."""
    figures = []
    for mutation, change, result in zip(mutations, changes, found, strict=True):
        reason = judged.reason(mutation["module"], change)
        if result.get("proved"):
            reason = "proved: nothing between registers changes"
        state = "killed" if result["by"] else "equivalent" if reason else "survived"
        figures.append(
            {**mutation, **result, "state": state, "change": change, "reason": reason or ""}
        )
    states = [figure["state"] for figure in figures]
    killed, equivalent = states.count("killed"), states.count("equivalent")
    score = killed / max(1, len(figures) - equivalent)
    wrong = [f for f in figures if f["state"] == "killed" and f["reason"]]
    rows = [
        (
            f"{f['module']}: {f['mode']} {f['cell'].partition('$')[0] or f['cell']}."
            f"{f['port']}[{f['portbit']}]",
            f["state"],
            (f["reason"] or "; ".join(f["change"]))[:_SHOWN],
        )
        for f in figures
        if f["state"] != "killed"
    ]
    rows += [("all", "", f"{killed} of {len(figures)} killed, {equivalent} equivalent")]
    return {
        "title": f"Mutants of preset {_PRESET} that no test notices (measured, cocotb "
        f"{version('cocotb')}, Verilator {version('verilator')})",
        "header": HEADER,
        "rows": rows,
        "seed": _SEED,
        "killed": killed,
        "equivalent": equivalent,
        "survived": states.count("survived"),
        "stale": judged.stale,
        "judged_but_killed": [f["change"] for f in wrong],
        "figures": figures,
        "bars": [
            Bar("killed, of mutants not judged equivalent", score, _BAR).report(),
            Bar(
                "judgements that are stale or wrong", len(judged.stale) + len(wrong), 0, True
            ).report(),
        ],
    }
