"""Bus interfaces of the tops."""

from .axi_lite import AxiLiteSlave, axi_lite_ports

__all__ = ["AxiLiteSlave", "axi_lite_ports"]
