"""Gowin LittleBee and Arora (GW1N, GW2A)."""

from constraints.family import Family, Synthesis

__all__ = ["FAMILY"]

FAMILY = Family(
    name="gowin",
    title="Gowin",
    part="gw2a-18",
    # Each 18x18 multiplier splits into two MULT9X9, and inference takes them. A MULTALU36X18
    # spends two 18x18 multipliers on two products and saves the look-up tables of the sums.
    macs={"gowin": 1, "split": 2, "packed": 1},
    byte_ports=True,
    constraints="sdc",
    synthesis=Synthesis(
        command="synth_gowin -noiopads -no-rw-check",
        cells=(
            (r"LUT[1-4]", "lut", 1),
            (r"MUX2(_LUT[5-8])?", "mux", 1),
            (r"ALU", "carry", 1),
            (r"DFF\w*|DL(N?[CP]?E?)", "ff", 1),
            (r"RAM16S(DP)?[124]", "lutram", 4),
            (r"MULT9X9|PADD9", "dsp", 0.5),
            (r"MULT18X18|MULTALU18X18|PADD18", "dsp", 1),
            (r"MULTADDALU18X18|MULTALU36X18", "dsp", 2),
            (r"MULT36X36", "dsp", 4),
            (r"(SP|SDPB?|DPB?|pROM)(X9B?)?|ROM(X9)?", "bram", 1),
            (r"INV|GND|VCC|[IOT]BUF|IOBUF|BUFG|GSR|rPLL|PLLVR|OSC\w?", "other", 1),
        ),
        dsp_unit="18x18 multiplier",
        bram_unit="BSRAM of 18 Kbit",
        bram_bits=18 * 1024,
        carry_luts=1,
    ),
)
