"""The command line's frame: exit status and messages."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flows import app, cli
from flows.commands import models as models_command
from golden.errors import BadInput, CheckFailed

ROOT = Path(cli.__file__).resolve().parents[1]


@pytest.fixture
def failing(monkeypatch):
    """Make `models list` raise the given exception."""

    def arrange(error):
        def fail(_):
            raise error

        monkeypatch.setattr(models_command, "cached", fail)

    return arrange


def test_version_and_help(run):
    status, out, _ = run("--version")
    assert status == 0
    assert out.startswith("sparsefuse ")
    status, out, _ = run("--help")
    assert status == 0
    for name in ("init", "models", "--debug", "--version"):
        assert name in out


def test_every_command_is_listed_as_its_own_help_begins():
    listed = {path.stem for path in Path(app.__file__).parent.glob("commands/[a-z]*.py")}
    assert set(app.COMMANDS) == listed
    for name, text in app.COMMANDS.items():
        command = app.load_command(name)
        assert command.name == name
        assert command.help.split("\n\n")[0] == text


def test_help_loads_no_command():
    script = """
import sys
from flows.cli import main
status = main(["--help"])
print(*[name for name in sys.modules if name in ("numpy", "amaranth", "pydantic")], file=sys.stderr)
sys.exit(status)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert ended.stderr.split() == []
    assert "matmul" in ended.stdout


def test_the_golden_and_the_cycle_model_need_no_hardware_description():
    script = "import sys; import flows.commands.matmul; sys.exit('amaranth' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), "Usage"),
        (("inti",), "init"),
        (("init", "--forse"), "--force"),
        (("init", "a", "b"), "b"),
        (("models",), "Usage"),
        (("models", "fetch"), "name"),
        (("models", "get"), "get"),
        (("--debugg",), "--debug"),
    ],
)
def test_wrong_usage_is_status_2_without_a_traceback(run, arguments, named):
    status, out, err = run(*arguments)
    assert status == 2
    assert named.lower() in (out + err).lower()
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("error", "expected", "sentence"),
    [
        (BadInput("a.yaml: name: must be short, got long"), 2, "a.yaml: name: must be short"),
        (CheckFailed("3 of 16 results differ"), 1, "3 of 16 results differ"),
        (OSError(errno.ENOSPC, "No space left", "/x/y"), 2, "/x/y: can't be read or written: the"),
        (OSError(errno.ENOSPC, "No space left"), 2, "the disk is full"),
        (PermissionError(errno.EACCES, "denied", "/x"), 2, "permission is denied"),
        (OSError(errno.EROFS, "ro", "/x"), 2, "read-only"),
        (FileNotFoundError(errno.ENOENT, "no", "/x"), 2, "/x: can't be read or written: it does"),
        (OSError(errno.EIO, "Input/output error", b"/x"), 2, "/x: can't be read or written: Input"),
        (OSError("odd"), 2, "odd"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_become_a_status_and_one_sentence(run, failing, error, expected, sentence):
    failing(error)
    status, _, err = run("models", "list")
    assert status == expected
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_debug_shows_the_traceback_and_keeps_the_status(run, failing):
    failing(BadInput("a: b: must be c, got d"))
    status, _, err = run("--debug", "models", "list")
    assert status == 2
    assert "Traceback" in err
    assert err.endswith("error: a: b: must be c, got d\n")


def test_a_defect_of_ours_is_not_hidden(failing, run):
    failing(ZeroDivisionError("defect"))
    with pytest.raises(ZeroDivisionError):
        run("models", "list")


def test_a_closed_pipe_is_quiet():
    script = "import sys; from flows.cli import main; sys.exit(main(['models', 'list']))"
    read, write = os.pipe()
    os.close(read)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", script], stdout=write, stderr=subprocess.PIPE, env=environment,
        check=False,
    )  # fmt: skip
    os.close(write)
    assert ended.stderr == b""
    assert ended.returncode == 141
