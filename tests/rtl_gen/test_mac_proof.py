"""The wrap counter proved, for sums of any length, by induction over one step of the RTL."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Assert, Assume, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from flows import yosys
from golden.errors import CheckFailed
from rtl_gen.mac.base import wrap_counter
from rtl_gen.mac.dsp48 import Dsp48E2Mac


class Proof(wiring.Component):
    """A packed sum beside its exact lower sum, with what must hold in every state.

    The upper lane adds anything at all; the lower lane adds at most ``limit`` in magnitude.  The
    exact sum is kept modulo ``2**(shift + bits)``: so wide is what counter and field can tell.
    The pipeline is always enabled; a frozen one holds every register, which simulation covers.
    """

    def __init__(self, shift: int, bits: int, limit: int) -> None:
        self.shift, self.bits, self.limit = shift, bits, limit
        super().__init__(
            {
                "valid": In(1),
                "load": In(1),
                "low_product": In(signed(shift)),
                "high_product": In(signed(16)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shift, width = self.shift, self.shift + self.bits
        packed = Signal(width)
        exact = Signal(signed(width))
        loaded = Signal()
        # Both as they were one cycle earlier: that sum is the one counted so far.
        packed_before = Signal(width)
        exact_before = Signal(signed(width))
        count = wrap_counter(m, packed=packed, shift=shift, bits=self.bits, enable=1, reset=loaded)
        m.d.comb += Assume((self.low_product <= self.limit) & (self.low_product >= -self.limit))
        m.d.sync += [
            packed_before.eq(packed),
            exact_before.eq(exact),
            loaded.eq(self.valid & self.load),
        ]
        with m.If(self.valid):
            product = (self.high_product << shift) + self.low_product
            m.d.sync += [
                packed.eq(Mux(self.load, 0, packed) + product),
                exact.eq(Mux(self.load, 0, exact) + self.low_product),
            ]
        step = Signal(signed(width))
        counted = Signal(signed(width))
        m.d.comb += [
            step.eq(exact - Mux(loaded, 0, exact_before)),
            counted.eq((count << shift) + packed_before[:shift].as_signed()),
            Assert(packed[:shift] == exact[:shift]),
            Assert((step <= self.limit) & (step >= -self.limit)),
            Assert(counted == exact_before),
        ]
        return m


class InsideProof(Dsp48E2Mac):
    """The wraps counted inside a DSP48E2, its multiplier replaced by anything within bounds.

    Captured in every cycle, so that what is unpacked belongs to the cycle before.
    """

    def __init__(self, acc_bits: int) -> None:
        super().__init__(acc_bits)
        self.lower = Signal(18)
        self.upper = Signal(18)

    def elaborate(self, platform):
        m = Module()
        limit = 1 << (self.shift - 2)
        # 128 times the most that the magnitudes of weights add up to, `ArrayShape.column_weight`.
        most = (1 << (self.acc_bits - 1)) - 128
        low_product = self.lower.as_signed()
        high_product = self.upper.as_signed()
        p = Signal(48)
        addend = Signal(48)
        carry = Signal()
        load = Signal(3)
        # A bit more, so that a sum that leaves the bounds does not come back on the other side.
        low = Signal(signed(self.acc_bits + 1))
        high = Signal(signed(self.acc_bits + 1))
        low_before = Signal(signed(self.acc_bits + 1))
        high_before = Signal(signed(self.acc_bits + 1))
        m.d.comb += load.eq(self.load << 2)
        self.count_wraps(m, p, addend, carry, self.valid, load)
        m.d.sync += [low_before.eq(low), high_before.eq(high)]
        with m.If(self.valid):
            product = (high_product << self.shift) + low_product
            m.d.sync += [
                # Z and W of the slice's adder are 0 where a sum begins.
                p.eq(Mux(self.load, 0, p + addend) + product + carry),
                low.eq(Mux(self.load, 0, low) + low_product),
                high.eq(Mux(self.load, 0, high) + high_product),
            ]
        found_low, found_high, lacking = self.unpack(m, self.raw, self.acc_bits)
        exact_high = Signal(signed(self.acc_bits))
        m.d.comb += exact_high.eq(found_high + lacking)
        m.d.comb += [
            Assume(self.capture),
            Assume((low_product <= limit) & (low_product >= -limit)),
            Assume((high_product <= limit) & (high_product >= -limit)),
            # What `acc_bits` promises.
            Assume((low <= most) & (low >= -most) & (high <= most) & (high >= -most)),
            Assert((found_low == low_before) & (exact_high == high_before)),
        ]
        return m


def assert_proved(folder: Path, design: wiring.Component, free: Sequence[Signal] = ()) -> None:
    """Induction over the assertions of ``design``; ``free`` are inputs besides its ports."""
    ports = [getattr(design, name) for name in design.signature.members]
    text = rtlil.convert(design, name="proof", ports=(*ports, *free), emit_src=False)
    (folder / "proof.il").write_text(text)
    yosys.run(
        [
            "read_rtlil proof.il",
            "prep -top proof -flatten",
            "async2sync",
            "chformal -lower",
            "dffunmap",
            "opt",
            "sat -tempinduct -prove-asserts -set-assumes -set-init-zero -set rst 0 -maxsteps 3 "
            "-verify proof",
        ],
        folder,
        timeout_s=60,
    )


@pytest.mark.parametrize(("shift", "bits"), [(16, 4), (16, 12), (18, 2), (18, 10), (26, 2)])
def test_the_counter_is_exact_forever(tmp_path: Path, shift: int, bits: int):
    assert_proved(tmp_path, Proof(shift, bits, 1 << (shift - 2)))


def test_a_larger_product_refutes_it(tmp_path: Path):
    # One more than a quarter of the field's range, and the counter misses wraps.
    with pytest.raises(CheckFailed):
        assert_proved(tmp_path, Proof(16, 4, (1 << 14) + 1))


@pytest.mark.parametrize("acc_bits", [20, 24])
def test_the_count_inside_a_slice_is_exact_forever(tmp_path: Path, acc_bits: int):
    design = InsideProof(acc_bits)
    assert_proved(tmp_path, design, (design.lower, design.upper))
