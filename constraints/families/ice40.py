"""Lattice iCE40 UltraPlus, the only iCE40 with multiplier blocks."""

from constraints.family import Family, PlaceAndRoute, Synthesis

__all__ = ["FAMILY"]

FAMILY = Family(
    name="ice40",
    title="Lattice iCE40 UltraPlus",
    part="ice40up5k",
    macs={"ice40": 2, "split": 1, "packed": 1},
    byte_ports=True,
    block_bits=4 * 1024,
    block_width=16,
    small_depth=0,
    constraints="pcf",
    synthesis=Synthesis(
        command="synth_ice40 -dsp -no-rw-check -device u",
        cells=(
            (r"SB_LUT4", "lut", 1),
            (r"SB_CARRY", "carry", 1),
            (r"SB_DFF\w*", "ff", 1),
            (r"SB_MAC16", "dsp", 1),
            (r"SB_RAM40_4K(NR)?(NW)?", "bram", 1),
            (r"SB_SPRAM256KA", "large_ram", 1),
            (r"SB_(IO|GB|GB_IO|IO_OD|[HL]FOSC|RGBA_DRV|PLL40_\w+|WARMBOOT)", "other", 1),
        ),
        dsp_unit="SB_MAC16",
        bram_unit="SB_RAM40_4K",
        bram_bits=4 * 1024,
        instantiated="SB_MAC16",
        instance_command="synth_ice40 -no-rw-check -device u",
    ),
    place_and_route=PlaceAndRoute(
        program="nextpnr-ice40",
        part=("--{size}", "--package", "{package}"),
        options=("--pcf-allow-unconstrained",),
        shell=True,
    ),
)
