"""``sparsefuse init``: a commented configuration to start from."""

from collections.abc import Iterator
from enum import StrEnum
from operator import attrgetter
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from flows.files import write_text
from golden.errors import BadInput
from rtl_gen.config import Config, load
from rtl_gen.tops import TOPS

__all__ = ["commented", "register"]

_WIDTH = 100

_Top = StrEnum("_Top", list(TOPS))


def commented(config: Config) -> str:
    """YAML text of ``config`` with each field's description, unit and effect above it.

    Fields that could change nothing are left out, and so are sections of nothing else.
    """
    head = "# SparseFuse configuration; use it with: sparsefuse generate THIS_FILE --out FOLDER\n"
    return head + "".join(f"{line}\n" for line in _lines(config, 0, config))


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def init(
        path: Annotated[Path, typer.Argument(help="File to write.")] = Path("sparsefuse.yaml"),
        top: Annotated[
            _Top | None,
            typer.Option(help="Which design; that of the preset, or array, without it."),
        ] = None,
        preset: Annotated[
            str | None,
            typer.Option(
                help="Preset or file whose values to start from; by default one of the top."
            ),
        ] = None,
        force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    ) -> None:
        """Write a commented default configuration."""
        if path.exists() and not force:
            raise BadInput(f"{path}: output file: must not exist unless --force is given, got one")
        kind = Config if top is None else TOPS[top.value].configuration
        start = preset if preset is not None else TOPS[top.value if top else "array"].preset
        write_text(path, commented(load(start, kind)))
        typer.echo(f"wrote {path}")


def _matters(field: FieldInfo, value: object, config: Config) -> bool:
    """Whether a line for the field says something; see `rtl_gen.schema` for its notes."""
    notes = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    if notes.get("fixed"):
        return False
    switch = notes.get("needs")
    return switch is None or value != field.default or bool(attrgetter(str(switch))(config))


def _lines(section: BaseModel, depth: int, config: Config) -> Iterator[str]:
    indent = "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        below = [*_lines(value, depth + 1, config)] if isinstance(value, BaseModel) else []
        if not (below if isinstance(value, BaseModel) else _matters(field, value, config)):
            continue
        extra = field.json_schema_extra
        notes = extra if isinstance(extra, dict) else {}
        unit = f" [{notes['unit']}]" if notes.get("unit") else ""
        comment = f"{field.description}{unit}; effect: {notes.get('effect')}"
        if depth == 0:
            yield ""
        yield from wrap(
            comment, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}#   "
        )
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from below
        else:
            yield f"{indent}{name}: {_scalar(value)}"


def _scalar(value: object) -> str:
    """One value in YAML's flow style; quoted where a plain word would read as another type."""
    plain = list(value) if isinstance(value, tuple) else value
    if isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
