"""Cells that Yosys leaves for AMD parts, 7 series and UltraScale+ alike."""

__all__ = ["XILINX_CELLS"]

XILINX_CELLS: tuple[tuple[str, str, float], ...] = (
    (r"LUT[1-6]|LUT6_2|CFGLUT5", "lut", 1),
    (r"MUXF[5-9]", "mux", 1),
    (r"CARRY[48]|MUXCY|XORCY", "carry", 1),
    (r"FD[CPRS]{1,2}E(_1)?|LD[CP]{1,2}E", "ff", 1),
    (r"DSP48(E|E1|E2|A|A1)?", "dsp", 1),
    (r"(RAMB|FIFO)36E[12]", "bram", 1),
    (r"(RAMB|FIFO)18E[12]", "bram", 0.5),
    (r"URAM288(_BASE)?", "large_ram", 1),
    (r"SRLC?16E?|SRLC32E|RAM(16|32|64)X1S(_1)?", "lutram", 1),
    (r"RAM(16|32|64)X1D(_1)?|RAM128X1S(_1)?", "lutram", 2),
    (r"RAM(32|64)M|RAM128X1D|RAM256X1S", "lutram", 4),
    (r"RAM32M16|RAM64M8|RAM256X1D|RAM512X1S|RAM32X16DR8|RAM64X8SW", "lutram", 8),
    # Inverters move into the LUT or register they feed when Vivado places the netlist.
    (r"INV|GND|VCC|I?O?BUF\w*|BUF(G|H|R|IO|MR)\w*|PULL(UP|DOWN)|KEEPER", "other", 1),
    (r"[IO]DDR\w*|[IO]DELAY\w*|[IO]SERDES\w*|(PLL|MMCM)E\d_(ADV|BASE)", "other", 1),
)
