"""Value reader: the ring of value bytes, and what pairs them with occupied rows."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..event import event, marks, row
from ..memory import RegisteredMemory
from ..memory.fill import beat_counter

__all__ = ["ValueReader"]

_WORD_BYTES = 8


class ValueReader(wiring.Component):
    """Bytes of the value words, eight to a word, in the order of the rows.

    Operation: values enter in beats and are read byte by byte.  A row that is ``valued`` takes
    the next byte, unless it is ``carried`` and has its own; a close token passes alone.  At the
    end of a segment the rest of the word is skipped, or the segment's first byte is the next one
    if it is to be played again; between jobs the reader moves on to the next beat.

    Latency: `latency_cycles` cycles in which ``enable`` is high; a byte is there two cycles after
    its beat was written; one event per cycle, but for a cycle in front of the bytes of a segment
    that is played again.

    Back-pressure: rows wait while ``rows_open`` or ``enable`` is low or their byte is not there.
    ``space`` is low while at most one beat is free, so that one may be in flight when it falls.

    Parameters
    ----------
    k_bits : int
    depth : int
        64-bit words of values; a power of two.
    beat_words : int
        Words per written beat; a power of two.
    carried : bool
        Rows may have their values with them (`rtl_gen.event.carries_values`).
    byte_ports : bool
        The memory may be read in bytes; else in words, with the byte chosen behind it.
    cells : bool
        See `RegisteredMemory`.

    Members
    -------
    start : In(1)
        Begin a job (one cycle).
    write_enable, write_data : In
        One beat, least significant word first.
    space : Out(1)
    enable : In(1)
        Rows and their bytes move.
    rows_open : In(1)
        Rows may be taken.
    rows : In(stream of `rtl_gen.event.row`)
    events : Out, `rtl_gen.event.event`
    valid : Out(1)
        There is an event.
    """

    latency_cycles = 2

    def __init__(
        self,
        k_bits: int,
        *,
        depth: int,
        beat_words: int,
        carried: bool = False,
        byte_ports: bool = True,
        cells: bool = False,
    ) -> None:
        self._cells = cells
        self._fetch_bits = 8 if byte_ports else 8 * _WORD_BYTES
        self._depth = depth
        self._beat_words = beat_words
        self._carried = carried
        super().__init__(
            {
                "start": In(1),
                "write_enable": In(1),
                "write_data": In(8 * _WORD_BYTES * beat_words),
                "space": Out(1),
                "enable": In(1),
                "rows_open": In(1),
                "rows": In(stream.Signature(row(k_bits, carried))),
                "events": Out(event(k_bits)),
                "valid": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        found = self.rows.payload
        take = Signal()
        needs_byte = Signal()
        value, there = self._bytes(m, found, needs_byte, take)
        m.d.comb += [
            needs_byte.eq(found.valued & ~found.carried if self._carried else found.valued),
            self.rows.ready.eq(self.enable & self.rows_open & (there | ~needs_byte)),
            take.eq(self.rows.valid & self.rows.ready),
        ]
        # Row and byte pass the memory and the register behind it side by side.
        fetching = Signal.like(found)
        fetching_valid = Signal()
        out = self.events
        with m.If(self.enable):
            m.d.sync += [
                fetching_valid.eq(take),
                fetching.eq(found),
                self.valid.eq(fetching_valid),
                *(out[name].eq(fetching[name]) for name in ("k", "valued", "last", *marks())),
            ]
        m.d.comb += out.value.eq(value)
        if self._carried:
            own = Signal(8)
            carried = Signal()
            with m.If(self.enable):
                m.d.sync += [own.eq(fetching.byte), carried.eq(fetching.carried)]
            with m.If(carried):
                m.d.comb += out.value.eq(own)
        return m

    def _bytes(self, m: Module, found, needs_byte: Signal, take: Signal):
        """Memory and pointer; the byte that was taken last, and whether the next one is there."""
        beat_bits = (self._beat_words - 1).bit_length()
        pointer_bits = (self._depth - 1).bit_length() + 1
        m.submodules.store = store = RegisteredMemory(
            read_bits=8,
            write_bits=8 * _WORD_BYTES * self._beat_words,
            depth=_WORD_BYTES * self._depth,
            fetch_bits=self._fetch_bits,
            cells=self._cells,
        )
        byte = Signal(range(_WORD_BYTES))
        # The next byte's word, and the first one that may be played again.
        word = Signal(pointer_bits)
        base = Signal(pointer_bits)
        following = Signal(pointer_bits)
        written = beat_counter(m, self.write_enable, base[beat_bits:], self.space)
        there = Signal()
        idle = Signal(init=1)
        closing = Signal()
        again = Signal()
        advance = Signal()
        misaligned = Signal()
        if beat_bits:
            m.d.comb += misaligned.eq(idle & word[:beat_bits].any())
        m.d.comb += [
            closing.eq(found.last & found.segment_end),
            again.eq(closing & found.hold),
            # A segment ends at a whole word.
            advance.eq(Mux(closing, needs_byte | byte.any(), needs_byte & byte.all())),
            following.eq(word + 1),
            store.write_enable.eq(self.write_enable),
            store.write_address.eq(written),
            store.write_data.eq(self.write_data),
            store.read_enable.eq(self.enable),
            store.move.eq(self.enable),
            store.read_address.eq(Cat(byte, word)),
        ]
        # Whether the next byte was there in the cycle before; a play begins a cycle later.
        m.d.sync += there.eq(word[beat_bits:] != written)
        with m.If(take & advance):
            m.d.sync += there.eq(following[beat_bits:] != written)
        with m.If(take & again):
            m.d.sync += there.eq(0)
        with m.If((take & (again | advance)) | misaligned):
            m.d.sync += word.eq(Mux(again & ~idle, base, following))
        # While nothing is held the base goes with the word.
        with m.If((take & advance & ~found.hold) | misaligned):
            m.d.sync += base.eq(following)
        with m.If(take):
            m.d.sync += byte.eq(byte + needs_byte)
        with m.If(take & closing):
            m.d.sync += byte.eq(0)
            with m.If(found.job_end):
                m.d.sync += idle.eq(1)
        with m.If(self.start):
            m.d.sync += idle.eq(0)
        return store.read_data, there
