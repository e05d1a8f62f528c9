"""Writing so that nothing is left half-written, and reading arrays that others wrote."""

import errno
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from constraints.presets import preset_names
from golden.errors import BadInput

__all__ = [
    "MARKER",
    "atomic_folder",
    "check_outputs",
    "load_npy",
    "write_bytes",
    "write_json",
    "write_text",
]

MARKER = ".sparsefuse"
"""File in each folder that :func:`atomic_folder` made: the relative paths it wrote, one a line."""


def check_outputs(
    outputs: Mapping[str, str | Path | None], inputs: Mapping[str, str | Path | None]
) -> None:
    """Refuse outputs that would overwrite one another or what is read, before anything runs.

    Links are followed, hard links to one file are one file, and outputs whose names differ in
    case alone count as the same, as they are on some file systems. Devices and pipes, such as
    ``/dev/null``, may be named twice.

    Args:
        outputs: files and folders to write, by option; None is left out.
        inputs: files to read, by option or argument; None and a preset's name as ``CONFIG`` are
            left out.

    Raises:
        BadInput: two outputs are the same or one lies in the other, or an output is an input.
    """
    given = {name: path for name, path in outputs.items() if path is not None}
    written = {
        name: target
        for name, path in given.items()
        if (target := _resolved(path)).is_file() or target.is_dir() or not target.exists()
    }
    for (first, target), (second, other) in combinations(written.items(), 2):
        cases = [Path(str(path).casefold()) for path in (target, other)]
        if _same_file(target, other) or cases[0] == cases[1]:
            raise BadInput(
                f"{given[second]}: {second}: must be another file than {first}, got the same"
            )
        for inner, outer in ((first, second), (second, first)):
            if written[inner].is_relative_to(written[outer]):
                raise BadInput(
                    f"{given[inner]}: {inner}: must not lie in what {outer} writes, got a path in "
                    f"{given[outer]}"
                )
    for source, path in inputs.items():
        if path is None or (source == "CONFIG" and str(path) in preset_names()):
            continue
        for name, target in written.items():
            if _same_file(target, _resolved(path)):
                raise BadInput(
                    f"{given[name]}: {name}: must not be a file that is read, got that of {source}"
                )


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one == other or one.samefile(other)
    except OSError:
        return False


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, replacing the file in one step or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: object) -> None:
    """Write ``value`` as indented JSON with sorted keys, in one step; NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    write_text(path, text + "\n")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write ``data``, replacing the file in one step or not at all.

    Missing parent folders are made. A link is followed; a device or a pipe is written directly.

    Raises
    ------
    BadInput
        Where ``path`` is a folder.
    OSError
        Where the file can't be written; neither a part of it nor a new folder is left behind.
    """
    target = _resolved(path)
    if target.is_dir():
        raise BadInput(f"{path}: output file: must not be a folder, got a folder")
    if target.exists() and not target.is_file():
        target.write_bytes(data)
        return
    with _parents(target, path), _named(path):
        scratch = _sibling(target)
        try:
            with scratch.open("xb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            if target.exists():
                shutil.copymode(target, scratch)
            os.replace(scratch, target)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Build a folder beside ``path`` and swap it in when the block ends without an error.

    Yields the folder to fill. On an error, what stood at ``path`` stays as it was. A folder that
    this function made before is replaced; files that others have put there since are kept. Any
    other folder must be empty.

    Raises
    ------
    BadInput
        Where ``path`` is a file, the working folder or one that holds it, or a folder with files
        of others.
    """
    target = _resolved(path)
    _check_replaceable(target, path)
    with _parents(target, path):
        scratch = _sibling(target)
        try:
            with _named(path):
                scratch.mkdir()
            yield scratch
            written = _files_below(scratch)
            _keep_foreign(target, scratch, written, path)
            (scratch / MARKER).write_text("".join(f"{name}\n" for name in sorted(written)), "utf-8")
            _swap(scratch, target)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise


def load_npy(
    path: str | Path,
    *,
    dtype: str = "int8",
    ndim: int | tuple[int, ...] = 2,
    field: str = "array",
) -> np.ndarray:
    """Array of a ``.npy`` file, checked before any of its data is read.

    Args:
        path: the file.
        dtype: name of the type that its elements must have.
        ndim: number of dimensions that it must have, or all that it may have, none of them 0.
        field: what the caller calls the array, for messages.

    Returns:
        A C-contiguous array of ``dtype``.

    Raises:
        BadInput: the file is missing, unreadable, not ``.npy``, cut short, holds Python objects,
            or its type or shape is another.
    """

    def refuse(rule: str, got: object) -> BadInput:
        return BadInput(f"{path}: {field}: {rule}, got {got}")

    try:
        with Path(path).open("rb") as stream:
            known = (ndim,) if isinstance(ndim, int) else ndim
            return _read_npy(stream, np.dtype(dtype), known, refuse)
    except FileNotFoundError:
        raise refuse("must be an existing .npy file", "no such file") from None
    except IsADirectoryError:
        raise refuse("must be a .npy file", "a folder") from None
    except OSError as error:
        raise refuse("must be a readable .npy file", error.strerror or error) from error


def _read_npy(stream: Any, dtype: np.dtype, ndim: tuple[int, ...], refuse: Any) -> np.ndarray:
    size = os.fstat(stream.fileno()).st_size
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, _, found = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, _, found = np.lib.format.read_array_header_2_0(stream)
    except Exception as error:
        # numpy raises whatever its parser meets in a damaged header: ValueError, SyntaxError,
        # tokenize errors and others, in words about its parser.
        raise refuse("must be a .npy file", f"{size} bytes without its header") from error
    if found.hasobject:
        raise refuse(f"must have dtype {dtype}", "Python objects, which are never unpickled")
    if found != dtype:
        raise refuse(f"must have dtype {dtype}", found)
    if len(shape) not in ndim:
        raise refuse(f"must have {' or '.join(map(str, ndim))} dimensions", f"shape {shape}")
    if any(length < 1 for length in shape):
        raise refuse("must not be empty", f"shape {shape}")
    needed = math.prod(shape) * dtype.itemsize
    held = size - stream.tell()
    if held < needed:
        raise refuse(f"must hold {needed} bytes of data for shape {shape}", f"{held}")
    stream.seek(0)
    return np.ascontiguousarray(np.lib.format.read_array(stream, allow_pickle=False))


def _sibling(target: Path) -> Path:
    """An unused name in the same folder, so that replacing stays on one file system."""
    return target.with_name(f".{target.name[:64]}.{secrets.token_hex(4)}.tmp")


def _resolved(path: str | Path) -> Path:
    try:
        return Path(path).resolve()
    except (RuntimeError, ValueError) as error:
        raise BadInput(f"{str(path)!r}: output: must be a usable path, got {error}") from error


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Let an error of the file system name what the user asked for, not the scratch file."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def _parents(target: Path, path: str | Path) -> Iterator[None]:
    """Make the folders above ``target``; on an error remove those that were made."""
    missing = [folder for folder in target.parents if not folder.exists()]
    try:
        with _named(path):
            if any(folder.is_file() for folder in target.parents):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            target.parent.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for folder in missing:
            with suppress(OSError):
                folder.rmdir()
        raise


def _check_replaceable(target: Path, path: str | Path) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise BadInput(f"{path}: output folder: must not be a file, got a file")
    if Path.cwd().is_relative_to(target):
        raise BadInput(
            f"{path}: output folder: must not be or hold the working folder, got {target}"
        )
    if not (target / MARKER).is_file():
        for entry in target.iterdir():
            raise BadInput(
                f"{path}: output folder: must be new, empty or made by sparsefuse, "
                f"got one that holds {entry.name}"
            )


def _files_below(folder: Path) -> set[str]:
    return {
        entry.relative_to(folder).as_posix()
        for entry in folder.rglob("*")
        if entry.is_symlink() or not entry.is_dir()
    }


def _keep_foreign(target: Path, scratch: Path, written: set[str], path: str | Path) -> None:
    """Copy into ``scratch`` what others have put into ``target`` since it was made."""
    if not (target / MARKER).is_file():
        return
    own = set((target / MARKER).read_text("utf-8").splitlines()) | {MARKER}
    for name in sorted(_files_below(target) - own):
        copy = scratch / name
        if name in written or any(parent.is_file() for parent in copy.parents) or copy.is_dir():
            raise BadInput(
                f"{path}: output folder: must not hold a file of others where {name} is written, "
                f"got one"
            )
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(target / name, copy, follow_symlinks=False)


def _swap(scratch: Path, target: Path) -> None:
    if not target.exists():
        os.rename(scratch, target)
        return
    shutil.copymode(target, scratch)
    old = _sibling(target)
    os.rename(target, old)
    try:
        os.rename(scratch, target)
    except BaseException:
        os.rename(old, target)
        raise
    shutil.rmtree(old, ignore_errors=True)
