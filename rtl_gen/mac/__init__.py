"""Two INT8 multiply-accumulates on one activation pair, one file per technology.

All share one interface (`PackedMac`), so an engine does not know how its products are made.
"""

from .base import PackedMac
from .dsp48 import Dsp48E1Mac, Dsp48E2Mac
from .packed import InferredMac
from .split import SplitMac

__all__ = ["MACS", "PackedMac"]

MACS: dict[str, type[PackedMac]] = {
    "packed": InferredMac,
    "split": SplitMac,
    "dsp48e2": Dsp48E2Mac,
    "dsp48e1": Dsp48E1Mac,
}
