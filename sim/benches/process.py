"""The process that builds or runs a simulation: its surroundings, its log, its end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from golden.errors import BadInput
from sim.verilator import find_compiler, verilator_environment

__all__ = ["BUILD", "LOG", "environment_of", "run_child", "tail"]

LOG = "simulate.log"
"""Everything that the simulator and the benches print, in the folder of the run."""

BUILD = "obj"
"""What the simulator is built in, in the folder of the build."""

_ROOT = Path(__file__).resolve().parents[2]
_TAIL_LINES = 20
# Set outside, these would change what cocotb's runner does.
_UNWANTED = ("PYTEST_CURRENT_TEST", "WAVES", "GUI", "RANDOM_SEED")


def environment_of(simulator: str) -> dict[str, str]:
    """Environment in which the simulator and this very package are found."""
    if shutil.which("make") is None and simulator == "verilator":
        raise BadInput("make: must be on PATH (Debian: apt install make), found none")
    if simulator == "verilator":
        find_compiler()
        environment = verilator_environment()[1]
        # Headers are most of the compilation: one unit reads them once, as fast as they can be
        # read, and Verilator's own library takes little of the run time.
        environment["MAKEFLAGS"] = "VM_PARALLEL_BUILDS=0 OPT_FAST=-O1 OPT_GLOBAL=-O0"
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
    return environment | {
        "PYTHONPATH": os.pathsep.join(path),
        "NO_COLOR": "1",
        # Whose assertions say what they compared; by default every library is rewritten for it.
        "COCOTB_REWRITE_ASSERTION_FILES": str(_ROOT / "sim" / "benches" / "*.py"),
    }


def run_child(
    job: dict, folder: Path, environment: dict[str, str], ends: Callable[[], bool]
) -> int:
    """Run one step in a child process, until ``ends``; return its status. Both end together."""
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
            while child.poll() is None and not ends():
                time.sleep(0.2)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    return child.returncode


def tail(log: Path) -> str:
    """Last lines of a log."""
    return "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-_TAIL_LINES:])
