"""Device database: what each supported part holds, read from ``devices.yaml``.

A new part is one more record there. A new family also needs a line in ``FAMILIES``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml

__all__ = ["FAMILIES", "Device", "Family", "devices"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """What all parts of one technology have in common.

    Parameters
    ----------
    mac : str
        Multiplier module that ``mac: auto`` stands for.
    macs : tuple of str
        Multiplier modules that the technology can hold.
    products_per_dsp : mapping
        INT8 products per DSP block and cycle, by multiplier module.
    block_bits, block_width : int
        Capacity in bits and widest word in bits of one block RAM with a read and a write port.
    small_depth : int
        Memories of at most this many words go to look-up tables; 0 where none can.
    """

    mac: str
    macs: tuple[str, ...]
    products_per_dsp: Mapping[str, int]
    block_bits: int = 18 * 1024
    block_width: int = 36
    small_depth: int = 64


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "xcup": Family(
            mac="dsp48e2",
            macs=("dsp48e2", "packed", "split"),
            products_per_dsp={"dsp48e2": 2, "packed": 2, "split": 1},
        ),
        "xc7": Family(
            mac="dsp48e1",
            macs=("dsp48e1", "packed", "split"),
            products_per_dsp={"dsp48e1": 2, "packed": 2, "split": 1},
        ),
        # A packed operand is wider than 18 bits: two MULT18X18D for two products.
        "ecp5": Family(
            mac="ecp5",
            macs=("ecp5", "split", "packed"),
            products_per_dsp={"ecp5": 1, "split": 1, "packed": 1},
        ),
        "ice40": Family(
            mac="ice40",
            macs=("ice40", "split", "packed"),
            products_per_dsp={"ice40": 2, "split": 1, "packed": 1},
            block_bits=4 * 1024,
            block_width=16,
            small_depth=0,
        ),
        # Each 18x18 multiplier splits into two MULT9X9, if they are instantiated.
        "nexus": Family(
            mac="nexus",
            macs=("nexus", "split", "packed"),
            products_per_dsp={"nexus": 2, "split": 1, "packed": 1},
        ),
        # Likewise, and inference takes them. A MULTALU36X18 spends two 18x18 multipliers on two
        # products and saves the look-up tables of the sums.
        "gowin": Family(
            mac="gowin",
            macs=("gowin", "split", "packed"),
            products_per_dsp={"gowin": 1, "split": 2, "packed": 1},
        ),
        "generic": Family(
            mac="packed", macs=("packed", "split"), products_per_dsp={"packed": 2, "split": 1}
        ),
    }
)
"""Technologies by the name that ``sparsefuse synth --target`` uses."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """One part. ``None`` means that the figure is not limited (generic)."""

    name: str
    family: str
    board: str
    luts: int | None = None
    ffs: int | None = None
    dsps: int | None = None
    bram_kbit: int | None = None
    nextpnr_program: str | None = None
    nextpnr_args: tuple[str, ...] = ()

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


@cache
def devices() -> Mapping[str, Device]:
    """All parts by name, in the order of the file."""
    records = yaml.safe_load(files("constraints").joinpath("devices.yaml").read_text("utf-8"))
    table = {}
    for name, record in records.items():
        nextpnr = record.pop("nextpnr", {})
        table[name] = Device(
            name=name,
            nextpnr_program=nextpnr.get("program"),
            nextpnr_args=tuple(nextpnr.get("args", ())),
            **record,
        )
    return MappingProxyType(table)
