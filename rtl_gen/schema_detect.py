"""User intent for the detect top: the event-detection array as a design of its own."""

from typing import Annotated, Self

from pydantic import model_validator

from golden.operators.detection import CLUSTER, WIDTHS
from rtl_gen.rules import integer_rule, one_of_rule
from rtl_gen.schema_common import Config, Interface, Section, described, refuse, top_field

__all__ = ["Detect", "DetectConfig", "DetectInterface"]


class Detect(Section):
    """The event-detection array."""

    units: Annotated[int, integer_rule(1, CLUSTER)] = described(
        "detector units side by side, each with a stream of words and a stream of events",
        unit="units",
        effect="multiplies the design; each finds up to one event per cycle",
    )
    rows: Annotated[int, integer_rule(2, 65536, power=True)] = described(
        "rows of the longest vector, at least the bytes of a word; longer ones must be cut",
        unit="rows",
        effect="log2 of it is the width of a row number in the queues",
        default=4096,
    )
    event_queue: Annotated[int, integer_rule(2, 64, power=True)] = described(
        "events that wait for a stalled stream, per unit",
        unit="events",
        effect="a unit scans on while they wait; memory in look-up tables",
        default=8,
    )


class DetectInterface(Interface):
    """Ports of the detect top."""

    top: Annotated[str, one_of_rule("detect")] = top_field()
    data_bits: Annotated[int, one_of_rule(*(8 * width for width in WIDTHS))] = described(
        "width of a unit's stream of words, which it scans a word per cycle",
        unit="bits",
        effect="a wider one passes over more zeros per cycle; about one event to a word "
        "keeps both streams of a unit busy",
        default=64,
    )


class DetectConfig(Config):
    """A whole configuration of an event-detection array."""

    interface: DetectInterface = described("ports", unit="", effect="pins")
    detect: Detect = described("event-detection array", unit="", effect="size of the design")

    @model_validator(mode="after")
    def _check_joint_rules(self) -> Self:
        width = self.interface.data_bits // 8
        if self.detect.rows < width:
            rule = f"must be at least the bytes of a word ({width}, interface.data_bits / 8)"
            refuse("detect.rows", rule, self.detect.rows)
        return self
