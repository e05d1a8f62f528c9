"""What each synthesis target is called, how Yosys maps to it, and what its cells count as."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from golden.errors import CheckFailed

__all__ = ["CLASSES", "TARGETS", "Target"]

CLASSES = ("lut", "ff", "dsp", "bram", "large_ram", "lutram", "carry", "mux")
"""Cell classes of a report; a cell of class ``other`` is listed but belongs to no total."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One FPGA family.

    Parameters:
        title: the family's name for people.
        command: Yosys' synthesis command, to which ``-top NAME`` is added.
        cells: rows ``(pattern, class, units)``; the first pattern that matches a whole cell
            name decides. ``units`` is what one cell adds to its class: LUTs hold 1; a
            ``lutram`` cell adds the LUTs that hold its data.
        dsp_unit: the block that ``dsp`` counts.
        bram_unit: the block that ``bram`` counts.
        carry_luts: LUTs that one carry cell occupies besides its chain; 0 where LUTs feed it.
        device: arguments that choose nextpnr's device; None without open place and route.
        instantiated: a multiplier block that ``command`` must not meet as an instance, because
            its inference pass would overwrite the ports (Yosys issue 2922); None if any may be.
        instance_command: the command without that pass, for designs with such instances.
    """

    title: str
    command: str
    cells: tuple[tuple[str, str, float], ...]
    dsp_unit: str
    bram_unit: str
    carry_luts: int = 0
    device: tuple[str, ...] | None = None
    instantiated: str | None = None
    instance_command: str | None = None

    def command_for(self, sources: Iterable[Path]) -> str:
        """Return the synthesis command that suits the Verilog files of a design."""
        if self.instantiated is None or self.instance_command is None:
            return self.command
        instance = re.compile(rf"^\s*{self.instantiated}\b", re.M)
        found = any(instance.search(source.read_text()) for source in sources)
        return self.instance_command if found else self.command

    def totals(self, cells: Mapping[str, int]) -> dict[str, float]:
        """Sum cells by class.

        Returns:
            Every name of :data:`CLASSES` to its total, in the units of the table.

        Raises:
            CheckFailed: a cell is in no row, so that no total silently misses it.
        """
        totals: dict[str, float] = dict.fromkeys(CLASSES, 0.0)
        for name, count in cells.items():
            for pattern, kind, units in self.cells:
                if re.fullmatch(pattern, name):
                    if kind != "other":
                        totals[kind] += units * count
                    break
            else:
                raise CheckFailed(
                    f"{self.title}: cell {name!r} has no class in the target's table, "
                    f"so its {count} instances can't be counted"
                )
        return totals


_XILINX: tuple[tuple[str, str, float], ...] = (
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

_LATTICE: tuple[tuple[str, str, float], ...] = (
    (r"LUT4", "lut", 1),
    (r"PFUMX|L6MUX21|WIDEFN9", "mux", 1),
    (r"CCU2C?", "carry", 1),
    (r"TRELLIS_FF|[IO]?FD1[PS]3[A-Z]X", "ff", 1),
    (r"(TRELLIS_)?DPR16X4C?", "lutram", 4),
    (r"INV|GND|VCC|VLO|VHI|IB|OB|OBZ|BB|TRELLIS_IO|DCCA?|GSR|PUR", "other", 1),
    (r"[IO]DDRX1F?|EHXPLLL|PLL|OSC[AG]", "other", 1),
)

_GOWIN: tuple[tuple[str, str, float], ...] = (
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
)

_INTEL: tuple[tuple[str, str, float], ...] = (
    (r"MISTRAL_ALUT[2-6]", "lut", 1),
    (r"MISTRAL_ALUT_ARITH", "carry", 1),
    (r"MISTRAL_FF", "ff", 1),
    (r"MISTRAL_MUL27X27", "dsp", 1),
    (r"MISTRAL_MUL18X18", "dsp", 1 / 2),
    (r"MISTRAL_MUL9X9", "dsp", 1 / 3),
    (r"MISTRAL_M10K", "bram", 1),
    (r"MISTRAL_MLAB", "lutram", 1),
    (r"MISTRAL_(NOT|IB|OB|IO|CLKBUF)", "other", 1),
)

TARGETS: dict[str, Target] = {
    "xcup": Target(
        title="AMD UltraScale+",
        command="synth_xilinx -family xcup -noiopad -noclkbuf -flatten",
        cells=_XILINX,
        dsp_unit="DSP48E2",
        bram_unit="RAMB36E2",
    ),
    "xc7": Target(
        title="AMD 7 series",
        command="synth_xilinx -family xc7 -noiopad -noclkbuf -flatten",
        cells=_XILINX,
        dsp_unit="DSP48E1",
        bram_unit="RAMB36E1",
    ),
    "ecp5": Target(
        title="Lattice ECP5",
        command="synth_ecp5 -no-rw-check",
        cells=(
            (r"MULT18X18D", "dsp", 1),
            # The adder behind a pair of multipliers is part of their block, not one more.
            (r"ALU54B", "other", 1),
            (r"DP16KD|PDPW16KD", "bram", 1),
            *_LATTICE,
        ),
        dsp_unit="MULT18X18D",
        bram_unit="DP16KD",
        carry_luts=2,
        device=("--85k", "--speed", "6"),
    ),
    "ice40": Target(
        title="Lattice iCE40 UltraPlus",
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
        device=("--up5k", "--package", "sg48"),
        instantiated="SB_MAC16",
        instance_command="synth_ice40 -no-rw-check -device u",
    ),
    "nexus": Target(
        title="Lattice Nexus",
        command="synth_nexus -noiopad -no-rw-check",
        cells=(
            (r"MULT(PREADD)?9X9", "dsp", 0.5),
            (r"MULT(PREADD|ADDSUB)?18X18", "dsp", 1),
            (r"MULT18X36|MULTADDSUB(18X18|9X9)WIDE", "dsp", 2),
            (r"MULT(ADDSUB)?36X36", "dsp", 4),
            (r"(DP|PDP|PDPSC|SP)16K(_MODE)?", "bram", 1),
            (r"(DP|PDP|PDPSC|DPSC|SP)512K", "large_ram", 1),
            *_LATTICE,
        ),
        dsp_unit="18x18 multiplier",
        bram_unit="EBR of 18 Kbit",
        carry_luts=2,
    ),
    "gowin": Target(
        title="Gowin",
        command="synth_gowin -noiopads -no-rw-check",
        cells=_GOWIN,
        dsp_unit="18x18 multiplier",
        bram_unit="BSRAM of 18 Kbit",
        carry_luts=1,
    ),
    "intel": Target(
        title="Intel Cyclone V",
        command="synth_intel_alm -noiopad -noclkbuf",
        cells=_INTEL,
        dsp_unit="variable-precision DSP block",
        bram_unit="M10K",
        carry_luts=1,
    ),
    "efinix": Target(
        title="Efinix Trion",
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
        carry_luts=1,
    ),
}
