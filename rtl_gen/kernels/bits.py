"""What decoders and scanner ask of a mask, without a carry chain over its bits."""

from amaranth.hdl import Cat, Const, Module, Signal, Value

__all__ = ["several", "without_lowest"]


def without_lowest(m: Module, mask: Signal) -> Value:
    """``mask`` without its lowest set bit: each bit that has another below it.

    By fours, since a carry chain from the lowest bit to the highest takes longer.
    """
    kept = []
    below = Const(0)
    for start in range(0, len(mask), 4):
        part = mask[start : start + 4]
        kept += [part[i] & (below | part[:i].any()) for i in range(len(part))]
        above = Signal(name=f"below_{start + 4}")
        m.d.comb += above.eq(below | part.any())
        below = above
    return Value.cast(Cat(kept))


def several(m: Module, mask: Value) -> Value:
    """Whether two or more bits of ``mask`` are set."""
    parts: list[tuple[Value, Value]] = [(mask[i], Const(0, 1)) for i in range(len(mask))]
    level = 0
    while len(parts) > 1:
        merged: list[tuple[Value, Value]] = []
        for i in range(0, len(parts), 2):
            (left, left_several), (right, right_several) = parts[i], parts[i + 1]
            one = Signal(name=f"any_{level}_{i // 2}")
            two = Signal(name=f"several_{level}_{i // 2}")
            m.d.comb += [
                one.eq(left | right),
                two.eq((left & right) | left_several | right_several),
            ]
            merged.append((one, two))
        parts = merged
        level += 1
    return parts[0][1]
