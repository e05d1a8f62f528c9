"""Pattern analyser: the statistics of a block from one look at its stream of columns."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.selector.pattern import TAIL_ROWS, PatternParameters
from golden.selector.signature import CELL_ROWS, WORD_ROWS

from .count import add_all, count_ones, largest, magnitude_bins, six_to_three
from .gaps import GapCounter
from .layouts import block_word, pattern_layout
from .projection import Projection

__all__ = ["PatternAnalyser"]


class PatternAnalyser(wiring.Component):
    """Statistics of blocks, 64 INT8 values per cycle, as `golden.selector.pattern.analyse`.

    Operation: the columns of a block arrive one after another, each as words of 64 rows.  Behind
    the block's last word its pattern appears on ``pattern`` and stays until it is taken.

    Latency: ``latency_cycles`` from the acceptance of a block's last word to its pattern.
    Throughput: a word in every cycle, with no bubble between columns or blocks; the next block
    streams while a pattern waits.
    Back-pressure: ``words.ready`` falls only while a pattern waits and the next one is complete.
    Stages: magnitudes and occupancy of each value; counts of the word; what the word adds to the
    block, with the gaps that reach into it; sums.
    Memory: two bits for each of the ``k_tile`` rows, the union of the block's columns and the
    column before.

    Errors: none are raised.  A column deeper than ``k_tile`` wraps its row count, a block wider
    than ``columns`` its sums; the block after it is right again.

    Parameters
    ----------
    parameters : PatternParameters
        Limits of a block, gap and signature.

    Members
    -------
    words : In(stream of `block_word`)
    pattern : Out(stream of `pattern_layout`)
    """

    latency_cycles = 4

    def __init__(self, parameters: PatternParameters) -> None:
        self._parameters = parameters
        self._words = max(1, parameters.k_tile // WORD_ROWS)
        self._layout = pattern_layout(parameters)
        super().__init__(
            {
                "words": In(stream.Signature(block_word())),
                "pattern": Out(stream.Signature(self._layout)),
            }
        )

    @property
    def module_name(self) -> str:
        """Name of the emitted module: one for each set of parameters."""
        p = self._parameters
        return (
            f"sf_pattern_k{p.k_tile}_n{p.columns}_g{p.gap_bits}_s{p.signature_bits}"
            f"_c{p.cell_columns}_{p.seed:x}"
        )

    def elaborate(self, platform):
        m = Module()
        # The whole pipeline moves or stands; only a pattern without a place stops it.
        advance = Signal()
        m.d.comb += self.words.ready.eq(advance)
        marks = {"valid": 1, "last_row": 6, "column_end": 1, "block_end": 1, "word": self._word}
        seen, counted, added = (
            Signal(data.StructLayout(marks), name=name) for name in ("seen", "counted", "added")
        )
        incoming = self.words.payload
        position = Signal(self._word)
        with m.If(advance):
            m.d.sync += [
                seen.valid.eq(self.words.valid),
                seen.last_row.eq(incoming.last_row),
                seen.column_end.eq(incoming.column_end),
                seen.block_end.eq(incoming.block_end & incoming.column_end),
                seen.word.eq(position),
                counted.eq(seen),
                added.eq(counted),
            ]
            with m.If(self.words.valid):
                m.d.sync += position.eq(Mux(incoming.column_end, 0, position + 1))
        steps = [Signal(name=f"step_{name}") for name in ("seen", "counted", "added")]
        for step, stage in zip(steps, (seen, counted, added), strict=True):
            m.d.comb += step.eq(advance & stage.valid)

        nz, counts = self._count(m, advance, steps[0], seen)
        m.submodules.gaps = gaps = GapCounter(self._parameters)
        m.submodules.projection = projection = Projection(self._parameters)
        chunks = [Signal(5, name=f"chunk_{i}") for i in range(WORD_ROWS // CELL_ROWS)]
        for part in (gaps, projection):
            m.d.comb += [
                part.advance.eq(advance),
                part.valid.eq(counted.valid),
                part.column_end.eq(counted.column_end),
            ]
        m.d.comb += [
            gaps.occupied.eq(nz),
            projection.block_end.eq(counted.block_end),
            Cat(projection.counts).eq(Cat(chunks)),
            advance.eq(~(added.valid & added.block_end & self.pattern.valid & ~self.pattern.ready)),
        ]
        sums = self._reduce(m, advance, counted, counts, gaps, chunks)
        sums |= {name: getattr(gaps, name) for name in ("pads", "long_gaps", "envelope")}
        self._accumulate(m, steps[2], added, sums, list(projection.parts))
        return m

    @property
    def _word(self) -> range:
        return range(max(2, self._words))

    def _register(self, m: Module, advance: Value, name: str, value) -> Signal:
        register = Signal(Value.cast(value).shape(), name=name)
        with m.If(advance):
            m.d.sync += register.eq(value)
        return register

    def _count(self, m: Module, advance: Value, step: Value, seen) -> tuple[Signal, dict]:
        """First and second stage: bits of each value, then counts of the word."""
        values = [Value.cast(value) for value in self.words.payload.values]
        occupied = Cat(value.any() for value in values)
        nz = self._register(m, advance, "nz", occupied)
        lengths = zip(*(magnitude_bins(value) for value in values), strict=True)
        magnitudes = [
            self._register(m, advance, f"length_{i}", Cat(b)) for i, b in enumerate(lengths, 1)
        ]

        m.submodules.rows = rows = Memory(
            shape=data.StructLayout({"union": WORD_ROWS, "before": WORD_ROWS}),
            depth=len(self._word),
            init=[],
        )
        read, write = rows.read_port(domain="comb"), rows.write_port()
        union, before = Signal(WORD_ROWS), Signal(WORD_ROWS)
        first_column = Signal(init=1)
        above = Signal()
        m.d.comb += [
            read.addr.eq(seen.word),
            write.addr.eq(seen.word),
            write.en.eq(step),
            write.data.union.eq(union | nz),
            write.data.before.eq(nz),
        ]
        with m.If(~first_column):
            m.d.comb += [union.eq(read.data.union), before.eq(read.data.before)]
        with m.If(step):
            m.d.sync += above.eq(before[-1] & ~seen.column_end)
            with m.If(seen.column_end):
                m.d.sync += first_column.eq(seen.block_end)

        pairs = [nz[i : i + 2] for i in range(0, WORD_ROWS, 2)]
        counts: dict = {
            "magnitudes": [count_ones(bits) for bits in magnitudes],
            "quads": [six_to_three(list(nz[i : i + 4])) for i in range(0, WORD_ROWS, 4)],
            "pairs": count_ones(pair.any() for pair in pairs),
            "pair_full": Cat(pair.all() for pair in pairs).any(),
            "new_rows": count_ones(a & ~b for a, b in zip(nz, union, strict=True)),
            "diagonal": count_ones(a & b for a, b in zip(nz, [above, *before[:-1]], strict=True)),
        }
        for name, value in counts.items():
            if isinstance(value, list):
                counts[name] = [
                    self._register(m, advance, f"{name}_{i}", v) for i, v in enumerate(value)
                ]
            else:
                counts[name] = self._register(m, advance, name, value)
        return nz, counts

    def _reduce(
        self, m: Module, advance: Value, counted, counts: dict, gaps: GapCounter, chunks: list
    ) -> dict:
        """Third stage: what the word adds to the block."""
        quads = counts["quads"]
        eights = [Signal(4, name=f"eight_{i}") for i in range(len(quads) // 2)]
        for i, eight in enumerate(eights):
            m.d.comb += eight.eq(quads[2 * i] + quads[2 * i + 1])
        for i, chunk in enumerate(chunks):
            m.d.comb += chunk.eq(eights[2 * i] + eights[2 * i + 1])
        occupied = Signal(range(WORD_ROWS + 1))
        m.d.comb += occupied.eq(add_all(chunks))
        rows = Mux(counted.column_end, counted.last_row + 1, WORD_ROWS)
        # The highest non-zero is in the run that holds the column's last row, or none is.
        top = ~gaps.tail
        shifts = [run.bit_length() - 1 for run in TAIL_ROWS]
        runs = [quads, eights, chunks]
        lists = {
            "magnitudes": [(rows - occupied)[:7], *counts["magnitudes"]],
            "runs": [counts["pairs"], *(count_ones(n.any() for n in run) for run in runs)],
            "peaks": [
                Mux(counts["pair_full"], 2, gaps.has),
                *(largest(run) for run in runs),
            ],
            "tails": [
                counted.column_end & gaps.has & (top[s:] == counted.last_row[s:]) for s in shifts
            ],
        }
        added: dict = {
            name: [self._register(m, advance, f"added_{name}_{i}", v) for i, v in enumerate(values)]
            for name, values in lists.items()
        }
        single = {
            "occupied": occupied,
            "chunks": Cat(chunk.any() for chunk in chunks),
            "occupied_rows": counts["new_rows"],
            "diagonal": counts["diagonal"],
        }
        for name, value in single.items():
            added[name] = self._register(m, advance, f"added_{name}", value)
        return added

    def _accumulate(self, m: Module, step: Value, added, sums: dict, projections: list) -> None:
        """Fourth stage: sums over the block, handed over with its last word."""
        pattern, waiting = self.pattern.payload, self.pattern.valid
        done = Signal()
        m.d.comb += done.eq(step & added.block_end)
        with m.If(self.pattern.ready):
            m.d.sync += waiting.eq(0)
        with m.If(done):
            m.d.sync += waiting.eq(1)
        begins, column_begins = Signal(init=1), Signal(init=1)
        with m.If(step):
            m.d.sync += [begins.eq(added.block_end), column_begins.eq(added.column_end)]

        def running(name: str, shape, combine, start: Value = begins) -> Signal:
            held, result = Signal(shape, name=f"{name}_held"), Signal(shape, name=f"{name}_now")
            m.d.comb += result.eq(combine(Mux(start, 0, held)))
            with m.If(step):
                m.d.sync += held.eq(result)
            return result

        def total(name: str, target, increment: Value) -> None:
            now = running(name, len(target), lambda held: increment + held)
            with m.If(done):
                m.d.sync += target.eq(now)

        names = ("occupied", "occupied_rows", "diagonal", "pads", "long_gaps", "envelope")
        for name in names:
            total(name, pattern[name], sums[name])
        total("columns", pattern.columns, added.column_end)
        for field, source in (("magnitude_histogram", "magnitudes"), ("runs",) * 2, ("tails",) * 2):
            for i, increment in enumerate(sums[source]):
                total(f"{field}_{i}", pattern[field][i], increment)
        rows = len(pattern.depth)
        in_column = running("in_column", rows, lambda n: sums["occupied"] + n, column_begins)
        for i in range(self._parameters.column_bins):
            length_is = ~in_column[i:].any() & (in_column[i - 1] if i else 1)
            total(f"columns_{i}", pattern.column_histogram[i], added.column_end & length_is)
        mask = Cat(Mux(added.word == i, sums["chunks"], 0) for i in range(self._words))
        peaks = [
            running(f"peak_{i}", 5, lambda held, n=n: Mux(n > held, n, held))
            for i, n in enumerate(sums["peaks"])
        ]
        chunk_mask = running("chunk_mask", len(pattern.chunk_mask), lambda held: mask | held)
        signs = []
        for i, part in enumerate(projections):
            shape = signed(len(pattern.occupied) + 1)
            signs.append(running(f"plane_{i}", shape, lambda held, n=part: n + held)[-1])
        with m.If(done):
            m.d.sync += [
                pattern.depth.eq(Cat(added.last_row, added.word) + 1),
                pattern.chunk_mask.eq(chunk_mask),
                Cat(pattern.peaks).eq(Cat(peaks)),
                pattern.signature.eq(Cat(signs)),
            ]
