"""Ctrl-C and SIGTERM on the real command: one line, 130 or 143, nobody and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="moments are read from /proc"
)


def handles(process: subprocess.Popen) -> bool:
    """Whether the command has taken SIGTERM over: the first line of ours that runs."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def wait_for(process: subprocess.Popen, moment: Callable[[], bool]) -> None:
    limit = time.monotonic() + PATIENCE_SECONDS
    while not moment():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.002)


def start(arguments: list[str], folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "flows.cli", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache")}
        | {"TMPDIR": str(folder / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As from a terminal, whatever these tests themselves are started from.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def alive(folder: Path) -> list[str]:
    """Processes that work below a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found.append((entry / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tmp").mkdir()
    np.save(tmp_path / "a.npy", np.ones((2, 3), np.int8))
    np.save(tmp_path / "w.npy", np.ones((3, 2), np.int8))
    return tmp_path


OPERANDS = ["--activations", "a.npy", "--weights", "w.npy"]


def files(folder: Path) -> list[str]:
    """Files but those that may stay: locks of builds, for which another process may be waiting,
    and performance tables, which are written whole or not at all.
    """
    found = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock")
    names = sorted(p.relative_to(folder).as_posix() for p in found)
    return [name for name in names if not re.fullmatch(r"cache/sparsefuse/tables/\w+\.json", name)]


def check_ended(process: subprocess.Popen, number: signal.Signals, folder: Path) -> None:
    out, err = process.communicate(timeout=PATIENCE_SECONDS)
    word, status = {signal.SIGINT: ("interrupted", 130)}.get(number, ("terminated", 143))
    assert (out, err, process.returncode) == ("", f"error: {word}\n", status)
    assert files(folder) == ["a.npy", "w.npy"]
    assert list((folder / "tmp").iterdir()) == []
    assert alive(folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_modules_are_imported(number, folder, rng):
    process = start(["matmul", "test", *OPERANDS, "--engine", "golden", "--out", "o.npy"], folder)
    wait_for(process, lambda: handles(process))
    # Importing takes longer than this on any machine.
    time.sleep(float(rng.uniform(0, 0.1)))
    process.send_signal(number)
    check_ended(process, number, folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_the_compiler_runs(number, folder):
    process = start(["matmul", "test", *OPERANDS, "--engine", "rtl", "--out", "o.npy"], folder)
    objects = folder / "cache" / "sparsefuse" / "verilator"
    wait_for(process, lambda: any(objects.glob("build-*/obj/*.cpp")) and len(alive(objects)) > 0)
    process.send_signal(number)
    process.send_signal(number)
    check_ended(process, number, folder)


def test_at_any_moment_a_design_is_written_or_not(folder, rng):
    process = start(["generate", "edge", "--out", "design"], folder)
    wait_for(process, lambda: handles(process))
    time.sleep(float(rng.uniform(0, 1.5)))
    process.send_signal(signal.SIGTERM)
    try:
        status = process.wait(PATIENCE_SECONDS)
    finally:
        process.kill()
    if status == 0:
        assert "design/manifest.json" in files(folder)
        assert alive(folder) == []
    else:
        check_ended(process, signal.SIGTERM, folder)


def test_while_benches_run(folder):
    process = start(["simulate", "test", "--seed", "1"], folder)
    wait_for(process, lambda: any(folder.glob("tmp/sparsefuse-*/sim/obj/*.cpp")))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert err.splitlines()[1:] == ["error: interrupted"]
    assert alive(folder) == []
    assert list((folder / "tmp").iterdir()) == []
