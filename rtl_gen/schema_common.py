"""What the configurations of all tops have in common: name, part, interface.

A top has a configuration class of its own (:mod:`rtl_gen.schema`, :mod:`rtl_gen.schema_detect`)
that refines these sections and adds its own, so that every field of a configuration means
something to the design that it describes.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from rtl_gen.rules import device_rule, is_clock, name_rule, rule

__all__ = ["Config", "Interface", "Part", "Section", "described", "refuse", "top_field"]

_MISSING: Any = object()


def described(
    description: str,
    *,
    unit: str,
    effect: str,
    default: Any = _MISSING,
    fixed: bool = False,
    needs: str | None = None,
) -> Any:
    """A field with what `init` and the documentation say of it; required without a default.

    Args:
        description: what it is.
        unit: of its value, empty where it has none.
        effect: what it changes.
        default: where there is one.
        fixed: there is one possible value, so `init` writes no line for it.
        needs: dotted path of the switch without which the field changes nothing; `init` writes a
            line where the switch is on, or the value is not the default.
    """
    extra: dict[str, Any] = {"unit": unit, "effect": effect, "fixed": fixed, "needs": needs}
    if default is _MISSING:
        return Field(description=description, json_schema_extra=extra)
    return Field(default=default, description=description, json_schema_extra=extra)


def top_field(default: Any = _MISSING) -> Any:
    """The field ``interface.top``, which every top narrows to its own name."""
    return described(
        "which design is generated: array, the sparse array, or detect, the event-detection "
        "array alone; both with AXI-Stream ports and registers behind AXI4-Lite",
        unit="name",
        effect="decides which sections a configuration has",
        default=default,
    )


def refuse(field: str, rule: str, value: object) -> None:
    """Raise what a rule that joins several fields says of ``field``, a dotted path."""
    raise PydanticCustomError(
        "joint_rule", "{rule}", {"rule": rule, "field": field, "value": value}
    )


class Section(BaseModel):
    """A frozen part of a configuration that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(Section):
    """The part that a design is meant for."""

    device: Annotated[str, device_rule] = described(
        "part that the design is meant for, a name of the device database",
        unit="name",
        effect="decides technology, constraint format and what fits",
    )
    clock_mhz: Annotated[float, rule(is_clock, "a number, 1 to 1000")] = described(
        "clock that constraints ask for and that rates are computed with",
        unit="MHz",
        effect="does not change the Verilog",
        default=100.0,
    )


class Interface(Section):
    """Ports of the top module; each top names itself and adds its widths."""

    top: str


class Config(Section):
    """A whole configuration, as the user wrote it, with defaults filled in."""

    name: Annotated[str, name_rule] = described(
        "name of the design", unit="", effect="names generated files"
    )
    target: Part = described("the part", unit="", effect="technology and limits")
    interface: Interface = described("ports", unit="", effect="pins")
