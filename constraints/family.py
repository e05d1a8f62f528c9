"""What a record of a device family says; the records themselves stand in ``families``.

All facts about one family are in its record: which multipliers suit it, what its memories can do,
the format of its constraints, how Yosys maps to it and how its cells count, and how it is placed
and routed.  Nothing else in the product names a family, but benches, which choose one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CELL_CLASSES", "Family", "PlaceAndRoute", "Synthesis"]

CELL_CLASSES = ("lut", "ff", "dsp", "bram", "large_ram", "lutram", "carry", "mux")
"""Cell classes of a synthesis report; a cell of class ``other`` is listed, but belongs to no total.
"""


@dataclass(frozen=True, kw_only=True)
class Synthesis:
    """How Yosys maps a design to the family, and what the cells that it leaves count as.

    Parameters
    ----------
    command : str
        Yosys' synthesis command, to which ``-top NAME`` is added.
    cells : tuple of (pattern, class, units)
        The first pattern that matches a whole cell name decides. ``units`` is what one cell adds
        to its class: a LUT adds 1, a ``lutram`` cell the LUTs that hold its data.
    dsp_unit, bram_unit : str
        The blocks that ``dsp`` and ``bram`` count, for people.
    bram_bits : int
        Capacity of one ``bram_unit`` in bits.
    carry_luts : int
        LUTs that one carry cell occupies besides its chain; 0 where other LUTs feed it.
    instantiated : str or None
        A multiplier block that ``command`` must not meet as an instance, because its inference
        pass would overwrite the ports (Yosys issue 2922); None if any may be.
    instance_command : str or None
        The command without that pass, for designs with such instances.
    """

    command: str
    cells: tuple[tuple[str, str, float], ...]
    dsp_unit: str
    bram_unit: str
    bram_bits: int
    carry_luts: int = 0
    instantiated: str | None = None
    instance_command: str | None = None

    def __post_init__(self) -> None:
        for pattern, kind, units in self.cells:
            re.compile(pattern)
            if kind not in (*CELL_CLASSES, "other") or units <= 0:
                raise ValueError(
                    f"cells: {pattern}: must have one of the classes "
                    f"{', '.join(CELL_CLASSES)}, other and units above 0, got {kind!r}, {units}"
                )
        if (self.instantiated is None) != (self.instance_command is None):
            raise ValueError("instance_command: must be given with instantiated, and only then")


@dataclass(frozen=True, kw_only=True)
class PlaceAndRoute:
    """How nextpnr places and routes the family.

    Parameters
    ----------
    program : str
        Name of the program, such as ``nextpnr-ecp5``; the wheel is ``yowasp-`` and this name.
    part : tuple of str
        Arguments that choose the part. ``{size}``, ``{package}`` and ``{speed}`` stand for the
        fields of its record in the device database.
    options : tuple of str
        Further arguments, the same for every part.
    shell : bool
        Every port needs a pin, so the design is placed inside a shell that scans its ports.
    """

    program: str
    part: tuple[str, ...]
    options: tuple[str, ...] = ()
    shell: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of a part's record that ``part`` names."""
        return tuple(dict.fromkeys(re.findall(r"\{(\w+)\}", " ".join(self.part))))

    def __post_init__(self) -> None:
        unknown = set(self.fields) - {"size", "package", "speed"}
        if unknown:
            raise ValueError(f"part: must name size, package and speed only, got {sorted(unknown)}")


@dataclass(frozen=True, kw_only=True)
class Family:
    """What all parts of one technology have in common.

    Parameters
    ----------
    name : str
        What ``sparsefuse synth --target`` and the device database call it.
    title : str
        Its name for people.
    part : str
        The part that a design is rebuilt for where its configuration names another family's.
    macs : mapping
        Multiplier modules that suit the family to the INT8 products that one multiplier block
        then computes per cycle. The first is what ``target.mac: auto`` stands for.
    byte_ports : bool
        Block RAM can be written in beats of up to 512 bits and read in bytes; otherwise 64-bit
        words are read and the byte is chosen behind the memory.
    block_bits, block_width : int
        Capacity in bits and widest word in bits of one block RAM with a read and a write port.
    small_depth : int
        Memories of at most this many words go to look-up tables; 0 where none can.
    constraints : str
        Format of a constraint file: its extension and the name of its template.
    synthesis : Synthesis or None
        None where there is no part to map to, so that the family is no ``--target``.
    place_and_route : PlaceAndRoute or None
        None without open place and route.
    """

    name: str
    title: str
    part: str
    macs: Mapping[str, int]
    byte_ports: bool
    block_bits: int = 18 * 1024
    block_width: int = 36
    small_depth: int = 64
    constraints: str
    synthesis: Synthesis | None
    place_and_route: PlaceAndRoute | None = None

    def __post_init__(self) -> None:
        if not self.macs or any(products < 1 for products in self.macs.values()):
            raise ValueError(
                f"{self.name}: macs: must name multipliers with 1 product per block or more, "
                f"got {dict(self.macs)}"
            )
        if self.place_and_route is not None and self.synthesis is None:
            raise ValueError(f"{self.name}: place_and_route: must come with synthesis")

    @property
    def mac(self) -> str:
        """Multiplier module that ``target.mac: auto`` stands for."""
        return next(iter(self.macs))
