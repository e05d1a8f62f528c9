"""AMD UltraScale+: Zynq UltraScale+, Kria, Kintex and Virtex UltraScale+."""

from constraints.families.xilinx_cells import XILINX_CELLS
from constraints.family import Family, Synthesis

__all__ = ["FAMILY"]

FAMILY = Family(
    name="xcup",
    title="AMD UltraScale+",
    part="xczu7ev",
    macs={"dsp48e2": 2, "packed": 2, "split": 1},
    byte_ports=True,
    constraints="xdc",
    synthesis=Synthesis(
        command="synth_xilinx -family xcup -noiopad -noclkbuf -flatten -widemux 16",
        cells=XILINX_CELLS,
        dsp_unit="DSP48E2",
        bram_unit="RAMB36E2",
        bram_bits=36 * 1024,
    ),
)
