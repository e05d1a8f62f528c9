"""Constraint files: the clock of a design in the format of its technology's tools."""

from importlib.resources import files
from typing import Protocol

from jinja2 import Environment, StrictUndefined

from constraints.families import FAMILIES

__all__ = ["Clocked", "render"]

_ENVIRONMENT = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)


class Clocked(Protocol):
    """What a constraint file needs to know of a design."""

    @property
    def name(self) -> str:
        """Name of the design, also of the file."""
        ...

    @property
    def clock_mhz(self) -> float:
        """Clock frequency in MHz."""
        ...


def render(derived: Clocked, family: str) -> dict[str, str]:
    """Constraint files of ``derived`` for ``family``: file name to text.

    The one constraint is the clock on port ``clk``; pins belong to a board.

    Raises
    ------
    KeyError
        Where ``family`` is none of ``constraints.families.FAMILIES``.
    """
    extension = FAMILIES[family].constraints
    template = files("constraints").joinpath("templates", f"{extension}.j2").read_text("utf-8")
    text = _ENVIRONMENT.from_string(template).render(
        name=derived.name,
        clock_mhz=f"{derived.clock_mhz:.6g}",
        period_ns=f"{1000 / derived.clock_mhz:.3f}",
    )
    return {f"{derived.name}.{extension}": text}
