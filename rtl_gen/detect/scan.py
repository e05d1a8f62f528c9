"""The scanner of a detector unit: magnitude mask, next word, lowest row first."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.operators.detection import check_detector

__all__ = ["DetectorScan", "detected", "exceeds", "raw_word"]


def raw_word(width: int) -> data.StructLayout:
    """``width`` INT8 elements, lowest row in the lowest byte.

    ``keep`` marks the bytes that hold an element, so that a vector may end inside a word;
    ``last`` closes the vector.
    """
    return data.StructLayout({"data": 8 * width, "keep": width, "last": 1})


def detected(k_bits: int) -> data.StructLayout:
    """One event: the leading fields of `rtl_gen.event.event`, without the marks of a block.

    A close token has ``valued`` low, ``last`` high and ``value`` 0; its ``k`` is the first row of
    its word.
    """
    return data.StructLayout({"k": k_bits, "value": 8, "valued": 1, "last": 1})


def exceeds(element: Value, threshold: Value) -> Value:
    """Whether the magnitude of a signed byte exceeds ``threshold``, 0 to 128 in 8 bits.

    With s the sign and a the other seven bits, inverted where s is set, the magnitude is a + s
    and a + s > t is the same as 2a + s > 2t: no negation, and -128 needs no case of its own.
    """
    sign = element[7]
    magnitude = Cat(sign, element[:7] ^ sign.replicate(7))
    limit = Cat(Const(0, 1), threshold[:7])
    # Two bits at a time, highest first: a tree of small functions instead of a carry chain.
    pairs = [
        (
            magnitude[i : i + 2] > limit[i : i + 2],
            magnitude[i : i + 2] == limit[i : i + 2],
        )
        for i in reversed(range(0, 8, 2))
    ]
    while len(pairs) > 1:
        pairs = [
            (above[0] | (above[1] & below[0]), above[1] & below[1])
            for above, below in zip(pairs[::2], pairs[1::2], strict=True)
        ]
    return pairs[0][0] & ~threshold[7]


class DetectorScan(wiring.Component):
    """Raw words to events, lowest row first, one event per cycle.

    Operation: an accepted word is compared with the threshold and waits as mask and bytes in the
    *next* register, from which it moves to the *held* register when that one's last event
    leaves. A word without an event is dropped before the next register, so it hides behind the
    events that are still being scanned; where it ends its vector it becomes a close token, which
    takes one event slot.

    Throughput: n words with an event or a close token take one cycle per slot, without a bubble
    between words nor vectors; a word always takes at least one input cycle.

    Latency: ``latency_cycles`` from the accepted word to its first event, nothing before it.

    Back-pressure: ``words.ready`` follows ``events.ready`` in the same cycle.

    Parameters
    ----------
    width : int
        W, bytes scanned per cycle: 1, 2, 4, 8 or 16.
    k_bits : int
        Bits of a row number; a vector has at most 2 to the power of ``k_bits`` rows.

    Members
    -------
    threshold : In(8)
        0 to 128: an element is an event if its magnitude is larger. Must not change while a
        vector is under way.
    words : In(stream of `raw_word`)
    events : Out(stream of `detected`)
    word_taken, word_empty : Out(1)
        A word is accepted in this cycle; it holds no event.
    open : Out(1)
        The last accepted word did not close its vector.
    active : Out(1)
        A word with an event or a close token is inside.
    fault : Out(1)
        Sticky: a vector has more rows than ``k`` can count; row numbers have wrapped.
    """

    def __init__(self, *, width: int, k_bits: int) -> None:
        check_detector(width=width, k_bits=k_bits)
        self._width = width
        self._low_bits = (width - 1).bit_length()
        base_bits = k_bits - self._low_bits
        super().__init__(
            {
                "threshold": In(8),
                "words": In(stream.Signature(raw_word(width))),
                "events": Out(stream.Signature(detected(k_bits))),
                "word_taken": Out(1),
                "word_empty": Out(1),
                "open": Out(1),
                "active": Out(1),
                "fault": Out(1),
            }
        )
        word = data.StructLayout({"data": 8 * width, "mask": width, "base": base_bits, "last": 1})
        # Members of the object, so that a proof can relate them to the ports.
        self.mask = Signal(width)
        self.base = Signal(base_bits)
        self.next = Signal(word)
        self.next_valid = Signal()
        self.held = Signal(word)
        self.held_valid = Signal()

    @property
    def latency_cycles(self) -> int:
        """Cycles from the accepted word to its first event."""
        return 2

    def elaborate(self, platform):
        m = Module()
        incoming = self.words.payload
        load = Signal()
        only = Signal()
        m.d.comb += [
            self.mask.eq(
                Cat(
                    incoming.keep[i] & exceeds(incoming.data.word_select(i, 8), self.threshold)
                    for i in range(self._width)
                )
            ),
            load.eq(~self.held_valid | (self.events.ready & only)),
            self.words.ready.eq(~self.next_valid | load),
            self.word_taken.eq(self.words.valid & self.words.ready),
            self.word_empty.eq(self.word_taken & ~self.mask.any()),
            self.active.eq(self.next_valid | self.held_valid),
        ]

        with m.If(self.words.ready):
            m.d.sync += [
                self.next_valid.eq(self.words.valid & (self.mask.any() | incoming.last)),
                self.next.data.eq(incoming.data),
                self.next.mask.eq(self.mask),
                self.next.base.eq(self.base),
                self.next.last.eq(incoming.last),
            ]
        with m.If(self.word_taken):
            m.d.sync += [
                self.open.eq(~incoming.last),
                self.base.eq(Mux(incoming.last, 0, self.base + 1)),
            ]
            with m.If(~incoming.last & self.base.all()):
                m.d.sync += self.fault.eq(1)

        self._scan(m, load, only)
        return m

    def _scan(self, m: Module, load: Signal, only: Signal) -> None:
        """Hand out the held word's events and take the next word with the last of them."""
        held = self.held
        out = self.events.payload
        rest = Signal(self._width)
        low = Signal(self._low_bits)
        m.d.comb += [
            rest.eq(held.mask & (held.mask - 1)),
            only.eq(~rest.any()),
            self.events.valid.eq(self.held_valid),
            out.k.eq(Cat(low, held.base)),
            out.valued.eq(held.mask.any()),
            out.value.eq(Mux(out.valued, held.data.word_select(low, 8), 0)),
            out.last.eq(held.last & only),
        ]
        for i in reversed(range(self._width)):
            with m.If(held.mask[i]):
                m.d.comb += low.eq(i)
        with m.If(load):
            m.d.sync += [self.held_valid.eq(self.next_valid), held.eq(self.next)]
        with m.Elif(self.events.ready):
            m.d.sync += held.mask.eq(rest)
