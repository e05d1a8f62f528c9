"""What to change in a configuration that its device can't hold, by estimate."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from constraints.devices import devices
from rtl_gen.derive import derive_shape, fits
from rtl_gen.schema import ArrayConfig

__all__ = ["what_fits"]

_OTHERS = {
    f"schedule.{section}.{field}": (section, field, least)
    for section, field, least in (
        ("buffers", "index_words", 16),
        ("buffers", "value_words", 16),
        ("buffers", "activation_tiles", 2),
        ("tile", "k", 16),
        ("unroll", "m", 2),
    )
}
"""Fields beside engines and columns, all powers of two, and the least value of each."""


def what_fits(config: ArrayConfig) -> tuple[str, Any, str]:
    """The field to change, its value now, and what would fit, in words.

    Tried in turn, each to its largest value that fits: fewer engines on the same columns; fewer
    columns of the same engines; fewer engines with the columns that each has; a smaller buffer, a
    shorter tile of k and fewer lanes, each with the engines as they are and then with one.
    """
    schedule = config.schedule
    engines, columns = schedule.unroll.n, schedule.tile.n // schedule.unroll.n
    for fewer in range(engines - 1, 0, -1):
        if _possible(config, {"unroll.n": fewer}):
            return "schedule.unroll.n", engines, f"schedule.unroll.n of at most {fewer} fits"
    for fewer in range(columns - 1, 0, -1):
        if _possible(config, {"tile.n": fewer * engines}):
            most = fewer * engines
            return "schedule.tile.n", schedule.tile.n, f"schedule.tile.n of at most {most} fits"
    for fewer in range(engines - 1, 0, -1):
        if _possible(config, {"unroll.n": fewer, "tile.n": fewer * columns}):
            text = f"schedule.unroll.n of at most {fewer} with schedule.tile.n of {fewer * columns}"
            return "schedule.unroll.n", engines, f"{text} fits"
    one = {"unroll.n": 1, "tile.n": columns}
    values = {name: getattr(getattr(schedule, s), n) for name, (s, n, _) in _OTHERS.items()}
    for other, beside in (({}, ""), (one, f" with schedule.unroll.n of 1, tile.n of {columns}")):
        for name, (section, field, least) in _OTHERS.items():
            for value in _halves(values[name], least):
                changes = {f"{section}.{field}": value, **other}
                if field == "m":
                    changes["tile.m"] = value
                if _possible(config, changes):
                    return name, values[name], f"{name} of at most {value}{beside} fits"
    return (
        "target.device",
        config.target.device,
        "no smaller value of one field of the schedule fits, not even with one engine",
    )


def _halves(value: int | str, least: int) -> Iterator[int]:
    """Smaller powers of two, none for ``auto``."""
    while isinstance(value, int) and value > least:
        value //= 2
        yield value


def _possible(config: ArrayConfig, changes: dict[str, int]) -> bool:
    """Whether the configuration with some fields of its schedule changed is one, and fits."""
    document = config.model_dump()
    for dotted, value in changes.items():
        section, _, name = dotted.partition(".")
        document["schedule"][section][name] = value
    unroll = document["schedule"]["unroll"]
    group, parts = document["schedule"]["group"], unroll["k"]
    # Fields that only follow the number of engines.
    if group != "auto" and unroll["n"] % group:
        document["schedule"]["group"] = "auto"
    if parts != "auto" and unroll["n"] % parts:
        unroll["k"] = 1
    try:
        changed = ArrayConfig.model_validate(document)
    except ValidationError:
        return False
    return fits(derive_shape(changed), devices()[config.target.device])
