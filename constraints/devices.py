"""Device database: what each supported part holds, read from ``devices.yaml``.

A new part is one more record there; what the parts of a family share is in
`constraints.families`.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from constraints.families import FAMILIES
from constraints.family import Family

__all__ = ["Device", "devices", "parse_devices"]


class Device(BaseModel):
    """One part. ``None`` means that the figure is not limited or not known.

    Attributes:
        name: what a configuration calls it.
        family: a name of `constraints.families.FAMILIES`.
        board: boards that carry it.
        luts, ffs: look-up tables and flip-flops.
        dsps: multiplier blocks.
        bram_kbit: block RAM in kbit of 1024 bits.
        size, package, speed: what nextpnr needs to know of the part, as it spells them; a part
            of a family with place and route has those that its family asks for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    family: str
    board: str = Field(min_length=1)
    luts: int | None = Field(default=None, gt=0)
    ffs: int | None = Field(default=None, gt=0)
    dsps: int | None = Field(default=None, gt=0)
    bram_kbit: int | None = Field(default=None, gt=0)
    size: str | None = None
    package: str | None = None
    speed: str | None = None

    @model_validator(mode="after")
    def _check_family(self) -> Self:
        if self.family not in FAMILIES:
            raise ValueError(f"family: must be one of {', '.join(FAMILIES)}, got {self.family!r}")
        router = self.technology.place_and_route
        wanted = () if router is None else router.fields
        for field in ("size", "package", "speed"):
            if (getattr(self, field) is not None) != (field in wanted):
                rule = "must be given" if field in wanted else "must not be given"
                raise ValueError(
                    f"{field}: {rule} for a part of {self.family}, got {getattr(self, field)!r}"
                )
        return self

    @property
    def technology(self) -> Family:
        """What the part shares with its family."""
        return FAMILIES[self.family]

    @property
    def block_rams(self) -> int | None:
        """Block RAMs of ``technology.block_bits`` each."""
        if self.bram_kbit is None:
            return None
        return self.bram_kbit * 1024 // self.technology.block_bits

    @property
    def nextpnr_arguments(self) -> tuple[str, ...]:
        """Arguments that make nextpnr take this part; none without open place and route."""
        router = self.technology.place_and_route
        if router is None:
            return ()
        fields = {"size": self.size, "package": self.package, "speed": self.speed}
        return tuple(argument.format(**fields) for argument in router.part)


def parse_devices(text: str) -> Mapping[str, Device]:
    """Parts by name, from records in YAML, in their order.

    Raises
    ------
    ValueError
        Where a record breaks a rule; the message names the part and the field.
    """
    records = yaml.safe_load(text)
    table = {}
    for name, record in records.items():
        try:
            table[name] = Device.model_validate({"name": name, **record})
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return MappingProxyType(table)


@cache
def devices() -> Mapping[str, Device]:
    """All parts by name, in the order of the file."""
    return parse_devices(files("constraints").joinpath("devices.yaml").read_text("utf-8"))
