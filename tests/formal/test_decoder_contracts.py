"""Every block decoder proved: the rows of a column rise, stay inside it, and are those stored.

For the formats whose index words are occupancy bits any row may be watched: it must come out of
its column once if its bit is set, and not otherwise.  For lists of entries a ghost reads the list
one entry after the other, as `golden.formats` defines it, and the decoder must keep up with it.
Enough to cover blocks of any number of columns: nothing in a proof counts them.
"""

from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.hdl import Array, Assert, Assume, Cat, Const, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from golden.formats import CHUNK
from golden.formats.band import ENTRY_BITS, FIRST_BITS
from golden.formats.entries import entries_per_word
from golden.shape import ArrayShape
from rtl_gen.kernels import DECODERS, BlockDecoder
from rtl_gen.kernels.entries import EntryReader
from rtl_gen.kernels.raw import RawDecoder
from tests.formal.prover import assert_broken, assert_proved, mutated, opened, settled

LOW = (CHUNK - 1).bit_length()
SHAPE = ArrayShape(
    lanes=2, engines=1, group=1, k_tile=16, columns=4, activation_tiles=2, index_words=16,
    value_words=16, queue=2, data_bits=64, kernels=("dense",), mac="packed",
)  # fmt: skip
SHAPES = {
    "dense": SHAPE,
    # Two words to a column, the second one partly used.
    "bitmap": replace(SHAPE, k_tile=128),
    "runlength": SHAPE,
    "runlength 5": replace(SHAPE, k_tile=64, gap_bits=5),
    "nm": SHAPE,
    "nm 1:4": replace(SHAPE, nm_n=1),
    "nm 4:8": replace(SHAPE, nm_n=4, nm_m=8),
    "block": replace(SHAPE, k_tile=32),
    "band": SHAPE,
    "block 1": replace(SHAPE, k_tile=32, block_rows=1),
    # Four words to a column, two to a chunk.
    "raw": replace(SHAPE, k_tile=32, kernels=("raw",)),
}
MUTANTS = {
    "dense": [("m.d.sync += [count.eq(0), following.eq(1)]", "m.d.sync += following.eq(1)"),
              ("last.eq(self.last_row == 0)", "last.eq(0)")],
    "bitmap": [
        ("occupied.eq(without_lowest(m, occupied))", "occupied.eq(occupied)"),
        ("gives.eq(occupied.any() | final)", "gives.eq(occupied.any())"),
        ("out.last.eq(final & only)", "out.last.eq(final)"),
        ("& ~(whole & held & self.final_column)", ""),
    ],
    "runlength": [
        ("out.last, 0, Mux(push, row + 1,", "out.last, 0, Mux(push, row,"),
        ("out.last.eq(is_end | (~is_pad & second_end))", "out.last.eq(is_end | second_end)"),
        ("second_end), 2, 1))", "second_end), 1, 1))"),
        ("(is_pad & second_gap) | (~is_end", "(~is_end"),
        ("Mux(is_end, 0, row)", "row"),
    ],
    "nm": [("last_slot.eq(slot == self._n - 1)", "last_slot.eq(slot == 0)"),
           ("run.eq(Mux(out.last, 0, run + 1))", "run.eq(run + 1)"),
           ("(entry.first > end)", "0")],
    "block": [("bit.replicate(self._rows) for bit in entry.first) & inside",
               "bit.replicate(self._rows) for bit in entry.first)"),
              ("(out.mask.any() | out.last)", "out.mask.any()")],
    "raw": [("for i in range(WORD)) & inside)", "for i in range(WORD)))"),
            ("(occupied.any() | out.last)", "occupied.any()"),
            ("Mux(number[0], Cat(Const(0, WORD), occupied), occupied)", "Cat(occupied, occupied)"),
            ("number.eq(Mux(out.last, 0, number + 1))", "number.eq(number + 1)")],
    "band": [
        ("out.last.eq(here <= 1)", "out.last.eq(here <= 2)"),
        ("row.eq(out.k + 1)", "row.eq(out.k)"),
        ("left.eq(here - 1)", "left.eq(here)"),
        ("out.valued.eq(here != 0)", "out.valued.eq(1)"),
    ],
}  # fmt: skip


class Contract(wiring.Component):
    """A decoder with free inputs, ghosts and assertions."""

    def __init__(self, kind: type[BlockDecoder], shape: ArrayShape) -> None:
        self._kind = kind
        self._shape = shape
        super().__init__(
            {
                "enable": In(1),
                "last_row": In(shape.k_bits),
                "watched": In(shape.k_bits),
                "final_column": In(1),
                "word": In(64),
                "valid": In(1),
                "ready": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        shape = self._shape
        m.submodules.decoder = decoder = self._kind(shape)
        self.inside = opened(decoder, EntryReader.__init__)
        self.taken = taken = Signal()
        found = decoder.found
        out = found.payload
        started, running, opening = Signal(), Signal(), Signal(init=1)
        enabled = Signal()
        last_row, watched, final = Signal(shape.k_bits), Signal(shape.k_bits), Signal()
        block_end = decoder.column_end & self.final_column
        m.d.comb += [
            decoder.enable.eq(self.enable),
            decoder.last_row.eq(self.last_row),
            decoder.final_column.eq(self.final_column),
            decoder.index.valid.eq(self.valid),
            decoder.index.payload.eq(self.word),
            found.ready.eq(self.ready),
            taken.eq(found.valid & self.ready),
            Assume(~ResetSignal()),
            # A block runs to its end; what describes it does not change, and is there before.
            Assume(~running | self.enable),
            Assume(~self.enable | running | (started & ~enabled & (self.last_row == last_row))),
            Assume(~running | (self.last_row == last_row)),
            Assume(opening | (self.final_column == final)),
            Assume(~started | (self.watched == watched)),
            Assume(settled(m, self.valid & self.enable, decoder.index.ready, self.word)),
        ]
        m.d.sync += [
            started.eq(1),
            enabled.eq(self.enable),
            running.eq(self.enable & ~block_end),
            opening.eq(~self.enable | decoder.column_end),
            last_row.eq(self.last_row),
            final.eq(self.final_column),
            watched.eq(self.watched),
        ]

        # The contract of all decoders.
        m.d.comb += [
            Assert(decoder.column_end == (taken & out.last)),
            Assert(self.enable | ~(found.valid | decoder.index.ready | decoder.column_end)),
            Assert(~decoder.index.ready | self.valid),
            Assert(settled(m, found.valid, self.ready, out.as_value())),
        ]
        number = out.base if decoder.scanned else out.k
        if isinstance(decoder, RawDecoder):
            # Two words share a chunk.
            number = Cat(out.mask[CHUNK // 2 :].any(), out.base)
        before = Signal(len(number) + 1)
        # What fills a run of N:M up stays on the last row.
        rises = (number >= before) | (0 if decoder.scanned else out.k == self.last_row)
        m.d.comb += Assert(~(taken & (out.mask.any() if decoder.scanned else out.valued)) | rises)
        with m.If(taken):
            m.d.sync += before.eq(Mux(out.last, 0, number + 1))
        # Invariants of the ghosts: a column begins with nothing, and a block runs between columns.
        m.d.comb += [Assert(opening | running), Assert(~opening | (before == 0))]
        self.opening = opening
        # The cycle before was none of a block's.
        self.waited, self.single = started & ~enabled, last_row == 0
        name = decoder.__class__.__name__
        getattr(self, f"_{name}")(m, decoder, out, before)
        return m

    def _occupancy(self, m: Module, out, due: Value, passing: Value) -> None:
        """The watched row comes out of its column iff it is ``due``, which ``passing`` says when.

        The row's chunk is handed over while it passes, or it is empty.
        """
        holds = out.mask.bit_select(self.watched[:LOW], 1)
        here = self.taken & (out.base == self.watched[LOW:])
        seen, wanted = Signal(), Signal()
        inside = self.watched <= self.last_row
        with m.If(self.taken & out.last):
            m.d.sync += [seen.eq(0), wanted.eq(0)]
        with m.Else():
            m.d.sync += [seen.eq(seen | (here & holds)), wanted.eq(wanted | (passing & due))]
        m.d.comb += [
            Assert(~(here & holds) | (~seen & inside)),
            Assert(
                ~(self.taken & out.last) | ((seen | (here & holds)) == (wanted | (passing & due)))
            ),
        ]
        m.d.comb += Assert(~self.opening | (~seen & ~wanted))
        self.seen, self.wanted = seen, wanted

    def _DenseDecoder(self, m: Module, decoder, out, before: Value) -> None:
        m.d.comb += [
            Assert(~decoder.index.ready),
            Assert(out.valued & (out.k == before)),
            Assert(~self.enable | (out.last == (out.k == self.last_row))),
            Assert(decoder.found.valid == self.enable),
            Assert(self.inside.count == before),
            Assert(self.inside.following == (before + 1)[: len(out.k)]),
            Assert(~self.waited | (out.last == self.single)),
            Assert(self.opening | (before <= self.last_row)),
        ]

    def _BitmapDecoder(self, m: Module, decoder, out, before: Value) -> None:
        inside = self.inside
        final_word = self.last_row[6:]
        # Place of the next word in its column; the words that were taken, and their places.
        at, place, next_place = (Signal(self._shape.k_bits - 6) for _ in range(3))
        kept, next_kept = Signal(64), Signal(64)
        held, waits = inside.held, inside.waits
        with m.If(~held | inside.word_end):
            m.d.sync += [place.eq(next_place), kept.eq(next_kept)]
        with m.If(decoder.index.ready):
            m.d.sync += [
                at.eq(Mux(at == final_word, 0, at + 1)),
                next_place.eq(at),
                next_kept.eq(self.word),
            ]
        final = place == final_word

        def beyond(word: Value) -> Value:
            """Bits behind the end of a column, which are zero in what the encoder writes."""
            return ((word >> 1) >> self.last_row[:6]).any()

        def behind(number: Value) -> Value:
            return Mux(number == final_word, 0, number + 1)

        due = kept.bit_select(self.watched[:6], 1)
        mine = place == self.watched[6:]
        self._occupancy(m, out, due, inside.word_end & mine)
        here = Mux(held, place, Mux(waits, next_place, at))
        chunk_gone = ~inside.occupied.bit_select(self.watched[LOW:6], 1)
        m.d.comb += [
            Assume(~(self.valid & self.enable & (at == final_word)) | ~beyond(self.word)),
            Assert(~(self.taken & out.last) | (held & final)),
            # Nothing behind the block's last word is taken.
            Assert(~(decoder.column_end & self.final_column) | ~(decoder.index.ready | waits)),
            # Invariants.
            Assert((inside.number == at) & (at <= final_word)),
            Assert(inside.whole == (at == 0)),
            Assert(~held | ((inside.base == place) & (inside.word == kept))),
            Assert(~held | ((inside.final == final) & (place <= final_word))),
            Assert(~(held & final) | ~beyond(kept)),
            Assert(~waits | ((inside.spare_base == next_place) & (inside.spare == next_kept))),
            Assert(~waits | (inside.spare_final == (next_place == final_word))),
            Assert(~waits | (next_place <= final_word)),
            Assert(~(waits & (next_place == final_word)) | ~beyond(next_kept)),
            Assert(~waits | (at == behind(next_place))),
            Assert(~held | (Mux(waits, next_place, at) == behind(place))),
            Assert(~(held & final & self.final_column) | ~waits),
            Assert(~(held | waits) | self.enable),
            Assert(before <= Cat(Const(0, 2), here) + 4),
            Assert(held | (before <= Cat(Const(0, 2), here))),
            Assert(~held | inside.occupied.any() | ~kept.any()),
            Assert(~self.opening | (here == 0)),
        ]
        for chunk in range(4):
            # A chunk is done with once the scan is past it, and not before.
            past = before > Cat(Const(chunk, 2), place)
            there = kept.word_select(chunk, CHUNK).any()
            m.d.comb += Assert(~held | (inside.occupied[chunk] == (there & ~past)))
        m.d.comb += [
            Assert(~self.wanted | (here > self.watched[6:])),
            Assert(~(here > self.watched[6:]) | (self.seen == self.wanted)),
            Assert(~(here < self.watched[6:]) | ~self.seen),
            Assert(~(held & mine) | (self.seen == (chunk_gone & due))),
            Assert(held | (here != self.watched[6:]) | ~self.seen),
        ]

    def _BlockRunsDecoder(self, m: Module, decoder, out, before: Value) -> None:
        inside = self.inside
        at, place = self._entries(m, decoder, CHUNK // self._shape.block_rows)
        entry = place(at)
        run = self.watched[:LOW] // self._shape.block_rows
        step = inside.step
        watched = inside.count == self.watched[LOW:]
        in_column = self.watched <= self.last_row
        self._occupancy(m, out, entry.bit_select(run, 1) & in_column, step & watched)
        final = inside.count == self.last_row[LOW:]
        m.d.comb += [
            Assert(self.enable & self.valid | ~step),
            # One chunk a cycle unless its taker waits; empty ones cost theirs as well.
            Assert(step | ~(self.enable & self.valid) | (decoder.found.valid & ~self.ready)),
            Assert(~step | (decoder.column_end == final)),
            Assert(inside.count <= Mux(self.opening, 0, self.last_row[LOW:])),
            Assert(before <= inside.count),
            Assert(~self.wanted | (inside.count > self.watched[LOW:])),
            Assert(self.seen == self.wanted),
        ]
        self._follow(m, decoder, at, step, Mux(step, 1, 0))

    def _RawDecoder(self, m: Module, decoder, out, before: Value) -> None:
        at = Signal(self._shape.k_bits - 3)
        final = at == self.last_row[3:]
        there = self.enable & self.valid
        with m.If(decoder.index.ready):
            m.d.sync += at.eq(Mux(final, 0, at + 1))
        byte = self.word.word_select(self.watched[:3], 8)
        here = decoder.index.ready & (at == self.watched[3:])
        self._occupancy(m, out, byte.any() & (self.watched <= self.last_row), here)
        m.d.comb += [
            Assert(~decoder.found.valid | (out.carried & (out.word == self.word))),
            Assert(~decoder.found.valid | (out.last == final)),
            Assert(~(self.taken & ~out.last) | out.mask.any()),
            # One word a cycle unless its taker waits; empty ones cost theirs as well.
            Assert(decoder.index.ready == (there & (self.ready | ~decoder.found.valid))),
            # Invariants.
            Assert(self.inside.number == at),
            Assert(at <= Mux(self.opening, 0, self.last_row[3:])),
            Assert(before <= at),
            Assert(~self.wanted | (at > self.watched[3:])),
            Assert(self.seen == self.wanted),
        ]

    def _entries(self, m: Module, decoder, bits: int):
        """A ghost's place in the list of entries, and the entry at a place."""
        per_word = entries_per_word(bits)
        at = Signal(range(per_word))
        entries = [self.word[i * bits : (i + 1) * bits] for i in range(per_word)]
        padded = Array(entries + [Const(0, bits)] * ((2 << len(at)) - per_word))
        m.d.comb += [Assert(self.inside.at == at), Assert(at < per_word)]
        self._per_word = per_word
        return at, lambda place: padded[place]

    def _follow(self, m: Module, decoder, at: Signal, step: Value, count: Value) -> None:
        """Words are used up entry by entry; the rest of a block's last word is dropped."""
        after = Signal(len(at) + 2)
        block_end = decoder.column_end & self.final_column
        used = step & ((after == self._per_word) | block_end)
        m.d.comb += [after.eq(at + count), Assert(decoder.index.ready == used)]
        m.d.comb += Assert(~step | (after <= self._per_word))
        with m.If(step):
            m.d.sync += at.eq(Mux(used, 0, after))

    def _StructuredNMDecoder(self, m: Module, decoder, out, before: Value) -> None:
        shape, inside = self._shape, self.inside
        bits = (shape.nm_m - 1).bit_length()
        at, place = self._entries(m, decoder, bits)
        slots = Signal(shape.k_bits + 3)
        per_column = ((self.last_row >> bits) + 1) * shape.nm_n
        with m.If(self.taken):
            m.d.sync += slots.eq(Mux(slots == per_column - 1, 0, slots + 1))
        run = slots // shape.nm_n
        named = Cat(place(at), run)[: shape.k_bits]
        # What fills a last run up may name rows behind the column; they are not there to be read.
        row = Mux(named > self.last_row, self.last_row, named)
        m.d.comb += [
            # Slots of a run ascend.
            Assume(~decoder.found.valid | (slots % shape.nm_n == 0) | (named >= before)),
            Assert(decoder.found.valid == (self.enable & self.valid)),
            Assert(~decoder.found.valid | (out.valued & (out.k == row))),
            Assert(~decoder.found.valid | (out.last == (slots == per_column - 1))),
            Assert(Mux(self.opening, slots == 0, slots < per_column)),
            Assert((inside.run == run) & (inside.slot == slots % shape.nm_n)),
            Assert(before <= (run + (slots % shape.nm_n != 0)) << bits),
        ]
        self._follow(m, decoder, at, self.taken, Const(1))

    def _BandDecoder(self, m: Module, decoder, out, before: Value) -> None:
        inside = self.inside
        at, place = self._entries(m, decoder, ENTRY_BITS)
        entry = place(at)
        first, rows = entry[:FIRST_BITS], entry[FIRST_BITS:]
        passed = Signal(self._shape.k_bits + 1)
        there = self.enable & self.valid
        with m.If(self.taken):
            m.d.sync += passed.eq(Mux(out.last, 0, passed + 1))
        m.d.comb += [
            # No run leaves its column, in what an encoder writes.
            Assume(~there | (first + rows <= self.last_row + 1)),
            Assert(decoder.found.valid == there),
            Assert(~there | (out.valued == (rows != 0))),
            Assert(~there | (out.last == (passed + 1 >= rows))),
            Assert(~(there & out.valued) | (out.k == first + passed)),
            # Invariants.
            Assert(inside.inside == (passed != 0)),
            Assert(~inside.inside | self.valid),
            Assert(~inside.inside | ((inside.left == rows - passed) & (passed < rows))),
            Assert(~inside.inside | (inside.row == first + passed)),
            Assert(before == Mux(inside.inside, first + passed, 0)),
            Assert(~self.opening | (passed == 0)),
        ]
        self._follow(m, decoder, at, self.taken & out.last, Const(1))

    def _RunLengthDecoder(self, m: Module, decoder, out, before: Value) -> None:
        shape, inside = self._shape, self.inside
        bits = shape.gap_bits
        end, pad = (1 << bits) - 1, (1 << bits) - 2
        at, place = self._entries(m, decoder, bits)
        first, second = place(at), place(at + 1)
        alone = at == self._per_word - 1
        passed = Signal(shape.k_bits + 2)
        row = Signal(len(passed) + 1)
        there = self.enable & self.valid
        # What the two entries at hand give together.
        token, lone_pad, closes = Signal(), Signal(), Signal()
        step = Signal()
        m.d.comb += [
            token.eq(first == end),
            lone_pad.eq((first == pad) & (alone | (second >= pad))),
            closes.eq(token | ((first < pad) & ~alone & (second == end))),
            row.eq(passed + first + Mux(first == pad, second, 0)),
            step.eq(there & (self.ready | lone_pad)),
            # No gap leaves the tile, in what an encoder writes.
            Assume(~there | token | lone_pad | (row <= self.last_row)),
            Assume(~(there & lone_pad) | (passed + pad <= self.last_row)),
            Assert(decoder.found.valid == (there & ~lone_pad)),
            Assert(~decoder.found.valid | (out.last == closes)),
            Assert(~decoder.found.valid | (out.valued == ~token)),
            Assert(~decoder.found.valid | (out.k == Mux(token, 0, row)[: shape.k_bits])),
            # Invariants.
            Assert(inside.position == passed[: shape.k_bits]),
            Assert(passed <= (1 << shape.k_bits)),
            Assert(before <= passed),
        ]
        with m.If(step):
            m.d.sync += passed.eq(Mux(closes, 0, Mux(lone_pad, passed + pad, row + 1)))
        both = ((first == pad) & ~lone_pad) | (closes & ~token)
        self._follow(m, decoder, at, step, Mux(both, 2, 1))


def test_every_decoder_has_a_contract():
    assert {case.split()[0] for case in SHAPES} == set(DECODERS) == set(MUTANTS)


@pytest.mark.parametrize("case", SHAPES)
def test_a_decoder_gives_the_stored_rows(case: str, tmp_path: Path):
    assert_proved(tmp_path, Contract(DECODERS[case.split()[0]], SHAPES[case]))


@pytest.mark.parametrize(
    ("name", "number"), [(name, i) for name in MUTANTS for i in range(len(MUTANTS[name]))]
)
def test_a_broken_decoder_is_noticed(name: str, number: int, tmp_path: Path):
    kind = mutated(DECODERS[name], MUTANTS[name][number])
    assert_broken(tmp_path, Contract(kind, SHAPES[name]), 12)
