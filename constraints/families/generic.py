"""No particular family: Verilog that any tool can map."""

from constraints.family import Family

__all__ = ["FAMILY"]

FAMILY = Family(
    name="generic",
    title="technology-neutral",
    part="generic",
    macs={"packed": 2, "split": 1},
    byte_ports=False,
    constraints="sdc",
    synthesis=None,
)
