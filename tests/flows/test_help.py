"""Help of every command and option."""

import re

import pytest

from flows import app


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
