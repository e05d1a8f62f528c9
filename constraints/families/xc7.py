"""AMD 7 series: Artix-7, Kintex-7, Zynq-7000."""

from constraints.families.xilinx_cells import XILINX_CELLS
from constraints.family import Family, Synthesis

__all__ = ["FAMILY"]

FAMILY = Family(
    name="xc7",
    title="AMD 7 series",
    part="xc7a100t",
    macs={"dsp48e1": 2, "packed": 2, "split": 1},
    byte_ports=True,
    constraints="xdc",
    synthesis=Synthesis(
        command="synth_xilinx -family xc7 -noiopad -noclkbuf -flatten -widemux 16",
        cells=XILINX_CELLS,
        dsp_unit="DSP48E1",
        bram_unit="RAMB36E1",
        bram_bits=36 * 1024,
    ),
)
