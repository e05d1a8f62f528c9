"""User intent for the array top: the fields of its configuration, their rules, units and effects.

Each model checks its own fields; :class:`ArrayConfig` checks the rules that join several of them.
Whether the whole fits its device is decided where the parameters are derived, in
:mod:`rtl_gen.config`.
"""

from functools import reduce
from types import SimpleNamespace
from typing import Annotated, Literal, Self

from pydantic import model_validator

from constraints.devices import devices
from golden.formats import PARAMETERS, RUN_TIME
from golden.numerics.mac_kinds import MAC_KINDS
from golden.numerics.quantise import ROUNDINGS, Rounding
from golden.selector.points import BINS
from golden.selector.unit import operand_columns
from golden.shape import (
    LEAST_SUM_BITS,
    minimum_ring_words,
    worst_sum_bits,
)
from rtl_gen.rules import integer_rule, kernels_rule, one_of_rule
from rtl_gen.schema_common import Config, Part, Section
from rtl_gen.schema_common import described as _field
from rtl_gen.schema_common import refuse as _refuse
from rtl_gen.schema_formats import Formats
from rtl_gen.schema_interface import ArrayInterface

__all__ = [
    "ArrayConfig",
    "ArrayInterface",
    "Buffers",
    "Formats",
    "Numerics",
    "Schedule",
    "Target",
    "Tile",
    "Unroll",
]


class Target(Part):
    """The part that the array is meant for, and its multipliers."""

    mac: Annotated[str, one_of_rule("auto", *MAC_KINDS)] = _field(
        "how a pair of INT8 multiply-accumulates is built; auto suits the device",
        unit="name",
        effect="products per multiplier block and look-up tables beside it; see docs/targets.md",
        default="auto",
    )


class Unroll(Section):
    """How many iterations of each loop run side by side."""

    m: Annotated[int, integer_rule(2, 64, power=True)] = _field(
        "lanes: output rows that one engine computes together",
        unit="rows",
        effect="multiplies an engine's multipliers and the width of its activation memory",
    )
    n: Annotated[int, integer_rule(1, 1024)] = _field(
        "engines: output columns computed side by side, each from its own events",
        unit="columns",
        effect="multiplies everything but the stream ports of a group",
    )
    k: Annotated[int | Literal["auto"], integer_rule(1, 1024, power=True, auto=True)] = _field(
        "parts that the rows of an output column are cut into, each for another engine; a divisor "
        "of unroll.n; auto takes the number that is predicted to be fastest for each product",
        unit="parts",
        effect="does not change the Verilog: keeps engines busy where columns are few, and takes "
        "more index words and results; the host adds the parts",
        default=1,
    )


class Tile(Section):
    """How much of each loop one pass covers; buffer depths follow."""

    m: Annotated[int, integer_rule(2, 64, power=True)] = _field(
        "output rows of one pass, equal to unroll.m",
        unit="rows",
        effect="larger M is covered by more passes",
    )
    n: Annotated[int, integer_rule(1, 1024 * 4096)] = _field(
        "output columns of one pass, a multiple of unroll.n",
        unit="columns",
        effect="n / unroll.n is the depth of an engine's partial sums",
    )
    k: Annotated[int, integer_rule(16, 4096, power=True)] = _field(
        "rows of one activation tile",
        unit="steps",
        effect="depth of the activation memory; larger K is accumulated over passes",
    )


class Buffers(Section):
    """Depths of the buffers between memory and engines."""

    activation_tiles: Annotated[int, integer_rule(2, 8, power=True)] = _field(
        "activation tiles held at once",
        unit="tiles",
        effect="2 loads one tile while another computes; more hides longer memory latency",
        default=2,
    )
    index_words: Annotated[
        int | Literal["auto"], integer_rule(16, 65536, power=True, auto=True)
    ] = _field(
        "ring of block headers and occupancy bits of each engine; auto holds one pass",
        unit="64-bit words",
        effect="deeper lets engines run further apart, at the cost of block RAM",
        default="auto",
    )
    value_words: Annotated[
        int | Literal["auto"], integer_rule(16, 65536, power=True, auto=True)
    ] = _field(
        "ring of non-zero values of each engine; auto holds one dense pass up to 2048 words",
        unit="64-bit words",
        effect="deeper lets engines run further apart, at the cost of block RAM",
        default="auto",
    )
    event_queue: Annotated[int, integer_rule(2, 64, power=True)] = _field(
        "events waiting between decoder and engine",
        unit="events",
        effect="covers the decoder's gaps over runs of zeros",
        default=8,
    )


class Schedule(Section):
    """Directives on the loop nest n, k, m."""

    unroll: Unroll = _field("iterations side by side", unit="", effect="size of the array")
    tile: Tile = _field("iterations of one pass", unit="", effect="depth of the buffers")
    kernels: Annotated[tuple[str, ...], kernels_rule] = _field(
        "block formats that the engines can decode",
        unit="names",
        effect="each adds a decoder to every engine",
        default=("dense", "bitmap"),
    )
    formats: Formats = _field("format parameters", unit="", effect="decoders", default=Formats())
    fusion: Annotated[bool, one_of_rule(False, True)] = _field(
        "partial sums of a block's parts are weighted in Q15, so that parts can have scales of "
        "their own",
        unit="",
        effect="multipliers in each drain and partial sums of 48 bits instead of 32; no cycle",
        default=False,
    )
    selector: Annotated[str, one_of_rule("none", "exact", "lossy")] = _field(
        "fuse selector for operands that exist only at run time, which chooses how each block is "
        "run: none, scanned or dense, or also with small values dropped",
        unit="name",
        effect="an operand stream with a feeder and some registers; lossy weighs cycles against "
        "the error of dropped values and takes more logic",
        default="none",
    )
    group: Annotated[int | Literal["auto"], integer_rule(1, 16, auto=True)] = _field(
        "engines that share one weight port, drain and result port, a divisor of unroll.n; "
        "auto leaves each engine two bytes of weights per cycle",
        unit="engines",
        effect="more engines share fewer pins and less bandwidth",
        default="auto",
    )
    buffers: Buffers = _field(
        "buffer depths", unit="", effect="block RAM against slack", default=Buffers()
    )

    def least_ring_words(self, data_bits: int) -> tuple[int, int]:
        """Smallest rings of an engine; see `golden.shape.minimum_ring_words`."""
        chosen = SimpleNamespace(**self.format_parameters)
        return minimum_ring_words(self.tile.k, data_bits, self.kernels, chosen)

    @property
    def format_parameters(self) -> dict[str, int]:
        """The formats' parameters by their fields' names in `golden.shape.ArrayShape`."""
        return {p.field: reduce(getattr, p.path, self.formats) for p in PARAMETERS}


class Numerics(Section):
    """Number formats beside the INT8 operands."""

    accumulator_bits: Annotated[int, one_of_rule(32)] = _field(
        "width of an output; 32 is the one value, and a line of its own is never needed",
        unit="bits",
        effect="none: results are exact over any K below 131072",
        default=32,
        fixed=True,
    )
    sum_bits: Annotated[int | Literal["auto"], integer_rule(LEAST_SUM_BITS, 28, auto=True)] = (
        _field(
            "width of a sum over one activation tile; auto holds any weights, or on DSP48E2 with "
            "tiles of more than 256 rows the 24 bits that the block has room for",
            unit="bits",
            effect="registers of every lane, up to what tile.k rows of any weights need; with "
            "fewer, tiles are made shorter for weights that need more",
            default="auto",
        )
    )
    rounding: Annotated[Rounding, one_of_rule(*ROUNDINGS)] = _field(
        "where the drain rounds a tie when it has weighted sums in Q15, that is with "
        "schedule.fusion: to even, or away from zero; without fusion results are exact sums and "
        "nothing is rounded",
        unit="name",
        effect="the last bit of a fused result; half_away takes a decrement per sum, no cycle",
        default="half_even",
        needs="schedule.fusion",
    )


class ArrayConfig(Config):
    """A whole configuration of an array."""

    target: Target = _field("the part", unit="", effect="technology and limits")
    interface: ArrayInterface = _field("ports", unit="", effect="pins", default=ArrayInterface())
    schedule: Schedule = _field("loop directives", unit="", effect="size of the design")
    numerics: Numerics = _field(
        "number formats", unit="", effect="rounding of fused results", default=Numerics()
    )

    @model_validator(mode="after")
    def _check_joint_rules(self) -> Self:
        unroll, tile, buffers = self.schedule.unroll, self.schedule.tile, self.schedule.buffers
        group, pattern = self.schedule.group, self.schedule.formats.nm
        if pattern.n >= pattern.m:
            _refuse(
                "schedule.formats.nm.n",
                f"must be below schedule.formats.nm.m ({pattern.m})",
                pattern.n,
            )
        if tile.m != unroll.m:
            _refuse("schedule.tile.m", f"must equal schedule.unroll.m ({unroll.m})", tile.m)
        if tile.n % unroll.n:
            _refuse(
                "schedule.tile.n", f"must be a multiple of schedule.unroll.n ({unroll.n})", tile.n
            )
        if tile.n // unroll.n > 4096:
            most = 4096 * unroll.n
            _refuse("schedule.tile.n", f"must be at most 4096 per engine ({most})", tile.n)
        if group != "auto" and unroll.n % group:
            _refuse("schedule.group", f"must divide schedule.unroll.n ({unroll.n})", group)
        if unroll.k != "auto" and unroll.n % unroll.k:
            _refuse("schedule.unroll.k", f"must divide schedule.unroll.n ({unroll.n})", unroll.k)
        if self.schedule.selector != "none":
            if not set(self.schedule.kernels) & set(RUN_TIME):
                known = ", ".join(RUN_TIME)
                rule = f"must be none without {known} in schedule.kernels"
                _refuse("schedule.selector", rule, self.schedule.selector)
            elements = tile.k * operand_columns(tile.k, tile.n // unroll.n)
            if elements % (1 << (BINS - 2)):
                rule = (
                    f"must be none where a block's elements, tile.k * tile.n / unroll.n "
                    f"({elements}), are no multiple of {1 << (BINS - 2)}"
                )
                _refuse("schedule.selector", rule, self.schedule.selector)
        self._check_sum_bits()
        bits, most = self.interface.data_bits, 32 * unroll.m
        if self.interface.result_bits != "auto" and self.interface.result_bits > most:
            rule = f"must be at most 32 * schedule.unroll.m ({most})"
            _refuse("interface.result_bits", rule, self.interface.result_bits)
        for field, least in zip(
            ("index_words", "value_words"),
            self.schedule.least_ring_words(bits),
            strict=True,
        ):
            value = getattr(buffers, field)
            if value != "auto" and value < least:
                rule = (
                    f"must hold one block of tile.k = {tile.k} and beats of {bits} bits, "
                    f"at least {least} words"
                )
                _refuse(f"schedule.buffers.{field}", rule, value)
        technology = devices()[self.target.device].technology
        if self.target.mac not in ("auto", *technology.macs):
            known = ", ".join(("auto", *technology.macs))
            _refuse(
                "target.mac", f"must be one of {known} on {self.target.device}", self.target.mac
            )
        return self

    def _check_sum_bits(self) -> None:
        """Operands that exist only at run time can't be cut into shorter tiles."""
        bits, worst = self.numerics.sum_bits, worst_sum_bits(self.schedule.tile.k)
        if bits != "auto" and bits < worst and self.schedule.selector != "none":
            rule = f"must be auto or {worst} at least with tile.k = {self.schedule.tile.k} and "
            _refuse("numerics.sum_bits", f"{rule}schedule.selector", bits)
