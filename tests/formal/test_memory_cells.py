"""Block memories built of a vendor's cells: what is read is what was written last.

The cells are their behavioural twins. One word of the memory is watched, any of them; bounded,
since an induction would have to look into the twins.
"""

from importlib.resources import as_file, files
from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.memory import RegisteredMemory
from rtl_gen.memory.ecp5 import cell_bits
from rtl_gen.memory.two_width import memory_ports
from tests.formal.prover import prove

# Bits read and written, and words: alike, two words to a beat, a beat over narrow ports, a word of
# two beats.
SHAPES = [(32, 32, 16), (32, 64, 16), (8, 64, 32), (64, 32, 16)]


class Contract(wiring.Component):
    """A memory of cells with free inputs, and what its watched word must be."""

    def __init__(self, read_bits: int, write_bits: int, depth: int, fault: int = 0) -> None:
        self._shape = {"read_bits": read_bits, "write_bits": write_bits, "depth": depth}
        self._fault = fault
        ports = memory_ports(**self._shape)
        del ports["read_data"]
        super().__init__({**ports, "move": In(1), "watched": ports["read_address"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dut = dut = RegisteredMemory(**self._shape, cells=True)
        read_bits, write_bits = self._shape["read_bits"], self._shape["write_bits"]
        unit = min(read_bits, write_bits)
        parts, words = read_bits // unit, write_bits // unit
        started, watched = Signal(), Signal.like(self.watched)
        known, latched, out = (Signal(parts), Signal(), Signal())
        value, latch, register = (Signal(read_bits) for _ in range(3))
        m.d.comb += [
            *(getattr(dut, name).eq(getattr(self, name)) for name in self.signature.members
              if name != "watched"),
            Assume(~ResetSignal()),
            Assume(~started | (self.watched == watched)),
        ]  # fmt: skip
        m.d.sync += [started.eq(1), watched.eq(self.watched)]
        # Of the watched word as it stands in the memory.
        mine = Signal()
        m.d.comb += mine.eq(
            self.write_enable & (self.write_address // parts == self.watched // words)
        )
        with m.If(mine):
            if parts > 1:
                part = self.write_address % parts
                m.d.sync += value.word_select(part, unit).eq(self.write_data)
                m.d.sync += known.bit_select(part, 1).eq(1)
            else:
                m.d.sync += value.eq(self.write_data.word_select(self.watched % words, unit))
                m.d.sync += known.eq(1)
        # Reading a word while it is written is undefined.
        with m.If(self.read_enable):
            reads = (self.read_address == self.watched + self._fault) & known.all() & ~mine
            m.d.sync += [latched.eq(reads), latch.eq(value)]
        with m.If(self.move):
            m.d.sync += [out.eq(latched), register.eq(latch)]
        m.d.comb += Assert(~out | (dut.read_data == register))
        return m


def _outcome(folder: Path, contract: Contract) -> tuple[int, str]:
    with as_file(files("rtl_gen.mac").joinpath("primitives", "ECP5.v")) as twin:
        return prove(folder, "bmc", contract, 6, (twin,))


@pytest.mark.parametrize("shape", SHAPES)
def test_cells_hold_what_was_written(shape: tuple[int, int, int], tmp_path: Path):
    status, log = _outcome(tmp_path, Contract(*shape))
    assert status == 0, log


def test_a_wrong_word_is_noticed(tmp_path: Path):
    status, log = _outcome(tmp_path, Contract(*SHAPES[2], fault=1))
    assert status == 2, log


def test_what_does_not_fit_the_cells_is_left_to_synthesis():
    assert cell_bits(8, 512, 4096) is None
    assert cell_bits(32, 32, 1 << 15) is None
    assert cell_bits(64, 128, 512) == 32
