"""Ctrl-C and SIGTERM end a command at once, with one line."""

import os
import signal
import warnings
from contextlib import suppress

import pytest

from flows.commands import models as models_command
from flows.interrupts import Interrupted, unwinding_on_signals
from flows.terminal import progress_line


@pytest.fixture(autouse=True)
def heard():
    """Handlers as at a terminal: a run in the background may have been told to ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_signal_handlers_are_left_as_they_were(run):
    before = signal.getsignal(signal.SIGTERM)
    run("--version")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_termination_unwinds(run, monkeypatch):
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
