"""Configurations as plain data, with changes."""

from copy import deepcopy

import yaml

from constraints.presets import preset_text

ABSENT = object()
PLAIN = {
    "name": "plain",
    "target": {"device": "lfe5u-85f", "clock_mhz": 100},
    "schedule": {
        "unroll": {"m": 16, "n": 8, "k": 1},
        "tile": {"m": 16, "n": 256, "k": 256},
        "kernels": ["dense", "bitmap"],
    },
    "interface": {"top": "array", "data_bits": 128},
}


def changed(**values):
    """An array with some dotted keys (``__`` for the dot) replaced."""
    return _replaced(deepcopy(PLAIN), values)


def changed_in(preset, **values):
    """A preset as plain data with some dotted keys replaced."""
    return _replaced(yaml.safe_load(preset_text(preset)), values)


def _replaced(intent, values):
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
