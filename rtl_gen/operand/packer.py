"""Beat packer: the words of one block after another, as beats of the weight streams."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.shape import ArrayShape

from ..array.group import weight_beat

__all__ = ["BeatPacker", "block_beat", "block_word"]

_WORD = 64


def _group_bits(shape: ArrayShape) -> int:
    return (shape.groups - 1).bit_length()


def block_word(shape: ArrayShape) -> data.StructLayout:
    """A word for one ring of one engine; ``end`` closes the beat that it stands in.

    ``target`` is ``2 * engine + values``, as in `rtl_gen.array.group.weight_beat`.
    """
    return data.StructLayout(
        {
            "data": _WORD,
            "target": weight_beat(shape)["target"].width,
            "group": _group_bits(shape),
            "end": 1,
        }
    )


def block_beat(shape: ArrayShape) -> data.StructLayout:
    """A beat of a group's weight stream, and the group."""
    return data.StructLayout({"beat": weight_beat(shape), "group": _group_bits(shape)})


class BeatPacker(wiring.Component):
    """Collects words into beats; what an ended block leaves of its beat is zero.

    Operation: words of one target follow each other until one of them ends; a word that fills its
    beat or ends leaves with it at once.

    Latency: none, the beat leaves in the cycle of its last word. Throughput: a word per cycle.
    Back-pressure: a beat not taken holds its last word; other words are always taken.

    Parameters
    ----------
    shape : ArrayShape

    Members
    -------
    words : In(stream of `block_word`)
    beats : Out(stream of `block_beat`)
    """

    def __init__(self, shape: ArrayShape) -> None:
        self._shape = shape
        super().__init__(
            {
                "words": In(stream.Signature(block_word(shape))),
                "beats": Out(stream.Signature(block_beat(shape))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        words = self._shape.words_per_beat
        word, out = self.words.payload, self.beats.payload
        number = Signal(range(max(2, words)))
        # Zero from the present word on.
        held = [Signal(_WORD, name=f"word{i}") for i in range(words - 1)]
        complete, take = Signal(), Signal()
        parts = []
        for i in range(words):
            here = (number == i).replicate(_WORD) & word.data
            parts.append(here | held[i] if i < words - 1 else here)
        m.d.comb += [
            complete.eq(word.end | (number == words - 1)),
            self.beats.valid.eq(self.words.valid & complete),
            self.words.ready.eq(~complete | self.beats.ready),
            take.eq(self.words.valid & self.words.ready),
            out.beat.data.eq(Cat(parts)),
            out.beat.target.eq(word.target),
            out.group.eq(word.group),
        ]
        with m.If(take & complete):
            m.d.sync += [number.eq(0), *(part.eq(0) for part in held)]
        with m.Elif(take):
            m.d.sync += number.eq(number + 1)
            for i, part in enumerate(held):
                with m.If(number == i):
                    m.d.sync += part.eq(word.data)
        return m
