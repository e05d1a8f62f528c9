"""Presets as plain data, with changes."""

import yaml

from constraints.presets import preset_text

ABSENT = object()


def changed(**values):
    """The edge preset as `changed_in` gives it."""
    return changed_in("edge", **values)


def changed_in(preset, **values):
    """A preset as plain data with some dotted keys (``__`` for the dot) replaced."""
    intent = yaml.safe_load(preset_text(preset))
    for dotted, value in values.items():
        *path, last = dotted.split("__")
        section = intent
        for name in path:
            section = section.setdefault(name, {})
        if value is ABSENT:
            del section[last]
        else:
            section[last] = value
    return intent


def dotted(key):
    return key.replace("__", ".")
