"""What every verilated model shares, compiled once: Verilator's own library.

Compiling the library takes as long as compiling a small array, and nothing in it depends on the
design.  Its objects are kept beside the built models, named by the tools and options that made
them and by their own size, so that a truncated one is not taken for whole.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["bundled", "keep_objects", "lend_objects", "locked", "object_folder"]

_BUNDLE_BYTES = 1 << 20
"""More text than this to a translation unit takes a compiler more memory than time is saved."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time build what will lie at ``path``; a killed one releases its lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@cache
def _compiler_name(compiler: str) -> str:
    shown = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
    return shown.stdout


def object_folder(folder: Path, compiler: str, options: Sequence[str]) -> Path:
    """Where objects of Verilator's library are kept that one compiler made with some options."""
    parts = (_compiler_name(compiler), version("verilator"), *options)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return folder / f"runtime-{digest[:20]}"


def lend_objects(kept: Path, folder: Path) -> list[Path]:
    """Copy the whole objects among those in ``kept`` into ``folder``; the copies.

    An object's name ends with its size in bytes.
    """
    copies = []
    for path in sorted(kept.glob("*.o.*")):
        name, _, size = path.name.rpartition(".")
        if path.stat().st_size == int(size):
            copies.append(folder / name)
            shutil.copyfile(path, copies[-1])
    return copies


def keep_objects(kept: Path, objects: Sequence[Path]) -> None:
    """Keep objects for `lend_objects`, each written whole or not at all."""
    kept.mkdir(parents=True, exist_ok=True)
    for path in objects:
        target = kept / f"{path.name}.{path.stat().st_size}"
        if not target.exists() or target.stat().st_size != path.stat().st_size:
            unfinished = kept / f".{path.name}.{os.getpid()}"
            shutil.copyfile(path, unfinished)
            os.replace(unfinished, target)


def bundled(units: Sequence[Path], folder: Path, name: str, most: int) -> list[Path]:
    """Join C++ files into a few of about the same length, since every one reads long headers.

    Args:
        units: files that may stand in one translation unit, as Verilator's may.
        folder: gets the joined files.
        name: first part of their names.
        most: number of files, unless they would become too long to compile in one go.
    """
    sizes = {unit: unit.stat().st_size for unit in units}
    count = min(len(units), max(most, sum(sizes.values()) // _BUNDLE_BYTES))
    bundles: list[list[Path]] = [[] for _ in range(count)]
    loads = [0] * count
    for unit in sorted(units, key=lambda unit: (-sizes[unit], unit.name)):
        least = loads.index(min(loads))
        bundles[least].append(unit)
        loads[least] += sizes[unit]
    joined = []
    for number, bundle in enumerate(bundles):
        joined.append(folder / f"{name}{number}.cpp")
        joined[-1].write_text("".join(f'#include "{unit.name}"\n' for unit in sorted(bundle)))
    return joined
