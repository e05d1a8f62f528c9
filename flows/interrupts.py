"""SIGINT and SIGTERM as an exception that unwinds everything, and a status that can't be lost.

This module is imported before all else that takes time, so it imports next to nothing itself.
"""

import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Interrupted", "Signals", "check", "unwinding_on_signals"]

_HANDLED = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
# `timeout` and terminals send a signal twice in a row: the second must not cut the cleaning up.
_REPEAT_SECONDS = 2.0


class Interrupted(BaseException):
    """A signal asks the command to end; like KeyboardInterrupt no `except Exception` sees it."""


class Signals:
    """What has arrived while `unwinding_on_signals` is open.

    Attributes:
        number: of the first signal, None before it.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._raised = 0.0

    @property
    def status(self) -> int:
        """Exit status of a process that the signal has ended."""
        return 128 + (self.number or signal.SIGINT)

    @property
    def sentence(self) -> str:
        """What the user is told."""
        return _HANDLED[signal.Signals(self.number or signal.SIGINT)]

    def receive(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal: raise, but leave alone what already unwinds."""
        now = time.monotonic()
        if self.number is not None and now - self._raised < _REPEAT_SECONDS:
            return
        if self.number is None:
            self.number = number
            _be_quiet()
        self._raised = now
        raise Interrupted


_current: Signals | None = None


def check() -> None:
    """Raise again where a signal's exception got lost, as it does in a destructor."""
    if _current is not None and _current.number is not None:
        raise Interrupted


@contextmanager
def unwinding_on_signals() -> Iterator[Signals]:
    """Turn SIGINT and SIGTERM into `Interrupted`, in the main thread alone.

    A signal that is ignored, as SIGINT of a background job, stays ignored.
    """
    global _current
    signals, outer = Signals(), _current
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    previous = {
        number: signal.signal(number, signals.receive)
        for number in _HANDLED
        if signal.getsignal(number) is not signal.SIG_IGN
    }
    hooks = sys.excepthook, sys.unraisablehook
    _current = signals
    try:
        with warnings.catch_warnings():
            yield signals
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        sys.excepthook, sys.unraisablehook = hooks
        _current = outer


def _be_quiet() -> None:
    """What is torn down half-way complains: of hardware never used, of imports that failed."""
    warnings.simplefilter("ignore")
    sys.excepthook = sys.unraisablehook = lambda *_: None
