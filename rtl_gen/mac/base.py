"""The interface of a pair of multiply-accumulates, and the packed arithmetic they share."""

from abc import ABC, abstractmethod

from amaranth.hdl import Cat, Const, Module, Signal, Value, ValueLike, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.numerics import packed
from golden.numerics.mac_kinds import MacKind

__all__ = ["PackedMac", "packed_bits", "wrap_counter"]


class PackedMac(wiring.Component, ABC):
    """Two accumulators ``acc_i += x_i * weight`` that are captured when a column closes.

    Operation: operands enter with ``valid``; ``load`` starts a new sum with this product.
    ``latency_cycles`` enabled cycles later the sum holds the product; in that cycle the engine
    raises ``capture``, with ``enable``.  Two cycles after the capture ``raw`` holds the finished
    sums, until the next one, which may come then at the earliest.  ``enable`` freezes the
    pipeline, but not a capture under way.

    Parameters
    ----------
    acc_bits : int
        Signed bits of one exact sum over an activation tile.

    Members
    -------
    enable, valid, load, capture : In(1)
    x : In(16)
        Two INT8 activations, ``x0`` in the low byte; a cycle later with `cells`.
    weight : In(8)
        INT8.  The port is a plain vector, because Yosys fails on a vendor's cell whose
        one-bit port is connected to a bit of a signed one.
    raw : Out(raw_bits)
        Captured sums in the technology's own form; `unpack` turns it into two integers.
    """

    kind: MacKind
    """The record in `golden.numerics.mac_kinds`, which has the name and the latency."""

    twin: str | None = None
    """File in ``primitives`` that simulates the vendor's primitives, where there are any."""

    cells: bool = False
    """The technology's block memories have output registers that are instantiated too, one of
    them for ``x``, which therefore comes an enabled cycle later than what belongs to it."""

    def __init__(self, acc_bits: int) -> None:
        self.acc_bits = acc_bits
        super().__init__(
            {
                "enable": In(1),
                "valid": In(1),
                "load": In(1),
                "capture": In(1),
                "x": In(16),
                "weight": In(8),
                "raw": Out(self.raw_bits(acc_bits)),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """Enabled cycles from the operands to the visible sum."""
        return self.kind.latency_cycles

    @property
    def module_name(self) -> str:
        """Name of the emitted module."""
        return f"sf_{type(self).__name__.lower()}_{self.acc_bits}"

    @classmethod
    @abstractmethod
    def raw_bits(cls, acc_bits: int) -> int:
        """Width of ``raw``."""

    @classmethod
    @abstractmethod
    def unpack(cls, m: Module, raw: Signal, acc_bits: int) -> tuple[Value, Value, Value]:
        """Return both sums as signed values (combinational), and a bit that the upper one lacks.

        The upper sum is the second value plus the bit, which the adder behind takes in as a carry.
        """


def packed_bits(acc_bits: int, shift: int) -> tuple[int, int]:
    """Bits of the packed sum and of the wrap counter.

    Both follow from the deepest sum that ``acc_bits`` signed bits hold (`golden.numerics.packed`);
    the counter has two bits at least, one to count with and one for the sign.
    """
    depth = 1 << (acc_bits - packed.PRODUCT_BITS)
    return packed.packed_bits(depth, shift), max(2, packed.counter_bits(depth, shift))


def wrap_counter(
    m: Module, *, packed: ValueLike, shift: int, bits: int, enable: ValueLike, reset: ValueLike
) -> Signal:
    """Count how often the low field of a packed sum left its signed range (DESIGN section 2).

    The top two bits of the field are watched: 01 -> 10 is one wrap up, 10 -> 01 one wrap down.
    Exact while ``|product| <= 2**(shift - 2)``.

    Args:
        packed: the packed sum, as visible in this cycle.
        enable: the pipeline moves.
        reset: the sum was loaded anew and is visible for the first time in this cycle.

    Returns:
        The signed counter; it belongs to the sum of one cycle before.
    """
    before = Signal(2)
    count = Signal(signed(bits), name="wrap")
    now = Cat(packed[shift - 2], packed[shift - 1])
    moved = Signal()
    up = packed[shift - 1]
    # Adding 1 or -1 takes one look-up table a bit, on the carry chain.
    step = Cat(Const(1, 1), (~up).replicate(bits - 1))
    m.d.comb += moved.eq((before[0] ^ before[1]) & (now == ~before))
    with m.If(enable):
        m.d.sync += before.eq(now)
    # The reset stands alone, so that synthesis gives it to the registers' own reset.
    with m.If(enable & reset):
        m.d.sync += count.eq(0)
    with m.Elif(enable & moved):
        m.d.sync += count.eq(count + step.as_signed())
    return count
