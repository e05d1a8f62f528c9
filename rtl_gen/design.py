"""A design: what a configuration derives to, whichever top it asks for."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from constraints.devices import Device, devices
from rtl_gen.schema_common import Config
from rtl_gen.top.registers import Register

__all__ = ["Design", "Top"]


class Top(Protocol):
    """A top module: a component that knows its name and its constant registers."""

    module_name: str

    @property
    def constants(self) -> dict[str, int]:
        """Values of the registers that never change, by name."""
        ...


@dataclass(frozen=True, kw_only=True)
class Design(ABC):
    """Everything downstream needs to know of a configuration; one subclass per top.

    A new top is a configuration class, a subclass of this one, and its line in
    `rtl_gen.tops.TOPS`.

    Parameters
    ----------
    config : Config
        The intent with defaults filled.
    shape : dataclass of golden
        Dimensions with every ``auto`` decided; hardware and models are built from it.
    config_hash : str
        SHA-256 of the intent, 64 hexadecimal digits.
    """

    top: ClassVar[str]
    """Value of ``interface.top``."""

    configuration: ClassVar[type[Config]]
    """What a configuration of this top consists of."""

    preset: ClassVar[str]
    """Preset that a new configuration starts from."""

    config: Config
    shape: Any
    config_hash: str

    @classmethod
    @abstractmethod
    def of(cls, config: Any, config_hash: str) -> Self:
        """Derive the parameters of a configuration, each ``auto`` decided."""

    @abstractmethod
    def check_fit(self, source: str) -> None:
        """Refuse what the device can't hold by estimate.

        Raises
        ------
        BadInput
            Says what would fit; ``source`` starts the message.
        """

    @abstractmethod
    def component(self) -> Top:
        """The top module, ready for emission."""

    @property
    @abstractmethod
    def registers(self) -> tuple[Register, ...]:
        """The top's registers."""

    @abstractmethod
    def manifest(self) -> dict:
        """Fields of ``manifest.json`` that only this top has, and ``array``, ``macs``, ``units``.

        ``array`` names the module without the bus around it; areas are given per INT8 multiplier
        lane where ``macs`` counts some, else per unit.
        """

    @abstractmethod
    def figures(self) -> tuple[str, list[tuple[str, object]]]:
        """Size of the design in words, and rows of a table for people."""

    @property
    def primitive(self) -> str | None:
        """Name of the vendor primitive's twin that simulations need, None for none."""
        return None

    @property
    def name(self) -> str:
        """Name of the design."""
        return self.config.name

    @property
    def clock_mhz(self) -> float:
        """Clock that constraints ask for, in MHz."""
        return self.config.target.clock_mhz

    @property
    def device(self) -> Device:
        """Record of the part in the device database."""
        return devices()[self.config.target.device]

    @property
    def technology(self) -> str:
        """Family of the part, a name of ``constraints.devices.FAMILIES``."""
        return self.device.family

    @property
    def hash_word(self) -> int:
        """First 32 bits of the hash, as the register CONFIG_HASH shows them."""
        return int(self.config_hash[:8], 16)
