"""The register map as documentation and as a C header."""

from .registers import REGISTERS

__all__ = ["c_header", "register_markdown"]


def register_markdown() -> str:
    """Register map as a Markdown table."""
    lines = [
        "# Register map",
        "",
        "AXI4-Lite, 32-bit registers, byte addresses. Other addresses answer SLVERR.",
        "",
        "| address | name | access | reset | meaning |",
        "|---|---|---|---|---|",
    ]
    for register in REGISTERS:
        text = register.text
        for name, high, low, meaning in register.fields:
            bits = f"{high}" if high == low else f"{high}:{low}"
            text += f"<br>`{name}` [{bits}]: {meaning}"
        lines.append(
            f"| 0x{register.address:02X} | {register.name} | {register.access} "
            f"| 0x{register.reset:X} | {text} |"
        )
    return "\n".join(lines) + "\n"


def c_header() -> str:
    """Register map as a C header."""
    lines = [
        "/* Register map of the sparsefuse array top; generated. */",
        "#ifndef SPARSEFUSE_REGISTERS_H",
        "#define SPARSEFUSE_REGISTERS_H",
        "",
    ]
    for register in REGISTERS:
        name = f"SPARSEFUSE_{register.name}"
        lines.append(f"/* {register.text} */")
        lines.append(f"#define {name} 0x{register.address:02X}u")
        for field, high, low, _ in register.fields:
            mask = (1 << (high - low + 1)) - 1 << low
            lines.append(f"#define {name}_{field.upper()}_MASK 0x{mask:08X}u")
            lines.append(f"#define {name}_{field.upper()}_SHIFT {low}")
        lines.append("")
    return "\n".join([*lines, "#endif", ""])
