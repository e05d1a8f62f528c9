"""Queue: a small FIFO whose handshakes come straight from registers."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Queue"]


class Queue(wiring.Component):
    """Decouples two sides that stall for different reasons.

    Operation: first in, first out; the head stands in a register at ``read`` until it is taken.
    Unlike the standard library's, every handshake and the head itself come from registers:
    neither side's logic begins with a comparison or a memory.

    Latency: 2 cycles through an empty queue; one item per cycle at any level but full.

    Parameters
    ----------
    shape : data layout or integer
        Of an item.
    depth : int
        Items beside the head, a power of two, >= 2.

    Members
    -------
    write : In(stream of ``shape``)
    read : Out(stream of ``shape``)
    """

    def __init__(self, shape, depth: int) -> None:
        self._depth = depth
        super().__init__(
            {"write": In(stream.Signature(shape)), "read": Out(stream.Signature(shape))}
        )

    def elaborate(self, platform):
        m = Module()
        depth = self._depth
        m.submodules.memory = store = memory.Memory(
            shape=len(Cat(self.write.payload)), depth=depth, init=[]
        )
        write = store.write_port()
        read = store.read_port(domain="comb")
        level = Signal(range(depth + 1))
        room = Signal(init=1)
        some = Signal()
        push = Signal()
        load = Signal()
        head = Signal(len(read.data))
        valid = Signal()
        m.d.comb += [
            self.write.ready.eq(room),
            push.eq(self.write.valid & room),
            load.eq(some & (~valid | self.read.ready)),
            write.data.eq(Cat(self.write.payload)),
            write.en.eq(push),
            self.read.valid.eq(valid),
            Cat(self.read.payload).eq(head),
        ]
        m.d.sync += [write.addr.eq(write.addr + push), read.addr.eq(read.addr + load)]
        with m.If(~valid | self.read.ready):
            m.d.sync += [valid.eq(some), head.eq(read.data)]
        with m.If(push & ~load):
            m.d.sync += [level.eq(level + 1), some.eq(1), room.eq(level != depth - 1)]
        with m.Elif(load & ~push):
            m.d.sync += [level.eq(level - 1), some.eq(level != 1), room.eq(1)]
        return m
