"""User intent: the fields of a configuration file, their rules, units and effects.

Each model checks its own fields; :class:`Config` checks the rules that join several of them.
Whether the whole fits its device is decided where the parameters are derived, in
:mod:`rtl_gen.config`.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from constraints.devices import devices
from golden.numerics.mac_kinds import MAC_KINDS
from golden.numerics.quantise import ROUNDINGS, Rounding
from golden.selector.candidates import COUNT_BITS
from golden.selector.points import BINS, MEASURED
from golden.shape import minimum_ring_words
from rtl_gen.rules import (
    device_rule,
    integer_rule,
    is_clock,
    kernels_rule,
    name_rule,
    one_of_rule,
    rule,
    top_rule,
)

__all__ = [
    "Buffers",
    "Config",
    "Formats",
    "Interface",
    "Numerics",
    "Schedule",
    "Section",
    "StructuredFormat",
    "Target",
    "Tile",
    "Unroll",
]

_MISSING: Any = object()


def _field(
    description: str,
    *,
    unit: str,
    effect: str,
    default: Any = _MISSING,
    fixed: bool = False,
    needs: str | None = None,
) -> Any:
    """A field with what `init` and the documentation say of it; required without a default.

    Args:
        description: what it is.
        unit: of its value, empty where it has none.
        effect: what it changes.
        default: where there is one.
        fixed: there is one possible value, so `init` writes no line for it.
        needs: dotted path of the switch without which the field changes nothing; `init` writes a
            line where the switch is on, or the value is not the default.
    """
    extra: dict[str, Any] = {"unit": unit, "effect": effect, "fixed": fixed, "needs": needs}
    if default is _MISSING:
        return Field(description=description, json_schema_extra=extra)
    return Field(default=default, description=description, json_schema_extra=extra)


class Section(BaseModel):
    """A frozen part of a configuration that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(Section):
    """The part that the design is meant for."""

    device: Annotated[str, device_rule] = _field(
        "part that the design is meant for, a name of the device database",
        unit="name",
        effect="decides technology, constraint format and what fits",
    )
    clock_mhz: Annotated[float, rule(is_clock, "a number, 1 to 1000")] = _field(
        "clock that constraints ask for and that rates are computed with",
        unit="MHz",
        effect="does not change the Verilog",
        default=100.0,
    )
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


class StructuredFormat(Section):
    """N of M: the ``nm`` kernel."""

    n: Annotated[int, integer_rule(1, 15)] = _field(
        "non-zeros in every run of m rows, below m",
        unit="rows",
        effect="slots per run, each a cycle",
        default=2,
    )
    m: Annotated[int, integer_rule(2, 16, power=True)] = _field(
        "rows of a run", unit="rows", effect="bits of a slot's place", default=4
    )


class Formats(Section):
    """Parameters of the block formats; only those of built-in kernels matter."""

    gap_bits: Annotated[int, integer_rule(3, 8)] = _field(
        "bits of a gap between non-zeros in the runlength kernel",
        unit="bits",
        effect="wider gaps need fewer pads on sparse columns and more bytes on dense ones",
        default=4,
    )
    nm: StructuredFormat = _field(
        "pattern of the nm kernel", unit="", effect="its slots", default=StructuredFormat()
    )
    block_rows: Annotated[int, one_of_rule(1, 2, 4, 8, 16)] = _field(
        "rows of a run in the block kernel",
        unit="rows",
        effect="longer runs need fewer occupancy bits and store more zeros",
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
        "fuse selector beside the array, which chooses a kernel for each block of a raw "
        "run-time operand: none, among the kernels alone, or also among thresholds",
        unit="name",
        effect="two streams and some registers; lossy weighs cycles against the error of dropped "
        "values and takes more logic",
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
        formats = self.formats
        pattern = (formats.nm.n, formats.nm.m)
        return minimum_ring_words(
            self.tile.k, data_bits, self.kernels, formats.gap_bits, pattern, formats.block_rows
        )


class Numerics(Section):
    """Number formats beside the INT8 operands."""

    accumulator_bits: Annotated[int, one_of_rule(32)] = _field(
        "width of an output; 32 is the one value, and a line of its own is never needed",
        unit="bits",
        effect="none: results are exact over any K below 131072",
        default=32,
        fixed=True,
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


class Interface(Section):
    """Ports of the top module."""

    top: Annotated[str, top_rule] = _field(
        "which top module is generated: array, with AXI-Stream ports",
        unit="name",
        effect="only array is built",
        default="array",
    )
    data_bits: Annotated[int, one_of_rule(64, 128, 256, 512)] = _field(
        "width of an activation or weight stream",
        unit="bits",
        effect="peak rate of each port and rows loaded per cycle",
        default=128,
    )


class Config(Section):
    """A whole configuration, as the user wrote it, with defaults filled in."""

    name: Annotated[str, name_rule] = _field(
        "name of the design", unit="", effect="names generated files"
    )
    target: Target = _field("the part", unit="", effect="technology and limits")
    schedule: Schedule = _field("loop directives", unit="", effect="size of the design")
    numerics: Numerics = _field(
        "number formats", unit="", effect="rounding of fused results", default=Numerics()
    )
    interface: Interface = _field("ports", unit="", effect="pins", default=Interface())

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
            if not set(self.schedule.kernels) & set(MEASURED):
                rule = f"must be none without one of {', '.join(MEASURED)} in schedule.kernels"
                _refuse("schedule.selector", rule, self.schedule.selector)
            elements = tile.k * (tile.n // unroll.n)
            if elements >= 1 << COUNT_BITS or elements % (1 << (BINS - 2)):
                rule = (
                    f"must be none where tile.k * tile.n / unroll.n ({elements}) is no multiple of "
                    f"{1 << (BINS - 2)} or reaches 2**{COUNT_BITS}"
                )
                _refuse("schedule.selector", rule, self.schedule.selector)
        bits = self.interface.data_bits
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


def _refuse(field: str, rule: str, value: object) -> None:
    raise PydanticCustomError(
        "joint_rule", "{rule}", {"rule": rule, "field": field, "value": value}
    )
