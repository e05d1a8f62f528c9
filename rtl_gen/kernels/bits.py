"""What decoders and scanner ask of a mask of up to 16 bits, by fours and without carry chains.

A carry from the lowest bit to the highest takes longer than look-up tables do that see four bits
each; synthesis finds neither by itself.
"""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value

__all__ = ["lowest", "several", "without_lowest"]

_FOUR = 4


def _groups(m: Module, mask: Value) -> tuple[list[Value], Signal]:
    """The mask by fours, and which of them have a bit."""
    parts = [Value.cast(mask[i : i + _FOUR]) for i in range(0, len(mask), _FOUR)]
    some = Signal(len(parts), name="occupied_groups")
    m.d.comb += some.eq(Cat(part.any() for part in parts))
    return parts, some


def without_lowest(m: Module, mask: Value) -> Value:
    """``mask`` without its lowest set bit: each bit that has another below it."""
    parts, some = _groups(m, mask)
    kept = []
    for number, part in enumerate(parts):
        below = some[:number].any() if number else Const(0, 1)
        kept += [part[i] & (below | part[:i].any()) for i in range(len(part))]
    return Value.cast(Cat(*kept))


def several(m: Module, mask: Value) -> Value:
    """Whether two or more bits of ``mask`` are set."""
    if len(mask) == 1:
        return Const(0, 1)
    if len(mask) <= _FOUR:
        return Value.cast(Cat(mask[i] & mask[:i].any() for i in range(1, len(mask)))).any()
    parts, some = _groups(m, mask)
    return several(m, some) | Value.cast(Cat(several(m, part) for part in parts)).any()


def lowest(m: Module, mask: Value) -> Value:
    """Number of the lowest set bit; 0 of an empty mask."""
    if len(mask) <= _FOUR:
        number: Value = Const(0, (len(mask) - 1).bit_length())
        for i in reversed(range(len(mask))):
            number = Mux(mask[i], Const(i, len(number)), number)
        return number
    parts, some = _groups(m, mask)
    high = Signal((len(parts) - 1).bit_length(), name="lowest_group")
    low = Signal(2, name="lowest_in_group")
    m.d.comb += high.eq(lowest(m, some))
    with m.Switch(high):
        for group, part in enumerate(parts):
            with m.Case(group):
                m.d.comb += low.eq(lowest(m, part))
    return Value.cast(Cat(low, high))
