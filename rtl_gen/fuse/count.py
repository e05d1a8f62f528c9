"""Trees that count, compare and find bits of one word."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from amaranth.hdl import Array, Cat, Const, Mux, Value

__all__ = ["add_all", "count_ones", "magnitude_bins", "pick", "reaches", "six_to_three"]


def add_all(terms: Sequence[Value]) -> Value:
    """Sum of at least one number, as a balanced tree of adders."""
    terms = list(terms)
    while len(terms) > 1:
        pairs = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = pairs + terms[len(terms) & ~1 :]
    return terms[0]


def six_to_three(bits: Sequence[Value]) -> Value:
    """Count up to six ones with one six-input function per bit of the result."""
    a, b, c, d, e, f = (*bits, *[0] * (6 - len(bits)))
    low = a ^ b ^ c, d ^ e ^ f
    high = (a & b) | (a & c) | (b & c), (d & e) | (d & f) | (e & f)
    carry = low[0] & low[1]
    twos = high[0] ^ high[1] ^ carry
    count = Cat(low[0] ^ low[1], twos, (high[0] & high[1]) | (carry & (high[0] | high[1])))
    return Value.cast(count)


def count_ones(bits: Iterable[Value]) -> Value:
    """Number of ones among single bits."""
    # Bits one by one: a slice of an expression repeats all of it.
    bits = list(bits)
    return add_all([six_to_three(bits[i : i + 6]) for i in range(0, len(bits), 6)])


def reaches(value: Value, bit: int) -> Value:
    """Whether the magnitude of a signed byte is at least ``2**bit``, bit 0 to 8."""
    negative, bits = value[7], value[:7]
    if bit >= 7:
        return negative & ~bits.any() if bit == 7 else Const(0, 1)
    # -x = ~x + 1 reaches 2**b if ~x does, or if the low bits of x are all zeros.
    return Mux(negative, (~bits)[bit:].any() | ~bits[:bit].any(), bits[bit:].any())


def magnitude_bins(value: Value) -> list[Value]:
    """One bit for each bit length 1 to 8 of the magnitude of a signed byte."""
    least = [reaches(value, bit) for bit in range(9)]
    return [a & ~b for a, b in pairwise(least)]


def pick(entries: Iterable[Value | int], index: Value) -> Value:
    """The entry at an index that is never beyond the last one."""
    listed = list(entries)
    # Complete cases: what no index asks for costs nothing, and simulators don't warn of it.
    listed += [listed[-1]] * ((1 << len(index)) - len(listed))
    return Value.cast(Array(listed)[index] if len(listed) > 1 else listed[0])
