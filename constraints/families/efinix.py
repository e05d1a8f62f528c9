"""Efinix Trion."""

from constraints.family import Family, Synthesis

__all__ = ["FAMILY"]

FAMILY = Family(
    name="efinix",
    title="Efinix Trion",
    part="t20",
    # An 18x18 multiplier takes one product; a packed operand is wider and takes two of them.
    macs={"split": 1, "packed": 1},
    byte_ports=False,
    block_bits=5 * 1024,
    block_width=20,
    small_depth=0,
    constraints="sdc",
    synthesis=Synthesis(
        command="synth_efinix",
        cells=(
            (r"EFX_LUT4", "lut", 1),
            (r"EFX_ADD", "carry", 1),
            (r"EFX_FF", "ff", 1),
            (r"EFX_RAM_5K", "bram", 1),
            (r"EFX_GBUFCE", "other", 1),
        ),
        # Yosys maps no multiplier block of this family, so the total is 0 by construction.
        dsp_unit="none",
        bram_unit="EFX_RAM_5K",
        bram_bits=5 * 1024,
        carry_luts=1,
    ),
)
