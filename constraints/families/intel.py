"""Intel (Altera) Cyclone V."""

from constraints.family import Family, Synthesis

__all__ = ["FAMILY"]

FAMILY = Family(
    name="intel",
    title="Intel Cyclone V",
    part="5cseba6",
    # Three 9x9 multipliers to a block; a packed operand takes a 27x27 one.
    macs={"split": 3, "packed": 2},
    # The two ports of an M10K differ too little in width; synthesis would take registers.
    byte_ports=False,
    block_bits=10 * 1024,
    block_width=40,
    small_depth=32,
    constraints="sdc",
    synthesis=Synthesis(
        command="synth_intel_alm -noiopad -noclkbuf",
        cells=(
            (r"MISTRAL_ALUT[2-6]", "lut", 1),
            (r"MISTRAL_ALUT_ARITH", "carry", 1),
            (r"MISTRAL_FF", "ff", 1),
            (r"MISTRAL_MUL27X27", "dsp", 1),
            (r"MISTRAL_MUL18X18", "dsp", 1 / 2),
            (r"MISTRAL_MUL9X9", "dsp", 1 / 3),
            (r"MISTRAL_M10K", "bram", 1),
            (r"MISTRAL_MLAB", "lutram", 1),
            (r"MISTRAL_(NOT|IB|OB|IO|CLKBUF)", "other", 1),
        ),
        dsp_unit="variable-precision DSP block",
        bram_unit="M10K",
        bram_bits=10 * 1024,
        carry_luts=1,
    ),
)
