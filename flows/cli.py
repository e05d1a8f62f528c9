"""The ``sparsefuse`` command.

Exit status: 0 done; 1 a check failed; 2 bad input or a file system that refuses; 130 interrupted;
141 the reader of a pipe has left; 143 terminated.
A refusal is one sentence on the error stream; ``--debug`` shows where it came from.
"""

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import FrameType
from typing import Annotated, Any, cast

import typer

from flows.commands import (
    analyze,
    bench,
    detect,
    generate,
    init,
    matmul,
    models,
    simulate,
    synth,
)
from golden.errors import BadInput, CheckFailed

__all__ = ["app", "main"]

# Typer may carry a copy of click of its own: these are the classes that its errors derive from,
# whichever click that is.
_UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])
_ClickError = cast(type[Exception], typer.BadParameter.__mro__[2])

COMMANDS = (init, generate, simulate, matmul, detect, synth, models, analyze, bench)
"""Modules with ``register(app)``: a new command is one module and its name here."""

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "it does not exist",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.EISDIR: "it is a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many files are open",
}


@dataclass
class _Run:
    debug: bool = False


app = typer.Typer(
    name="sparsefuse",
    help="Sparse INT8 transformer accelerators: generate, simulate and size them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            number = version("sparsefuse")
        except PackageNotFoundError:
            number = "(not installed)"
        typer.echo(f"sparsefuse {number}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of a refusal.")
    ] = False,
) -> None:
    context.obj.debug = debug


for _module in COMMANDS:
    _module.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``, by default the process's own; returns the exit status."""
    run = _Run()
    arguments = list(sys.argv[1:] if argv is None else argv)
    previous = _end_on_terminate()
    try:
        result = app(args=arguments, prog_name="sparsefuse", obj=run, standalone_mode=False)
        # Without standalone mode an Exit comes back as its code, a command's end as None.
        status = result if isinstance(result, int) else 0
        sys.stdout.flush()
        # Typer itself turns an interrupt into this code, silently.
        return _report("interrupted", 130) if status == 130 else status
    except _UsageError as error:
        error.show()
        return 2
    except (KeyboardInterrupt, typer.Abort):
        return _report("interrupted", 130)
    except BrokenPipeError:
        return _end_of_pipe()
    except SystemExit as end:
        # Typer ends with status 1, a failed check here, where it meets a broken pipe.
        if isinstance(end.__context__, BrokenPipeError):
            return _end_of_pipe()
        raise
    except (BadInput, CheckFailed, OSError, _ClickError) as error:
        if run.debug:
            traceback.print_exc()
        return _report(_sentence(error), 1 if isinstance(error, CheckFailed) else 2)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _sentence(error: Exception) -> str:
    if isinstance(error, _ClickError):
        return error.format_message()
    if not isinstance(error, OSError):
        return str(error)
    reason = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    if error.filename is None:
        return f"a file can't be read or written: {reason}"
    return f"{os.fsdecode(error.filename)}: can't be read or written: {reason}"


def _end_of_pipe() -> int:
    """The reader of a pipe has left, as `head` does: say nothing, at Python's exit neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 128 + signal.SIGPIPE


def _report(sentence: str, status: int) -> int:
    typer.echo(f"error: {sentence}", err=True)
    return status


def _end_on_terminate() -> Any:
    """Let SIGTERM unwind like an exception, so that half-written files are removed."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    return signal.signal(signal.SIGTERM, end)


if __name__ == "__main__":
    sys.exit(main())
