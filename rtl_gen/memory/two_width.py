"""Simple dual-port memory whose write port may be wider or narrower than its read port."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["TwoWidthMemory", "memory_ports"]


def _bits(count: int) -> int:
    return (count - 1).bit_length()


def memory_ports(read_bits: int, write_bits: int, depth: int) -> dict:
    """Members of a memory of ``depth`` words read, with an address of beats and one of words."""
    return {
        "write_enable": In(1),
        "write_address": In(_bits(depth * read_bits // write_bits)),
        "write_data": In(write_bits),
        "read_enable": In(1),
        "read_address": In(_bits(depth)),
        "read_data": Out(read_bits),
    }


class TwoWidthMemory(wiring.Component):
    """One write port, one synchronous read port, of different widths.

    A write beat holds several read words (least significant first) or a read word is filled by
    several beats.  Synthesis maps either to the block memories' own asymmetric ports.

    Latency: ``read_data`` follows ``read_address`` by one cycle when ``read_enable`` is high and
    holds its value when it is low.  Reading a word in the cycle in which it is written is
    undefined; the array never does.

    Parameters
    ----------
    read_bits, write_bits : int
        Port widths; one divides the other, with a power of two as quotient.
    depth : int
        Read words.
    fetch_bits : int or None
        Width of the block memory's own read port where ``read_bits`` is less: the read word is
        then chosen behind the memory, for tools that know no ports of such different widths.

    Members
    -------
    write_enable, write_address, write_data : In
        Address in beats.
    read_enable, read_address : In
        Address in read words.
    read_data : Out(read_bits)
    """

    def __init__(
        self, *, read_bits: int, write_bits: int, depth: int, fetch_bits: int | None = None
    ) -> None:
        self._read_bits = read_bits
        self._fetch_bits = fetch_bits or read_bits
        self._write_bits = write_bits
        self._depth = depth
        self._wide = max(1, write_bits // read_bits)
        self._narrow = max(1, read_bits // write_bits)
        if read_bits * self._wide != write_bits * self._narrow:
            raise ValueError(
                f"write_bits must be a multiple or a divisor of read_bits {read_bits}, "
                f"got {write_bits}"
            )
        super().__init__(memory_ports(read_bits, write_bits, depth))

    def elaborate(self, platform):
        if self._fetch_bits != self._read_bits:
            return self._chosen()
        m = Module()
        m.submodules.memory = store = memory.Memory(
            shape=self._read_bits, depth=self._depth, init=[]
        )
        if self._narrow > 1:
            port = store.write_port(granularity=self._write_bits)
            low = _bits(self._narrow)
            m.d.comb += [
                port.addr.eq(self.write_address[low:]),
                port.data.eq(Cat(self.write_data for _ in range(self._narrow))),
            ]
            for part in range(self._narrow):
                selected = self.write_address[:low] == part
                m.d.comb += port.en[part].eq(self.write_enable & selected)
        else:
            for part in range(self._wide):
                port = store.write_port()
                m.d.comb += [
                    port.addr.eq(Cat(Const(part, _bits(self._wide)), self.write_address)),
                    port.data.eq(self.write_data.word_select(part, self._read_bits)),
                    port.en.eq(self.write_enable),
                ]
        read = store.read_port()
        m.d.comb += [
            read.addr.eq(self.read_address),
            read.en.eq(self.read_enable),
            self.read_data.eq(read.data),
        ]
        return m

    def _chosen(self) -> Module:
        """A memory of wider words, and the choice of one part of the word read."""
        m = Module()
        parts = self._fetch_bits // self._read_bits
        m.submodules.words = words = TwoWidthMemory(
            read_bits=self._fetch_bits,
            write_bits=self._write_bits,
            depth=self._depth // parts,
        )
        low = _bits(parts)
        part = Signal(low)
        with m.If(self.read_enable):
            m.d.sync += part.eq(self.read_address[:low])
        m.d.comb += [
            words.write_enable.eq(self.write_enable),
            words.write_address.eq(self.write_address),
            words.write_data.eq(self.write_data),
            words.read_enable.eq(self.read_enable),
            words.read_address.eq(self.read_address[low:]),
            self.read_data.eq(words.read_data.word_select(part, self._read_bits)),
        ]
        return m
