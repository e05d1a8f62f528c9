"""Run Yosys (the ``pyosys`` wheel) in a process of its own and read its cell statistics."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from golden.errors import CheckFailed

__all__ = ["STAT_COMMAND", "STAT_FILE", "port_bits", "quote", "run", "stat", "version"]

STAT_FILE = "stat.json"
STAT_COMMAND = f"tee -q -o {STAT_FILE} stat -json"

# Yosys prints to file descriptor 1 and ends the process on an error, so it can't share ours.
_CHILD = """
import json, sys
from pyosys import libyosys
design = libyosys.Design()
for command in json.load(sys.stdin):
    libyosys.run_pass(command, design)
"""

# Cells that mark names or scopes and take no area.
_NO_AREA = frozenset({"$scopeinfo"})


def quote(path: str | Path) -> str:
    """Return ``path`` as one argument of a Yosys command, blanks included.

    Raises:
        CheckFailed: the path holds a double quote or a line break, which Yosys can't express.
    """
    text = str(path)
    if '"' in text or "\n" in text:
        raise CheckFailed(f"{text!r}: Yosys can't open a path with a double quote or a line break")
    return f'"{text}"'


def _last_error(log: str) -> str:
    """Return the last line of a log that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:") or "Error: " in line]
    return (errors or lines or ["the log is empty"])[-1]


def run(
    script_commands: Sequence[str],
    cwd: Path,
    *,
    timeout_s: float = 1800.0,
    log_name: str = "yosys.log",
) -> Path:
    """Run Yosys commands in order on one design, in a child process.

    The child runs with Python's safe path (``-P``): a ``flows`` or ``sim`` folder in ``cwd``
    can't shadow an installed module. Everything it prints goes to the log.

    Args:
        script_commands: one Yosys command each; relative file names are relative to ``cwd``.
        cwd: existing folder the child works in and leaves its log in.
        timeout_s: seconds until the child and its own children are stopped.
        log_name: file name of the log inside ``cwd``.

    Returns:
        The path of the log.

    Raises:
        CheckFailed: Yosys is missing, failed, or ran into the timeout; the message carries the
            last error line of the log.
    """
    log = cwd / log_name
    with log.open("wb") as stream:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", _CHILD],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # Yosys starts ABC as a process: a session of their own lets one signal end both.
            start_new_session=True,
        )
        try:
            child.communicate(json.dumps(list(script_commands)).encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise CheckFailed(f"{log}: Yosys ran longer than timeout_s = {timeout_s:g}") from None
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    if child.returncode != 0:
        reason = _last_error(log.read_text(errors="replace"))
        raise CheckFailed(f"{log}: Yosys ended with status {child.returncode}: {reason}")
    return log


def _report(path: Path) -> dict:
    """Parse a ``stat -json`` file or say why it can't be."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise CheckFailed(f"{path}: Yosys left no statistics") from None
    except json.JSONDecodeError as error:
        raise CheckFailed(f"{path}: Yosys' statistics are not JSON: {error}") from None


def _entry(path: Path, module: str) -> dict:
    """Statistics of one module."""
    entry = _report(path).get("modules", {}).get(f"\\{module}")
    if entry is None:
        raise CheckFailed(f"{path}: Yosys' statistics hold no module {module!r}")
    return entry


def port_bits(path: Path, module: str) -> int:
    """Return how many bits the ports of a module have, from a ``stat -json`` file.

    Raises:
        CheckFailed: the file, the module or the count is missing.
    """
    entry = _entry(path, module)
    if "num_port_bits" not in entry:
        raise CheckFailed(f"{path}: Yosys' statistics of {module!r} hold no count of port bits")
    return int(entry["num_port_bits"])


def stat(path: Path, module: str) -> dict[str, int]:
    """Read the cells of a flattened module from a ``stat -json`` file.

    Args:
        path: what :data:`STAT_COMMAND` wrote.
        module: name of the top module.

    Returns:
        Cell type to count, sorted by type; cells without area are left out.

    Raises:
        CheckFailed: the file, the module or a count is missing, or the module is not flat.
    """
    modules = _report(path).get("modules", {})
    entry = _entry(path, module)
    if "num_cells_by_type" not in entry or "num_cells" not in entry:
        raise CheckFailed(f"{path}: Yosys' statistics of {module!r} hold no cell counts")
    cells = entry["num_cells_by_type"]
    nested = sorted(name for name in cells if f"\\{name}" in modules)
    if nested or entry.get("num_submodules", 0):
        raise CheckFailed(f"{path}: {module!r} is not flat, it instantiates {nested or 'modules'}")
    if sum(cells.values()) != entry["num_cells"]:
        raise CheckFailed(
            f"{path}: the cells of {module!r} add up to {sum(cells.values())}, "
            f"num_cells says {entry['num_cells']}"
        )
    return {name: int(cells[name]) for name in sorted(cells) if name not in _NO_AREA}


def version(path: Path) -> str:
    """Return tool and version, such as ``Yosys 0.70 (28ba3cb92)``, from a ``stat -json`` file.

    Raises:
        CheckFailed: the file does not say which Yosys wrote it.
    """
    creator = str(_report(path).get("creator", ""))
    match = re.match(r"(Yosys \S+)(?: \(git sha1 ([0-9a-f]+))?", creator)
    if match is None:
        raise CheckFailed(f"{path}: field creator = {creator!r} names no Yosys version")
    return match[1] if match[2] is None else f"{match[1]} ({match[2]})"
