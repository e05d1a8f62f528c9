"""Fuse unit: raw values of a run-time operand in, the kernel of each block out."""

import hashlib

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.formats import KERNELS
from golden.selector.unit import UnitParameters

from .counter import BlockCounter, value_word
from .feed import StatisticsFeed
from .layouts import choice_layout, selector_ports
from .selector import FuseSelector

__all__ = ["FuseUnit"]


class FuseUnit(wiring.Component):
    """Chooses a kernel per block of a stream of raw INT8 values, one block ahead of execution.

    Operation: `BlockCounter` counts what the candidates need while a block streams by,
    `StatisticsFeed` makes one beat of it per candidate, `FuseSelector` weighs them with the
    table's lines. The three work on three blocks at a time. The answer is that of
    ``golden.selector.selector.Selector.run`` on `golden.selector.unit.describe_raw`, bit for bit.

    Latency: the choice is offered `latency_cycles` after its block's last word was accepted, if
    the unit was idle. Throughput: a word per cycle without a bubble, as long as every block has
    at least `free_words` words; shorter ones take that many cycles. So a block that is longer
    than the candidate list takes no cycle more for being chosen for.
    Back-pressure: a choice not taken stops the stages behind each other, each when it is full.

    Parameters
    ----------
    parameters : UnitParameters
        What the unit is built for; `UnitParameters.of` takes it from an array.
    shift, gain : int
        See `golden.selector.selector.Selector`; of no effect where no candidate drops values.

    Members
    -------
    words : In(stream of `value_word`)
        Columns of a block one after another.
    choices : Out(stream of `choice_layout`)
        One per block, in order.
    table_enable, table_address, table_data : In
    alpha, beta, alpha_max, beta_min, budget, adapt, restart : In
    running_error, alpha_now, beta_now : Out
        See `FuseSelector`.

    Raises
    ------
    ValueError
        Shift or gain out of range.
    """

    def __init__(self, parameters: UnitParameters, shift: int = 6, gain: int = 4) -> None:
        p = parameters
        self._counter = BlockCounter(p)
        self._feed = StatisticsFeed(p)
        self._selector = FuseSelector(
            candidates=len(p.candidates),
            shapes=len(p.sizes),
            shift=shift,
            gain=gain,
            count_bits=p.count_bits,
            lossy=p.lossy,
            cycle_bits=p.cycle_bits,
        )
        for part in (self._counter, self._feed, self._selector):
            # Amaranth warns of parts never elaborated; of a unit that isn't, it warns already.
            part._MustUse__silence = True
        self._parameters = p
        listed = "_".join(f"{KERNELS[c.kernel].number}t{c.threshold}" for c in p.candidates)
        sizes = hashlib.sha256(repr(p.sizes).encode()).hexdigest()[:8]
        law = f"_s{shift}_g{gain}" if p.lossy else ""
        self.module_name = (
            f"sf_fuse_unit_w{p.word_rows}_k{p.k_tile}_n{p.columns}_d{p.dense_rows}"
            f"_c{listed}_p{len(p.sizes)}_{sizes}{law}"
        )
        super().__init__(
            {
                "words": In(stream.Signature(value_word(p))),
                "choices": Out(stream.Signature(choice_layout(len(p.candidates)))),
                **selector_ports(len(p.sizes)),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """From the acceptance of a block's last word to its choice."""
        stages = (self._counter, self._feed, self._selector)
        # The beats of the candidates follow the first one.
        return sum(s.latency_cycles for s in stages) + self._parameters.block_cycles - 1

    @property
    def free_words(self) -> int:
        """From this many words on, blocks stream without a bubble."""
        return max(self._parameters.block_cycles, self._selector.free_candidates)

    def elaborate(self, platform):
        m = Module()
        m.submodules.counter = self._counter
        m.submodules.feed = self._feed
        m.submodules.selector = selector = self._selector
        wiring.connect(m, wiring.flipped(self.words), self._counter.words)
        wiring.connect(m, self._counter.counts, self._feed.blocks)
        wiring.connect(m, self._feed.statistics, selector.statistics)
        wiring.connect(m, selector.choices, wiring.flipped(self.choices))
        for name, member in selector_ports(len(self._parameters.sizes)).items():
            inside, outside = getattr(selector, name), getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        return m
