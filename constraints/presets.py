"""Preset configurations: the YAML files of the ``presets`` folder, by name."""

from importlib.resources import files

__all__ = ["preset_names", "preset_text"]

_FOLDER = files("constraints").joinpath("presets")


def preset_names() -> tuple[str, ...]:
    """Names of all presets, sorted."""
    names = (entry.name for entry in _FOLDER.iterdir())
    return tuple(sorted(name[: -len(".yaml")] for name in names if name.endswith(".yaml")))


def preset_text(name: str) -> str:
    """YAML text of the preset ``name``.

    Raises
    ------
    KeyError
        Where there is no such preset.
    """
    if name not in preset_names():
        raise KeyError(name)
    return _FOLDER.joinpath(f"{name}.yaml").read_text("utf-8")
