"""Ports of the array top as configuration fields."""

from typing import Annotated, Literal

from golden.shape import MOST_RESULT_BITS, STREAM_BITS
from rtl_gen.rules import integer_rule, one_of_rule
from rtl_gen.schema_common import Interface, top_field
from rtl_gen.schema_common import described as _field

__all__ = ["ArrayInterface"]


class ArrayInterface(Interface):
    """Ports of the array top."""

    top: Annotated[str, one_of_rule("array")] = top_field("array")
    data_bits: Annotated[int, one_of_rule(*STREAM_BITS)] = _field(
        "width of a weight stream, and of the others unless they have a width of their own",
        unit="bits",
        effect="peak rate of each port",
        default=128,
    )
    activation_bits: Annotated[int | Literal["auto"], one_of_rule("auto", *STREAM_BITS)] = _field(
        "width of the activation stream; auto is data_bits",
        unit="bits",
        effect="rows loaded per cycle",
        default="auto",
    )
    result_bits: Annotated[
        int | Literal["auto"], integer_rule(64, MOST_RESULT_BITS, power=True, auto=True)
    ] = _field(
        "width of a result stream, at most 32 * schedule.unroll.m; auto is data_bits within that",
        unit="bits",
        effect="pairs of sums that a drain finishes per cycle; engines of a group share it, so it "
        "bounds how sparse columns may be before they wait",
        default="auto",
    )
