"""What registers and memories hold before the reset: anything, drawn from a seed.

A simulator begins with zeros, a board does not.  The emitted Verilog says what its registers begin
with; here that is replaced, and memories are filled, so that every simulator sees the same.
"""

import random
import re

__all__ = ["powered_up"]

# Yosys writes one declaration to a line; an escaped name ends with a blank.
_REGISTER = re.compile(
    r"^(?P<indent> *)reg (?:\[(?P<high>\d+):0\] )?(?P<name>\\\S+ |\w+)"
    r"(?: \[(?P<words>\d+):0\])?(?: = \d+'[hd][0-9a-f]+)?;$",
    re.MULTILINE,
)
_FILL = """
{indent}initial begin : {block}
{indent}  integer i, j;
{indent}  reg [31:0] s;
{indent}  reg [{wide}:0] word;
{indent}  s = 32'h{start:08x};
{indent}  for (i = 0; i < {words}; i = i + 1) begin
{indent}    for (j = 0; j < {rounds}; j = j + 1) begin
{indent}      s = s ^ (s << 13);
{indent}      s = s ^ (s >> 17);
{indent}      s = s ^ (s << 5);
{indent}      word = (word << 32) | s;
{indent}    end
{indent}    {name}[i] = word[{high}:0];
{indent}  end
{indent}end"""
"""Marsaglia's xorshift (2003): plain Verilog, the same numbers in every simulator."""


def powered_up(verilog: str, seed: int) -> str:
    """The emitted Verilog with a random start of every register and every word of memory.

    Args:
        verilog: what `rtl_gen.emit.verilog` returned.
        seed: of the values; instances of one module begin alike.

    Raises:
        ValueError: nothing was found to start: the Verilog does not read as expected.
    """
    draw = random.Random(f"power up {seed}")
    blocks = 0

    def started(found: re.Match[str]) -> str:
        nonlocal blocks
        indent, name = found["indent"], found["name"]
        high = int(found["high"] or 0)
        bits = high + 1
        place = f"[{high}:0] " if found["high"] else ""
        if found["words"] is None:
            return f"{indent}reg {place}{name} = {bits}'h{draw.getrandbits(bits):x};"
        blocks += 1
        rounds = -(-bits // 32)
        fill = _FILL.format(
            indent=indent,
            block=f"power_up_{blocks}",
            wide=32 * rounds - 1,
            start=draw.getrandbits(32) | 1,
            words=int(found["words"]) + 1,
            rounds=rounds,
            name=name,
            high=high,
        )
        return f"{indent}reg {place}{name} [{found['words']}:0];{fill}"

    text, count = _REGISTER.subn(started, verilog)
    if not count:
        raise ValueError("power up: the Verilog must declare registers, none was found")
    return text
