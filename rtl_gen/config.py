"""Configuration in two stages: user intent is loaded from YAML, parameters are derived from it.

``load`` turns a file or a preset into a frozen :class:`~rtl_gen.schema.Config`; ``derive``
decides every ``auto``, checks the result against the device and gives the
:class:`~golden.shape.ArrayShape` from which everything downstream is built. Nothing after
``derive`` reads the file. Every refusal is a :class:`~golden.errors.BadInput` whose message
reads "<file>: <field>: <rule>, got <value>".
"""

import hashlib
import json
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from constraints.presets import preset_names, preset_text
from golden.errors import BadInput
from rtl_gen.derive import Derived, derive_shape, estimate
from rtl_gen.fit import what_fits
from rtl_gen.rules import nearest
from rtl_gen.schema import Config

__all__ = ["Config", "Derived", "config_hash", "derive", "load", "parse"]

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


def load(path_or_preset: str | Path) -> Config:
    """Configuration of a YAML file or of the preset with that name.

    A preset's name is taken before a file of the same name; write ``./edge`` for the file.

    Raises
    ------
    BadInput
        Where the file can't be read, is no configuration, breaks a rule or does not fit its
        device.
    """
    source = str(path_or_preset)
    text = preset_text(source) if source in preset_names() else _read(source)
    config = parse(_parse_yaml(text, source), source)
    derive(config, source=source)
    return config


def parse(intent: object, source: str = "configuration") -> Config:
    """Configuration from plain data as YAML gives it; ``source`` starts refusals."""
    if not isinstance(intent, Mapping):
        found = "nothing" if intent is None else _shown(intent)
        raise BadInput(f"{source}: configuration: must be a mapping of sections, got {found}")
    for path, section, key in _unknown_keys(Config, intent, ()):
        dotted = ".".join((*path, str(key)))
        hint = _nearest_key(section, path, key)
        raise BadInput(f"{source}: {dotted}: must be a known key{hint}, got {key!r}")
    try:
        return Config.model_validate(intent)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{source}: {_sentence(first, intent)}") from error


def derive(config: Config, *, source: str | None = None) -> Derived:
    """Decide every ``auto`` and check that the device can hold the result.

    The check compares estimates of multiplier blocks and block RAM with the device database:
    it refuses what can't fit, and does not promise that the rest places and routes.

    Raises
    ------
    BadInput
        Where the device is too small; says what would fit. ``source`` starts the message, the
        configuration's name by default.
    """
    shape = derive_shape(config)
    derived = Derived(config=config, shape=shape, config_hash=config_hash(config))
    device = derived.device
    needs = estimate(shape, device)
    for resource, needed, available in (
        ("DSP blocks", needs.dsps, device.dsps),
        ("block RAMs", needs.block_rams, device.block_rams),
    ):
        if available is not None and needed > available:
            field, value, advice = what_fits(config)
            raise BadInput(
                f"{source or config.name}: {field}: must fit {device.name}, which has "
                f"{available} {resource} where about {needed} are needed (estimate; {advice}), "
                f"got {value}"
            )
    return derived


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


def _nearest_key(section: type[BaseModel], path: tuple[str, ...], key: object) -> str:
    """Suggest the full dotted key: from the same section first, then from anywhere."""
    own = {name: ".".join((*path, name)) for name in section.model_fields}
    # Three loops share the names m, n and k: a suggestion among them would be a guess.
    anywhere = {dotted.rpartition(".")[2]: dotted for dotted in _leaves(Config)} | _SYNONYMS
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
