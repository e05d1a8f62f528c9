"""The detector's scanner proved: an element comes out once, in its place, iff it is an event.

One accepted element is tagged. Ghost registers follow how many slots (events and close tokens)
and how many ends of vectors lie between it and the output; invariants tie both to the scanner's
registers, so that the proof holds for runs of any length. Behind the scanner stands a FIFO of
Amaranth's library, which has a proof of its own there.
"""

from pathlib import Path

import pytest
from amaranth.hdl import Assert, Assume, Cat, Cover, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from rtl_gen.detect import DetectorScan, detected, raw_word
from tests.formal.prover import assert_broken, assert_proved, ones, prove

WIDTH = 4
K_BITS = 4
LOW_BITS = (WIDTH - 1).bit_length()


class Contract(wiring.Component):
    """A scanner with free inputs, ghosts and assertions."""

    def __init__(self, *, inclusive: bool = False, lose_ready: bool = False) -> None:
        self._inclusive = inclusive
        self._lose_ready = lose_ready
        super().__init__(
            {
                "threshold": In(8),
                "lane": In(LOW_BITS),
                "tag": In(1),
                "valid": In(1),
                "ready": In(1),
                "word": In(raw_word(WIDTH)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.scan = scan = DetectorScan(width=WIDTH, k_bits=K_BITS)
        out = Signal(detected(K_BITS))
        taken, accepted = Signal(), Signal()
        started = Signal()
        threshold, lane = Signal(8), Signal(LOW_BITS)
        m.d.sync += [started.eq(1), threshold.eq(self.threshold), lane.eq(self.lane)]
        m.d.comb += [
            scan.threshold.eq(self.threshold),
            scan.words.valid.eq(self.valid),
            scan.words.payload.eq(self.word),
            scan.events.ready.eq(self.ready),
            out.eq(scan.events.payload),
            # The deliberate fault: an event counts as taken although nobody was ready.
            taken.eq(scan.events.valid & (self.ready | self._lose_ready)),
            accepted.eq(self.valid & scan.words.ready),
            Assume(~ResetSignal()),
            # Threshold and tagged lane are any constants.
            Assume(~started | ((threshold == self.threshold) & (lane == self.lane))),
        ]
        self._follow(m, scan, taken, accepted, out)
        return m

    def _follow(self, m: Module, scan, taken, accepted, out) -> None:
        held, following = scan.held, scan.next
        element = Signal(8)
        row = Signal(K_BITS - LOW_BITS)
        magnitude = Signal(8)
        event, tagging = Signal(), Signal()
        m.d.comb += [
            element.eq(self.word.data.word_select(self.lane, 8)),
            magnitude.eq(Mux(element[7], -element, element)),
            event.eq(
                magnitude >= self.threshold if self._inclusive else magnitude > self.threshold
            ),
            # No vector is longer than its row number; the scanner's fault says if one is.
            Assume(~(accepted & ~self.word.last & row.all())),
        ]
        with m.If(accepted):
            m.d.sync += row.eq(Mux(self.word.last, 0, row + 1))

        # Slots and ends of vectors in each register, a token being one slot.
        def slots(valid: Value, word) -> Value:
            return Mux(valid, Mux(word.mask.any(), ones(word.mask), 1), 0)

        def below(word) -> Value:
            return ones(word.mask & ((1 << self.lane) - 1)[:WIDTH])

        held_end = Signal()
        next_end = Signal()
        m.d.comb += [
            held_end.eq(scan.held_valid & held.last),
            next_end.eq(scan.next_valid & following.last),
        ]
        tagged, pending, gone, in_next = Signal(), Signal(), Signal(), Signal()
        k, x = Signal(K_BITS), Signal(8)
        ahead, ends = Signal(4), Signal(2)
        last_out, hit = Signal(), Signal()
        m.d.comb += [
            tagging.eq(accepted & self.tag & ~tagged & self.word.keep.bit_select(self.lane, 1)),
            last_out.eq(taken & out.last),
            hit.eq(taken & out.valued & tagged & ~gone & (ends == 0) & (out.k == k)),
        ]
        with m.If(tagging):
            m.d.sync += [
                tagged.eq(1),
                pending.eq(event),
                in_next.eq(1),
                k.eq(Cat(self.lane, row)),
                x.eq(element),
                ahead.eq(
                    slots(scan.held_valid, held)
                    + slots(scan.next_valid, following)
                    - taken
                    + ones(scan.mask & ((1 << self.lane) - 1)[:WIDTH])
                ),
                ends.eq(held_end + next_end - last_out),
            ]
        moved = ~scan.held_valid | (taken & ~(held.mask & (held.mask - 1)).any())
        with m.If(tagged):
            with m.If(moved):
                m.d.sync += in_next.eq(0)
            with m.If(taken & pending):
                m.d.sync += [ahead.eq(ahead - 1), pending.eq(ahead != 0)]
            with m.If(last_out & ~gone):
                m.d.sync += [ends.eq(ends - 1), gone.eq(ends == 0)]

        # The contract.
        m.d.comb += [
            Assert(~(taken & pending & (ahead == 0)) | (hit & (out.value == x))),
            Assert(~hit | (pending & (ahead == 0))),
            Assert(~(last_out & tagged & ~gone & (ends == 0)) | ~pending | (ahead == 0)),
            Assert(~(scan.events.valid & ~out.valued) | (out.last & (out.value == 0))),
            Cover(hit & out.last & (row == 1)),
            Cover(gone & ~pending & last_out),
        ]

        # Invariants for the induction.
        high = k[LOW_BITS:]
        here = tagged & ~gone
        next_index = held_end
        input_index = held_end + next_end
        m.d.comb += [
            Assert(row == scan.base),
            Assert(~(pending & ~tagged) & ~(pending & gone) & ~(gone & ~tagged)),
            Assert(~scan.held_valid | held.mask.any() | held.last),
            Assert(~scan.next_valid | following.mask.any() | following.last),
            # Words of the open vector lie before the next row.
            Assert(~scan.next_valid | following.last | (following.base < row)),
            Assert(~scan.held_valid | held.last | next_end | (held.base < row)),
        ]
        for valid, word, inside in (
            (scan.next_valid, following, pending & in_next),
            (scan.held_valid, held, pending & ~in_next),
        ):
            placed = (
                valid
                & word.mask.bit_select(self.lane, 1)
                & (word.data.word_select(self.lane, 8) == x)
                & (word.base == high)
                & (k[:LOW_BITS] == self.lane)
            )
            m.d.comb += Assert(~inside | placed)
        m.d.comb += [
            Assert(~tagged | (k[:LOW_BITS] == self.lane)),
            Assert(
                ~(pending & in_next)
                | ((ahead == slots(scan.held_valid, held) + below(following)) & (ends == held_end))
            ),
            Assert(~(pending & ~in_next) | ((ahead == below(held)) & (ends == 0))),
            # Nothing in the tagged vector has the tagged row but the element itself.
            Assert(
                ~(here & scan.held_valid & (ends == 0) & (held.base == high))
                | (held.mask.bit_select(self.lane, 1) == (pending & ~in_next))
            ),
            Assert(
                ~(here & scan.next_valid & (ends == next_index) & (following.base == high))
                | (following.mask.bit_select(self.lane, 1) == (pending & in_next))
            ),
            Assert(~here | (ends <= input_index)),
            Assert(~(here & (ends == input_index)) | (row > high)),
        ]


def test_an_element_comes_out_once_iff_it_is_an_event(tmp_path: Path):
    assert_proved(tmp_path, Contract(), 3)


def test_the_contract_can_be_met(tmp_path: Path):
    status, log = prove(tmp_path, "cover", Contract(), 8)
    assert status == 0, log


@pytest.mark.parametrize("fault", ["inclusive", "lose_ready"])
def test_the_contract_can_be_broken(fault: str, tmp_path: Path):
    assert_broken(tmp_path, Contract(**{fault: True}), 8)
