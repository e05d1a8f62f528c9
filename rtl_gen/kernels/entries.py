"""Takes small entries out of index words, for decoders whose index is a list of them."""

from amaranth.hdl import Array, Const, Module, Mux, Signal

from golden.formats.entries import entries_per_word

__all__ = ["EntryReader"]


class EntryReader:
    """The entry at the head and the one behind it in the same word.

    Not a component: it adds its logic to the decoder's module. Driven by ``take`` (entries
    consumed in this cycle, 0 to 2) and ``flush`` (this step ends the block).

    Attributes:
        first, second: the entries; ``second`` holds only if ``paired``.
        paired: the word has an entry behind the first.
    """

    def __init__(self, m: Module, index, bits: int, take, flush) -> None:
        per_word = entries_per_word(bits)
        word = index.payload
        entries = Array(word[i * bits : (i + 1) * bits] for i in range(per_word))
        behind = Array([*list(entries)[1:], Const(0, bits)])
        at = Signal(range(per_word))
        # A place that does not exist must have a value too: linters of the emitted Verilog
        # refuse an incomplete case.
        for choices in (entries, behind):
            choices.extend(Const(0, bits) for _ in range((1 << len(at)) - per_word))
        after = Signal(range(per_word + 2))
        ends = Signal()
        self.first = Signal(bits)
        self.second = Signal(bits)
        self.paired = Signal()
        m.d.comb += [
            self.first.eq(entries[at]),
            self.second.eq(behind[at]),
            self.paired.eq(at != per_word - 1),
            after.eq(at + take),
            ends.eq((after == per_word) | flush),
            index.ready.eq((take != 0) & ends),
        ]
        m.d.sync += at.eq(Mux(index.ready, 0, after))
