"""The ways to build a pair of INT8 multiply-accumulates, as far as the golden model knows them.

What a pair computes is the same for all (`golden.numerics.packed`); when it is visible is not.
Each record has a class of the same name in ``rtl_gen.mac``, and the records of the device families
(``constraints.families``) say which suit them and how many products a block then computes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["MAC_KINDS", "MacKind"]


@dataclass(frozen=True, kw_only=True)
class MacKind:
    """One technology.

    Attributes:
        name: what ``target.mac`` of a configuration and `ArrayShape` call it.
        latency_cycles: cycles from the operands to the visible sum.
        sum_bits: width of a sum up to which the multiplier block needs least beside it; None where
            each bit costs the same.
    """

    name: str
    latency_cycles: int
    sum_bits: int | None = None


MAC_KINDS: Mapping[str, MacKind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            MacKind(name="packed", latency_cycles=3),
            MacKind(name="split", latency_cycles=3),
            MacKind(name="dsp48e2", latency_cycles=4, sum_bits=24),
            MacKind(name="dsp48e1", latency_cycles=4),
            MacKind(name="ecp5", latency_cycles=5),
            MacKind(name="ice40", latency_cycles=3),
            MacKind(name="nexus", latency_cycles=3),
            MacKind(name="gowin", latency_cycles=3),
        )
    }
)
"""All technologies by name, in the order of the documentation."""
