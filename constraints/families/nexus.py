"""Lattice Nexus: CrossLink-NX, Certus-NX."""

from constraints.families.lattice_cells import LATTICE_CELLS
from constraints.family import Family, Synthesis

__all__ = ["FAMILY"]

FAMILY = Family(
    name="nexus",
    title="Lattice Nexus",
    part="lifcl-40",
    # Each 18x18 multiplier splits into two MULT9X9, if they are instantiated.
    macs={"nexus": 2, "split": 1, "packed": 1},
    byte_ports=True,
    constraints="sdc",
    synthesis=Synthesis(
        command="synth_nexus -noiopad -no-rw-check",
        cells=(
            (r"MULT(PREADD)?9X9", "dsp", 0.5),
            (r"MULT(PREADD|ADDSUB)?18X18", "dsp", 1),
            (r"MULT18X36|MULTADDSUB(18X18|9X9)WIDE", "dsp", 2),
            (r"MULT(ADDSUB)?36X36", "dsp", 4),
            (r"(DP|PDP|PDPSC|SP)16K(_MODE)?", "bram", 1),
            (r"(DP|PDP|PDPSC|DPSC|SP)512K", "large_ram", 1),
            *LATTICE_CELLS,
        ),
        dsp_unit="18x18 multiplier",
        bram_unit="EBR of 18 Kbit",
        bram_bits=18 * 1024,
        carry_luts=2,
    ),
)
