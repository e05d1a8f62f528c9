"""Convert each distinct component once and instantiate it as often as needed.

A parent builds its child as an ordinary component and connects the child's ports; only how the
child enters the netlist differs.  Simulated in Python it is a submodule.  Emitted, it becomes an
instance of a module that is named by class and parameters and converted a single time.
"""

from collections.abc import Callable
from typing import Any, Protocol, cast

from amaranth.hdl import (
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Value,
    ValueCastable,
)
from amaranth.lib import wiring

__all__ = ["Distinct", "Emission", "place"]


class Distinct(Protocol):
    """A component that knows the name of the module it becomes."""

    module_name: str


def _parameters(component: wiring.Component) -> dict[str, object]:
    """What a component was made from: its class and all that it keeps but ports and parts."""
    kept = {
        name: value
        for name, value in vars(component).items()
        if name not in component.signature.members
        and not isinstance(value, Elaboratable | Value | ValueCastable)
        and not name.startswith("_MustUse__")
    }
    return {**kept, "class": type(component), "ports": component.signature}


class Emission:
    """The platform object handed to ``elaborate`` while emitting.

    Attributes:
        pending: factories of the modules that were instantiated, by module name, in the order
            of their first use.
    """

    def __init__(self) -> None:
        self.pending: dict[str, wiring.Component] = {}

    def instance(self, component: wiring.Component) -> Instance:
        """Return an instance whose ports are the component's own signals.

        Raises:
            ValueError: another component has the same name and other parameters.
        """
        name = cast(Distinct, component).module_name
        known = self.pending.setdefault(name, component)
        if known is not component:
            if _parameters(known) != _parameters(component):
                raise ValueError(f"module {name}: two components of this name must be alike")
            # Amaranth warns of components that are built but not elaborated; this one only
            # lends its ports.
            cast(Any, component)._MustUse__silence = True
        ports: list[tuple[str, str, object]] = [
            ("i", "clk", ClockSignal()),
            ("i", "rst", ResetSignal()),
        ]
        for path, member, value in component.signature.flatten(component):
            kind = "i" if member.flow == wiring.In else "o"
            if isinstance(value, ValueCastable):
                value = value.as_value()
            ports.append((kind, "__".join(str(part) for part in path), value))
        return Instance(name, *[cast(tuple, port) for port in ports])


def place(
    m: Module,
    platform: object,
    name: str,
    component: wiring.Component,
    wrap: Callable[[Any], Any] = lambda child: child,
) -> None:
    """Add ``component`` to ``m`` as submodule ``name``: inline, or as an instance.

    ``wrap`` is applied to what is added, for instance a domain renamer.
    """
    child: Elaboratable | Instance = component
    if isinstance(platform, Emission):
        child = platform.instance(component)
    setattr(m.submodules, name, wrap(child))
