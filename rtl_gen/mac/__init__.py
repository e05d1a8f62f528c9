"""Two INT8 multiply-accumulates on one activation pair, one file per technology.

All share one interface (`PackedMac`), so an engine does not know how its products are made.
"""

from .base import PackedMac
from .dsp48 import Dsp48E1Mac, Dsp48E2Mac
from .ecp5 import Ecp5Mac
from .gowin import GowinMac
from .ice40 import Ice40Mac
from .nexus import NexusMac
from .packed import InferredMac
from .split import SplitMac

__all__ = ["MACS", "PRIMITIVES", "PackedMac"]

MACS: dict[str, type[PackedMac]] = {
    mac.kind.name: mac
    for mac in (
        InferredMac,
        SplitMac,
        Dsp48E2Mac,
        Dsp48E1Mac,
        Ecp5Mac,
        Ice40Mac,
        NexusMac,
        GowinMac,
    )
}
"""One class for each record of `golden.numerics.mac_kinds`; a new one is a file and a line here."""

PRIMITIVES = {name: mac.twin for name, mac in MACS.items() if mac.twin is not None}
"""File in ``primitives`` with the twins of the vendor's primitives, for simulation."""
