"""The edge preset as plain data, with changes."""

import yaml

from constraints.presets import preset_text

ABSENT = object()


def changed(**values):
    """The edge preset as plain data with some dotted keys (``__`` for the dot) replaced."""
    intent = yaml.safe_load(preset_text("edge"))
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
