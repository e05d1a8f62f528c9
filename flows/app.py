"""The command line's frame: commands that load when they are called, and what errors become."""

import errno
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup

from golden.errors import BadInput, CheckFailed

__all__ = ["COMMANDS", "app", "load_command", "run"]

# Typer may carry a copy of click of its own: these are the classes that its errors derive from,
# whichever click that is.
_UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])
_ClickError = cast(type[Exception], typer.BadParameter.__mro__[2])

COMMANDS = {
    "init": "Write a commented default configuration.",
    "generate": "Write Verilog, manifest, constraints and register map of a configuration.",
    "simulate": "Run the cocotb benches on the generated Verilog.",
    "matmul": "Compute O = A @ W; int8 (M, K) and (K, N) give int32 (M, N), exactly by default.",
    "detect": "Find the elements of an int8 matrix whose magnitude exceeds a threshold.",
    "synth": "Synthesise the array or the detector units of a configuration and report their area.",
    "models": "List and fetch real models.",
    "analyze": "Show patterns, buckets, kernels, cycles and bytes of every layer's blocks.",
    "bench": "Run a benchmark, print its table, and fail when a bar is missed.",
}
"""What each command does, as its own help begins.

A new command is a module of `flows.commands` with ``register(app)``, and a line here.  The module
is imported when its command is called, so that ``--help`` need not wait for them all.
"""

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


def load_command(name: str) -> Any:
    """The command of a name of `COMMANDS`, with its options."""
    holder = typer.Typer(rich_markup_mode=None, add_completion=False)
    import_module(f"flows.commands.{name}").register(holder)
    return cast(TyperGroup, typer.main.get_group(holder)).commands[name]


class _Commands(TyperGroup):
    """Lists all commands by name, and loads the one that is called."""

    def __init__(self, **settings: Any) -> None:
        named = {
            name: TyperCommand(name, help=text, short_help=text) for name, text in COMMANDS.items()
        }
        super().__init__(**settings | {"commands": named})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and load_command(str(name)), rest


@dataclass
class _Run:
    debug: bool = False


app = typer.Typer(
    name="sparsefuse",
    cls=_Commands,
    help="Sparse INT8 transformer accelerators: generate, simulate and size them.",
    no_args_is_help=True,
    # In panels typer cuts names of options and breaks words at 80 columns.
    rich_markup_mode=None,
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


def run(arguments: Sequence[str]) -> int:
    """Run a command line; returns the exit status, see `flows.cli`."""
    settings = _Run()
    try:
        result = app(
            args=list(arguments), prog_name="sparsefuse", obj=settings, standalone_mode=False
        )
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
        if settings.debug:
            traceback.print_exc()
        return _report(_sentence(error), 1 if isinstance(error, CheckFailed) else 2)


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
