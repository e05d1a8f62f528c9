"""Tools run as child processes that end with the work that started them."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["Children"]


class Children:
    """Runs tools from any thread; leaving the block kills those that still run.

    Each child has a session of its own, so that what it starts ends as well, and a Ctrl-C in
    the terminal reaches it through its parent alone, which cleans up first.

    A thread that waits for a child sees it end with a signal's status. Start children from worker
    threads: an exception of a signal handler, which strikes the main thread, then can't fall
    between a child's birth and its being known.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._closed = False

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            for child in self._running:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)

    def run(
        self, command: Sequence[str], cwd: Path, environment: Mapping[str, str]
    ) -> tuple[int, str]:
        """Run a tool to its end.

        Returns:
            Exit status, negative for a signal, and what it wrote to the error stream.

        Raises:
            RuntimeError: the block has been left.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError(f"{command[0]}: started after the work was given up")
            child = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            self._running.add(child)
        try:
            errors = child.communicate()[1]
        finally:
            with self._lock:
                self._running.discard(child)
        return child.returncode, errors
