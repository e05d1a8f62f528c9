"""Lattice ECP5 and ECP5-5G."""

from constraints.families.lattice_cells import LATTICE_CELLS
from constraints.family import Family, PlaceAndRoute, Synthesis

__all__ = ["FAMILY"]

FAMILY = Family(
    name="ecp5",
    title="Lattice ECP5",
    part="lfe5u-85f",
    # A packed operand is wider than 18 bits: two MULT18X18D for two products.
    macs={"ecp5": 1, "split": 1, "packed": 1},
    byte_ports=True,
    constraints="lpf",
    synthesis=Synthesis(
        command="synth_ecp5 -no-rw-check",
        cells=(
            (r"MULT18X18D", "dsp", 1),
            # The adder behind a pair of multipliers is part of their block, not one more.
            (r"ALU54B", "other", 1),
            (r"DP16KD|PDPW16KD", "bram", 1),
            *LATTICE_CELLS,
        ),
        dsp_unit="MULT18X18D",
        bram_unit="DP16KD",
        bram_bits=18 * 1024,
        carry_luts=2,
    ),
    place_and_route=PlaceAndRoute(
        program="nextpnr-ecp5",
        part=("--{size}", "--package", "{package}", "--speed", "{speed}"),
        # Out of context: ports stay wires, so a module wider than the package still places. Paths
        # out of block memory take most of a cycle, so that timing has to outweigh the length of
        # wires.
        options=("--out-of-context", "--placer-heap-timingweight", "100"),
    ),
)
