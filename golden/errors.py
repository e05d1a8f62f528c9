"""The two ways a run can end badly, shared by every level."""

__all__ = ["BadInput", "CheckFailed"]


class BadInput(ValueError):
    """Input that breaks a documented rule; the command line exits with status 2.

    The message is one sentence that names the file, the field, the rule and the value.
    """


class CheckFailed(RuntimeError):
    """A comparison, timeout or bar that failed; the command line exits with status 1."""
