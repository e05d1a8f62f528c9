"""Parameters of the block formats as configuration fields, made from the kernels' descriptors."""

from typing import Annotated, Any

from pydantic import create_model

from golden.formats import PARAMETERS, Parameter
from rtl_gen.rules import integer_rule, one_of_rule
from rtl_gen.schema_common import Section
from rtl_gen.schema_common import described as _field

__all__ = ["Formats"]


def _format_rule(parameter: Parameter) -> Any:
    """Exactly one of a format parameter's values, or an integer between its bounds."""
    choices = parameter.choices
    if choices == tuple(range(choices[0], choices[-1] + 1)):
        return integer_rule(choices[0], choices[-1])
    return one_of_rule(*choices)


def _format_section(name: str, path: tuple[str, ...]) -> type[Section]:
    """The section at a place below ``schedule.formats``, made from the kernels' parameters."""
    made: dict[str, Any] = {}
    for parameter in PARAMETERS:
        if parameter.path[: len(path)] != path:
            continue
        key, *further = parameter.path[len(path) :]
        if not further:
            rule_of_field = Annotated[int, _format_rule(parameter)]
            made[key] = (
                rule_of_field,
                _field(
                    parameter.text,
                    unit=parameter.unit,
                    effect=parameter.effect,
                    default=parameter.default,
                ),
            )
        elif key not in made:
            section = _format_section(f"{key.capitalize()}Format", (*path, key))
            made[key] = (
                section,
                _field(f"pattern of the {key} kernel", unit="", effect="", default=section()),
            )
    return create_model(name, __base__=Section, **made)


class Formats(_format_section("FormatFields", ())):
    """Parameters of the block formats; only those of kernels that are built in matter."""
