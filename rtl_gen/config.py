"""Configuration in two stages: user intent is loaded from YAML, parameters are derived from it.

``load`` turns a file or a preset into a frozen configuration of the top that it names
(:data:`~rtl_gen.tops.TOPS`); ``derive`` decides every ``auto``, checks the result against the
device and gives the :class:`~rtl_gen.design.Design` from which everything downstream is built.
Nothing after ``derive`` reads the file. Every refusal is a :class:`~golden.errors.BadInput` whose
message reads "<file>: <field>: <rule>, got <value>".
"""

import hashlib
import json
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import yaml
from pydantic import BaseModel, ValidationError

from constraints.families import FAMILIES
from constraints.presets import preset_names, preset_text
from golden.errors import BadInput
from rtl_gen.derive import Derived
from rtl_gen.derive_detect import DerivedDetector
from rtl_gen.design import Design
from rtl_gen.rules import nearest
from rtl_gen.schema import ArrayConfig
from rtl_gen.schema_common import Config
from rtl_gen.schema_detect import DetectConfig
from rtl_gen.tops import TOPS, UNBUILT

__all__ = [
    "ArrayConfig",
    "Config",
    "Derived",
    "DerivedDetector",
    "Design",
    "DetectConfig",
    "config_hash",
    "derive",
    "load",
    "parse",
    "retarget",
]

_Kind = TypeVar("_Kind", bound=Config)

MAX_FILE_BYTES = 256 * 1024
"""Far above any hand-written configuration; larger files are some other kind of file."""

_SYNONYMS = {
    "lanes": "schedule.unroll.m",
    "engines": "schedule.unroll.n",
    "k_split": "schedule.unroll.k",
    "clock": "target.clock_mhz",
    "part": "target.device",
    "queue": "schedule.buffers.event_queue",
}


class _Loader(yaml.SafeLoader):
    """Safe YAML without duplicate keys, which YAML would resolve silently to the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} must appear once", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


@overload
def load(path_or_preset: str | Path) -> ArrayConfig: ...


@overload
def load(path_or_preset: str | Path, kind: type[_Kind]) -> _Kind: ...


def load(path_or_preset: str | Path, kind: type[Config] = ArrayConfig) -> Config:
    """Configuration of a YAML file or of the preset with that name.

    A preset's name is taken before a file of the same name; write ``./edge`` for the file.

    Parameters
    ----------
    path_or_preset : str or Path
    kind : type
        What the caller can work on: a top's configuration, by default an array's, or `Config`
        for that of any top.

    Raises
    ------
    BadInput
        Where the file can't be read, is no configuration, breaks a rule, does not fit its
        device or is of another kind.
    """
    source = str(path_or_preset)
    text = preset_text(source) if source in preset_names() else _read(source)
    config = parse(_parse_yaml(text, source), source, kind)
    derive(config, source=source)
    return config


@overload
def parse(intent: object, source: str = "configuration") -> ArrayConfig: ...


@overload
def parse(intent: object, source: str, kind: type[_Kind]) -> _Kind: ...


def parse(
    intent: object, source: str = "configuration", kind: type[Config] = ArrayConfig
) -> Config:
    """Configuration from plain data as YAML gives it.

    ``source`` starts refusals; ``kind`` as for `load`.
    """
    if not isinstance(intent, Mapping):
        found = "nothing" if intent is None else _shown(intent)
        raise BadInput(f"{source}: configuration: must be a mapping of sections, got {found}")
    top = _top_of(intent, source)
    model = TOPS[top].configuration
    for path, section, key in _unknown_keys(model, intent, ()):
        dotted = ".".join((*path, str(key)))
        owner = _owner(dotted)
        if owner:
            raise BadInput(
                f"{source}: {dotted}: must be left out where interface.top is {top}, which has "
                f"no such thing (it belongs to {owner}), got {key!r}"
            )
        hint = _nearest_key(model, section, path, key)
        raise BadInput(f"{source}: {dotted}: must be a known key{hint}, got {key!r}")
    try:
        config = model.model_validate(intent)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{source}: {_sentence(first, intent)}") from error
    if not isinstance(config, kind):
        wanted = " or ".join(n for n, d in TOPS.items() if issubclass(d.configuration, kind))
        raise BadInput(
            f"{source}: interface.top: must be {wanted}, which is what this works on, got {top!r}"
        )
    return config


def _top_of(intent: Mapping[Any, Any], source: str) -> str:
    """Which top a configuration asks for, array where it does not say."""
    interface = intent.get("interface")
    top = interface.get("top", "array") if isinstance(interface, Mapping) else "array"
    if isinstance(top, str) and top in TOPS:
        return top
    known = ", ".join(TOPS)
    hint = nearest(top, list(TOPS)) if isinstance(top, str) else ""
    if isinstance(top, str) and top in UNBUILT:
        hint = f": {UNBUILT[top]}"
    raise BadInput(f"{source}: interface.top: must be one of {known}{hint}, got {_shown(top)}")


def _owner(dotted: str) -> str:
    """Names of the tops whose configurations have the field, joined, or nothing."""
    names = [name for name, design in TOPS.items() if dotted in _leaves(design.configuration)]
    return " and ".join(names)


@overload
def derive(config: ArrayConfig, *, source: str | None = None) -> Derived: ...


@overload
def derive(config: DetectConfig, *, source: str | None = None) -> DerivedDetector: ...


@overload
def derive(config: Config, *, source: str | None = None) -> Design: ...


def derive(config: Config, *, source: str | None = None) -> Design:
    """Decide every ``auto`` and check that the device can hold the result.

    The check compares estimates with the device database: it refuses what can't fit, and does
    not promise that the rest places and routes.

    Raises
    ------
    BadInput
        Where the device is too small; says what would fit. ``source`` starts the message, the
        configuration's name by default.
    """
    design = TOPS[config.interface.top].of(config, config_hash(config))
    design.check_fit(source or config.name)
    return design


def retarget(design: Design, family: str) -> Design:
    """The same design for ``family``; itself where its device is of that family already.

    The device becomes the family's own part. A multiplier that the configuration names is kept
    where it suits the family; otherwise the family's own is taken. Whether the part is large
    enough is not checked: area can be measured without.

    Raises
    ------
    KeyError
        Where ``family`` is none of ``constraints.families.FAMILIES``.
    """
    record = FAMILIES[family]
    if design.technology == family:
        return design
    target = design.config.target
    update = {"device": record.part}
    if getattr(target, "mac", "auto") not in ("auto", *record.macs):
        update["mac"] = "auto"
    changed = target.model_copy(update=update)
    config = design.config.model_copy(update={"target": changed})
    return type(design).of(config, config_hash(config))


def config_hash(config: Config) -> str:
    """SHA-256 in hexadecimal of the intent with defaults filled, as canonical JSON."""
    canonical = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _read(source: str) -> str:
    path = Path(source)
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        known = preset_names()
        presets = f"a preset ({', '.join(known)}) or an existing file"
        raise BadInput(
            f"{source}: configuration: must be {presets}{nearest(path.stem, known)}, got {source!r}"
        ) from None
    except IsADirectoryError:
        raise BadInput(f"{source}: configuration: must be a file, got a folder") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise BadInput(
            f"{source!r}: configuration: must be a readable file, got {reason}"
        ) from error
    if len(data) > MAX_FILE_BYTES:
        raise BadInput(
            f"{source}: configuration: must be at most {MAX_FILE_BYTES} bytes, got a larger file"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{source}: configuration: must be UTF-8 text, got byte "
            f"0x{data[error.start]:02x} at offset {error.start}"
        ) from error
    if "\0" in text:
        raise BadInput(f"{source}: configuration: must be UTF-8 text, got a binary file")
    return text


def _parse_yaml(text: str, source: str) -> object:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise BadInput(
            f"{source}: {line}configuration: must be valid YAML, got: {error.problem}"
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{source}: configuration: must be valid YAML, got: {reason}") from error
    except RecursionError as error:
        raise BadInput(
            f"{source}: configuration: must be nested four levels deep at most, got more"
        ) from error


def _sections(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    fields = model.model_fields.items()
    return {
        name: field.annotation
        for name, field in fields
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _unknown_keys(
    model: type[BaseModel], intent: Mapping[Any, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], type[BaseModel], object]]:
    for key in intent:
        if key not in model.model_fields:
            yield path, model, key
    for name, section in _sections(model).items():
        if isinstance(intent.get(name), Mapping):
            yield from _unknown_keys(section, intent[name], (*path, name))


def _leaves(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[str]:
    sections = _sections(model)
    for name in model.model_fields:
        yield ".".join((*path, name))
        if name in sections:
            yield from _leaves(sections[name], (*path, name))


def _nearest_key(
    model: type[Config], section: type[BaseModel], path: tuple[str, ...], key: object
) -> str:
    """Suggest the full dotted key: from the same section first, then from anywhere."""
    own = {name: ".".join((*path, name)) for name in section.model_fields}
    leaves = set(_leaves(model))
    anywhere = {dotted.rpartition(".")[2]: dotted for dotted in sorted(leaves)}
    anywhere |= {word: dotted for word, dotted in _SYNONYMS.items() if dotted in leaves}
    # Three loops share the names m, n and k: a suggestion among them would be a guess.
    for known in (own, {name: dotted for name, dotted in anywhere.items() if len(name) > 1}):
        hint = nearest(key, list(known))
        if hint:
            name = hint.removeprefix(" (did you mean ").removesuffix("?)")
            return f" (did you mean {known[name]}?)"
    return f" ({', '.join(own.values())})"


def _sentence(error: Any, intent: Mapping[Any, Any]) -> str:
    """One pydantic error as "<field>: <rule>, got <value>"."""
    context = error.get("ctx", {})
    field = context.get("field") or ".".join(map(str, error["loc"]))
    if error["type"] == "missing":
        return f"{field}: must be given, got nothing"
    if error["type"] == "model_type":
        return f"{field}: must be a mapping of keys, got {_shown(error['input'])}"
    message = error["msg"].removeprefix("Value error, ")
    return f"{field}: {message}, got {_shown(context.get('value', error['input']))}"


def _shown(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:
        return "an integer of thousands of digits"
