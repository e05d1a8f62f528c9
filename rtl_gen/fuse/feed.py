"""From the statistics of a block to one beat per candidate, for the fuse selector."""

from collections.abc import Sequence

from amaranth.hdl import Array, Const, Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.fuse.candidates import COUNT_BITS, Candidate
from golden.fuse.table import BINS, CLUSTERED
from golden.shape import KERNELS

from .selector import statistics_layout

__all__ = ["StatisticsFeed", "block_layout"]

_OCTAVES = 8  # bins 1 .. 8 of the log2-magnitude histogram


def block_layout(candidates: int, shapes: int) -> data.StructLayout:
    """Statistics of one block.

    ``octaves[b]`` counts the elements of ``2**b <= |x| < 2**(b + 1)``, ``stored`` the rows that a
    clustered kernel keeps; ``error`` (Q16) and ``infeasible`` are per candidate.
    """
    return data.StructLayout(
        {
            "block_shape": (shapes - 1).bit_length(),
            "octaves": data.ArrayLayout(COUNT_BITS, _OCTAVES),
            "stored": COUNT_BITS,
            "error": data.ArrayLayout(16, candidates),
            "infeasible": candidates,
        }
    )


class StatisticsFeed(wiring.Component):
    """Serialises a block: count and density bin of each candidate, one candidate per cycle.

    Operation: the count is what a candidate's threshold keeps, or ``stored`` for the clustered
    kernels; its bin follows from the block's size (`golden.fuse.table.density_bin`). Latency:
    `latency_cycles` from the block's first cycle at the input to its first beat. Throughput: one
    beat per cycle, no gap between blocks. Back-pressure: a beat not taken freezes everything; a
    block is taken from the input with its last candidate. Counts, bins and ``empty`` are those of
    `golden.fuse.candidates.describe_blocks`, with ``stored`` given per block.

    Parameters
    ----------
    candidates : sequence of Candidate
        In order of their numbers; 1 to 256.
    sizes : sequence of int
        Elements of a block of each shape number; 1 to 64 shapes.

    Members
    -------
    blocks : In(stream), `block_layout`
        One block per transfer.
    statistics : Out(stream), `statistics_layout`
        One candidate per transfer, ``last`` with the last one.

    Raises
    ------
    ValueError
        No candidate or shape, too many, or a size that a count can't hold.
    """

    latency_cycles = 2

    def __init__(self, candidates: Sequence[Candidate], sizes: Sequence[int]) -> None:
        for name, values, most in (("candidates", candidates, 256), ("sizes", sizes, 64)):
            if not 1 <= len(values) <= most:
                raise ValueError(f"{name} must have 1 to {most} entries, got {len(values)}")
        for size in sizes:
            if not 1 <= size < 1 << COUNT_BITS:
                raise ValueError(f"sizes must be 1 to 2**{COUNT_BITS} - 1, got {size}")
        self._candidates, self._sizes = tuple(candidates), tuple(sizes)
        listed = "_".join(f"{KERNELS.index(c.kernel)}t{c.threshold}" for c in self._candidates)
        numbers = "_".join(map(str, self._sizes))
        self.module_name = f"sf_statistics_feed_{listed}_of_{numbers}"
        super().__init__(
            {
                "blocks": In(stream.Signature(block_layout(len(candidates), len(sizes)))),
                "statistics": Out(stream.Signature(statistics_layout(len(sizes)))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        block, beat = self.blocks.payload, self.statistics.payload
        flow = Signal()
        m.d.comb += flow.eq(~self.statistics.valid | self.statistics.ready)
        final = len(self._candidates) - 1
        number = Signal(range(final + 1))
        m.d.comb += self.blocks.ready.eq(flow & (number == final))
        with m.If(flow & self.blocks.valid):
            m.d.sync += number.eq(number + 1)
            with m.If(number == final):
                m.d.sync += number.eq(0)

        kept: dict[int, Value] = {8: Const(0, COUNT_BITS)}
        for threshold in {0, *(c.threshold for c in self._candidates)} - {8}:
            parts = [block.octaves[octave] for octave in range(threshold, _OCTAVES)]
            while len(parts) > 1:  # a tree: three adders deep rather than seven
                parts = [sum(parts[i : i + 2]) for i in range(0, len(parts), 2)]
            kept[threshold] = Signal(COUNT_BITS, name=f"kept_{threshold}")
            m.d.comb += kept[threshold].eq(parts[0])
        counts = Array(
            block.stored if c.kernel in CLUSTERED else kept[c.threshold] for c in self._candidates
        )
        kernels = Array(KERNELS.index(c.kernel) for c in self._candidates)

        # First stage: the candidate's count; second: its bin.
        valid = Signal()
        picked = Signal(statistics_layout(len(self._sizes)))
        size = Signal(COUNT_BITS)
        with m.If(flow):
            m.d.sync += [
                valid.eq(self.blocks.valid),
                picked.kernel.eq(kernels[number]),
                picked.block_shape.eq(block.block_shape),
                picked.count.eq(counts[number]),
                picked.error.eq(block.error[number]),
                picked.infeasible.eq(block.infeasible.bit_select(number, 1)),
                picked.empty.eq(kept[0] == 0),
                picked.last.eq(number == final),
                size.eq(Array(self._sizes)[block.block_shape]),
                self.statistics.valid.eq(valid),
                beat.eq(picked),
                beat.bin.eq(
                    (picked.count != 0)
                    + sum((picked.count << shift) > size for shift in range(1, BINS - 1))
                ),
            ]
        return m
