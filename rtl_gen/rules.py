"""Rules that single configuration fields obey, as pydantic validators.

A rule's message completes the sentence "<file>: <field>: <message>, got <value>".
"""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from pydantic import BeforeValidator

from constraints.devices import devices
from golden.formats import KERNELS
from golden.shape import is_power_of_two

__all__ = [
    "device_rule",
    "integer_rule",
    "is_clock",
    "kernels_rule",
    "name_rule",
    "nearest",
    "one_of_rule",
    "rule",
]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


def nearest(word: object, known: tuple[str, ...] | list[str]) -> str:
    """A parenthesis that suggests the nearest of ``known``, or an empty string."""
    close = get_close_matches(str(word).lower(), list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def rule(holds: Callable[[Any], bool], text: str) -> BeforeValidator:
    """Refuse values for which ``holds`` is false; ``text`` says what they must be."""

    def check(value: Any) -> Any:
        if not holds(value):
            raise ValueError(f"must be {text}")
        return value

    return BeforeValidator(check)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def integer_rule(
    least: int, most: int, *, power: bool = False, auto: bool = False
) -> BeforeValidator:
    """Integers (not booleans) within the bounds, powers of two alone, or also ``auto``."""
    kind = "a power of two" if power else "an integer"
    prefix = "auto or " if auto else ""

    def holds(value: Any) -> bool:
        if auto and value == "auto":
            return True
        return (
            _is_integer(value)
            and least <= value <= most
            and not (power and not is_power_of_two(value))
        )

    return rule(holds, f"{prefix}{kind}, {least} to {most}")


def one_of_rule(*known: object) -> BeforeValidator:
    """Exactly one of ``known``, of the same type; the refusal suggests the nearest name."""

    def check(value: Any) -> Any:
        if not any(type(value) is type(item) and value == item for item in known):
            names = [item for item in known if isinstance(item, str)]
            hint = nearest(value, names) if isinstance(value, str) else ""
            raise ValueError(f"must be one of {', '.join(map(str, known))}{hint}")
        return value

    return BeforeValidator(check)


def _check_device(value: Any) -> Any:
    if not isinstance(value, str) or value not in devices():
        known = tuple(devices())
        hint = nearest(value, known) if isinstance(value, str) else ""
        raise ValueError(f"must be one of {', '.join(known)}{hint}")
    return value


def _check_kernels(value: Any) -> Any:
    known = tuple(KERNELS)
    if not isinstance(value, (list, tuple)) or not value:
        raise ValueError(f"must be a list of at least one of {', '.join(known)}")
    for kernel in value:
        if not isinstance(kernel, str) or kernel not in known:
            raise ValueError(f"must hold only {', '.join(known)}{nearest(kernel, known)}")
    if len(set(value)) != len(value):
        raise ValueError("must name each kernel once")
    return tuple(value)


def is_clock(value: Any) -> bool:
    """Whether ``value`` is a frequency in MHz that constraints can ask for; NaN is not."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and 1 <= value <= 1000


def _check_name(value: Any) -> Any:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("must be a letter followed by at most 39 letters, digits and underscores")
    return value


device_rule = BeforeValidator(_check_device)
kernels_rule = BeforeValidator(_check_kernels)
name_rule = BeforeValidator(_check_name)
