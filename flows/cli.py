"""The ``sparsefuse`` command.

Exit status: 0 done; 1 a check failed; 2 bad input or a file system that refuses; 130 interrupted;
141 the reader of a pipe has left; 143 terminated.
A refusal is one sentence on the error stream; ``--debug`` shows where it came from.

This module only answers signals: importing the commands (`flows.app`) takes long enough for a
Ctrl-C to fall into it.
"""

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from flows.interrupts import unwinding_on_signals

__all__ = ["main"]

# New objects between two searches for garbage, and such searches between two longer ones.  Modules
# make some hundred thousand objects that stay; by Python's defaults, looking through them again and
# again takes a twentieth of a short command.
_COLLECTED = 20_000, 50, 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``; returns the exit status.

    Without ``argv`` the process's own arguments are taken, and a signal ends the process here,
    for the interpreter's own end would meet threads and modules that are half torn down.
    """
    status = 0
    if argv is None:
        gc.set_threshold(*_COLLECTED)
    with unwinding_on_signals() as signals:
        try:
            # After the handlers, see above.
            from flows.app import run

            status = run(sys.argv[1:] if argv is None else argv)
        except BaseException:
            # A signal during an import may come out as any exception.
            if signals.number is None:
                raise
        if signals.number is not None:
            status = signals.status
            with suppress(OSError, ValueError):
                sys.stderr.write(f"error: {signals.sentence}\n")
            if argv is None:
                _end(status)
    return status


def _end(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
