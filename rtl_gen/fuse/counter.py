"""Block counter: of a stream of values, only what the fuse selector's candidates ask for."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.selector.unit import UnitParameters

from .count import add_all, count_ones, magnitude_bins

__all__ = ["BlockCounter", "counts_layout", "value_word"]


def value_word(parameters: UnitParameters) -> data.StructLayout:
    """``word_rows`` rows of a column; rows behind the column's last one are zero.

    ``block_end`` closes the block; ``block_shape``, the number of its shape in the table, and
    ``ragged``, where it matters, count only with it.
    """
    return data.StructLayout(
        {
            "values": data.ArrayLayout(signed(8), parameters.word_rows),
            "block_end": 1,
            "block_shape": (len(parameters.sizes) - 1).bit_length(),
            "ragged": int(parameters.ragged_matters),
        }
    )


def counts_layout(parameters: UnitParameters) -> data.StructLayout:
    """What `golden.selector.unit` keeps of a block; an array has one entry per distinct threshold.

    ``kept`` follows ``thresholds``; ``dropped`` has a field ``below_t`` for each threshold t above
    0, and ``energy`` is that of all values. The last two are there only where a candidate drops
    values.
    """
    p = parameters
    fields: dict = {
        "block_shape": (len(p.sizes) - 1).bit_length(),
        "kept": data.ArrayLayout(p.count_bits, len(p.thresholds)),
        "ragged": int(p.ragged_matters),
    }
    if p.lossy:
        fields["dropped"] = data.StructLayout(
            {f"below_{t}": p.dropped_bits(t) for t in p.thresholds[1:]}
        )
        fields["energy"] = p.energy_bits
    return data.StructLayout(fields)


class BlockCounter(wiring.Component):
    """Counts of blocks, ``word_rows`` values per cycle, as `golden.selector.unit`.

    Operation: the columns of a block arrive one after another, each as words. Behind the block's
    last word its counts appear on ``counts`` and stay until they are taken. Three stages: bits of
    each value, counts of the word, sums over the block.

    Latency: ``latency_cycles`` from the acceptance of a block's last word to its counts.
    Throughput: a word in every cycle, no bubble between columns or blocks; the next block streams
    while counts wait. Back-pressure: ``words.ready`` falls only while counts wait and the next
    block's are complete.

    Errors: none are raised. The sums of a block larger than the parameters say wrap; the block
    after it is right again.

    Parameters
    ----------
    parameters : UnitParameters
        Candidates, limits of a block, rows of a word.

    Members
    -------
    words : In(stream of `value_word`)
    counts : Out(stream of `counts_layout`)
    """

    latency_cycles = 3

    def __init__(self, parameters: UnitParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "words": In(stream.Signature(value_word(parameters))),
                "counts": Out(stream.Signature(counts_layout(parameters))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        p = self._parameters
        # The whole pipeline moves or stands; only counts without a place stop it.
        advance = Signal()
        word = self.words.payload
        marks = data.StructLayout(
            {
                "valid": 1,
                "block_end": 1,
                "block_shape": word.block_shape.shape(),
                "ragged": word.ragged.shape(),
            }
        )
        seen, counted = Signal(marks), Signal(marks)
        m.d.comb += [
            self.words.ready.eq(advance),
            advance.eq(
                ~(counted.valid & counted.block_end & self.counts.valid & ~self.counts.ready)
            ),
        ]
        with m.If(advance):
            m.d.sync += [
                seen.valid.eq(self.words.valid),
                seen.block_end.eq(word.block_end),
                seen.block_shape.eq(word.block_shape),
                seen.ragged.eq(word.ragged),
                counted.eq(seen),
            ]

        def register(name: str, value: object) -> Signal:
            held = Signal(Value.cast(value).shape(), name=name)
            with m.If(advance):
                m.d.sync += held.eq(value)
            return held

        values = [Value.cast(value) for value in word.values]
        reached, octaves = self._reached(m, values, register)
        step, done = Signal(), Signal()
        m.d.comb += [
            step.eq(advance & counted.valid),
            done.eq(step & counted.block_end),
        ]

        def total(target: Value, increment: Value) -> None:
            # The sum goes on in `held` or, with the block's end, out: one adder does both.
            held, now = Signal(len(target)), Signal(len(target))
            m.d.comb += now.eq(held + increment)
            with m.If(step):
                m.d.sync += held.eq(now)
            with m.If(done):
                m.d.sync += [held.eq(0), target.eq(now)]

        out = self.counts.payload
        for place, t in enumerate(p.thresholds):
            total(out.kept[place], register(f"kept_{t}", count_ones(list(reached[t]))))
        if p.lossy:
            bands = []
            for octave, bits in enumerate(octaves):
                count = count_ones(list(bits))
                bands.append(Signal(len(count), name=f"band_{octave}"))
                m.d.comb += bands[-1].eq(count)
            for t in p.thresholds[1:]:
                total(out.dropped[f"below_{t}"], register(f"dropped_{t}", _energy(bands[:t])))
            total(out.energy, register("energy", _energy(bands)))

        with m.If(self.counts.ready):
            m.d.sync += self.counts.valid.eq(0)
        with m.If(done):
            m.d.sync += [
                self.counts.valid.eq(1),
                out.block_shape.eq(counted.block_shape),
                out.ragged.eq(counted.ragged),
            ]
        return m

    def _reached(
        self, m: Module, values: list[Value], register: Callable[[str, object], Signal]
    ) -> tuple[dict[int, Signal], list[Signal]]:
        """First stage: bits of each value, by threshold and, with thresholds, by octave."""
        p = self._parameters
        if not p.lossy:
            return {0: register("reached_0", Cat(value.any() for value in values))}, []
        # Bits by octave are registered, the rest follows from them: one look at each value.
        lengths = zip(*(magnitude_bins(value) for value in values), strict=True)
        octaves = [register(f"octave_{b}", Cat(bits)) for b, bits in enumerate(lengths)]
        reached = {}
        for t in p.thresholds:
            above = octaves[t:] or [Const(0, p.word_rows)]
            # A signal, as a slice of an expression repeats all of it.
            reached[t] = Signal(p.word_rows, name=f"reached_{t}")
            m.d.comb += reached[t].eq(Cat(Cat(bits).any() for bits in zip(*above, strict=True)))
        return reached, octaves


def _energy(bands: list[Value]) -> Value:
    """Sum of ``4**b`` times the count of band b; counts that don't overlap share a term."""
    stride = -(-max(len(band) for band in bands) // 2)
    terms = []
    for first in range(min(stride, len(bands))):
        fields = [Cat(band, Const(0, 2 * stride - len(band))) for band in bands[first::stride]]
        terms.append(Cat(fields) << (2 * first))
    return add_all(terms)
