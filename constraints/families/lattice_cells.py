"""Cells that Yosys leaves for Lattice's ECP5 and Nexus alike."""

__all__ = ["LATTICE_CELLS"]

LATTICE_CELLS: tuple[tuple[str, str, float], ...] = (
    (r"LUT4", "lut", 1),
    (r"PFUMX|L6MUX21|WIDEFN9", "mux", 1),
    (r"CCU2C?", "carry", 1),
    (r"TRELLIS_FF|[IO]?FD1[PS]3[A-Z]X", "ff", 1),
    (r"(TRELLIS_)?DPR16X4C?", "lutram", 4),
    (r"INV|GND|VCC|VLO|VHI|IB|OB|OBZ|BB|TRELLIS_IO|DCCA?|GSR|PUR", "other", 1),
    (r"[IO]DDRX1F?|EHXPLLL|PLL|OSC[AG]", "other", 1),
)
