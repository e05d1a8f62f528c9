"""The register map as documentation and as a C header; the fuse selector for the manifest."""

from collections.abc import Mapping, Sequence

from golden.selector.table import BIN_BITS, KERNEL_BITS
from golden.selector.unit import UnitParameters

from .registers import Register
from .selector_port import choice_fields

__all__ = ["c_header", "describe_selector", "register_markdown"]

_BAR = r"\|"


def register_markdown(registers: Sequence[Register], constants: Mapping[str, int]) -> str:
    """Register map of a top as a Markdown table.

    Args:
        registers: of the top.
        constants: values of those that never change, by name.
    """
    lines = [
        "# Register map",
        "",
        "AXI4-Lite, 32-bit registers, byte addresses. Other addresses answer SLVERR.",
        "",
        "| address | name | access | reset or constant | meaning |",
        "|---|---|---|---|---|",
    ]
    for register in registers:
        text = register.text
        for name, high, low, meaning in register.fields:
            bits = f"{high}" if high == low else f"{high}:{low}"
            text += f"<br>`{name}` [{bits}]: {meaning}"
        reset = f"0x{register.reset:X}"
        if register.name in constants:
            reset = f"constant 0x{constants[register.name]:X}"
        cells = (f"0x{register.address:02X}", register.name, register.access, reset, text)
        # A bar would end the cell that it stands in.
        lines.append(f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def c_header(top: str, registers: Sequence[Register]) -> str:
    """Register map of a top as a C header; ``top`` is its name in configurations."""
    lines = [
        f"/* Register map of the sparsefuse {top} top; generated. */",
        "#ifndef SPARSEFUSE_REGISTERS_H",
        "#define SPARSEFUSE_REGISTERS_H",
        "",
    ]
    for register in registers:
        name = f"SPARSEFUSE_{register.name}"
        lines.append(f"/* {register.text} */")
        lines.append(f"#define {name} 0x{register.address:02X}u")
        for field, high, low, _ in register.fields:
            mask = (1 << (high - low + 1)) - 1 << low
            lines.append(f"#define {name}_{field.upper()}_MASK 0x{mask:08X}u")
            lines.append(f"#define {name}_{field.upper()}_SHIFT {low}")
        lines.append("")
    return "\n".join([*lines, "#endif", ""])


def describe_selector(parameters: UnitParameters) -> dict:
    """What a host must know of the fuse selector: candidates, table, streams."""
    shapes = len(parameters.sizes)
    return {
        "candidates": [
            {"kernel": candidate.kernel, "threshold": candidate.threshold}
            for candidate in parameters.candidates
        ],
        "table_words": 1 << (BIN_BITS + KERNEL_BITS + (shapes - 1).bit_length()),
        "word_rows": parameters.word_rows,
        "k_tile": parameters.k_tile,
        "columns": parameters.columns,
        "cycle_bits": parameters.cycle_bits,
        "choice": {name: list(place) for name, place in choice_fields().items()},
    }
