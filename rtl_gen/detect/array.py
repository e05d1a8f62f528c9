"""The event-detection array: a cluster of detector units, each with its own streams."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.operators.detection import check_detector

from ..distinct import place
from .scan import detected, raw_word
from .unit import DetectorUnit

__all__ = ["DetectorArray", "array_module", "count_set"]

_COUNTER_BITS = 64


def count_set(bits: list[Value]) -> Value:
    """Number of bits set, as a balanced tree of adders."""
    while len(bits) > 1:
        bits = [sum(bits[i + 1 : i + 2], bits[i]) for i in range(0, len(bits), 2)]
    return bits[0]


def array_module(*, units: int, width: int, k_bits: int, queue: int) -> str:
    """Name of the emitted module of an array with these parameters."""
    return f"sf_detector_array_u{units}_w{width}_k{k_bits}_q{queue}"


class DetectorArray(wiring.Component):
    """Detector units side by side; no arbiter, each unit has a port of its own on both sides.

    Operation: see `DetectorUnit`. Units share nothing but the threshold and the counters, so
    they slip against each other freely. Larger arrays are several clusters.

    Latency: ``latency_cycles`` from a unit's word to its event. A counter shows a pulse
    ``counter_latency_cycles`` cycles after it.

    Throughput: ``units`` events per cycle.

    Back-pressure: unit by unit.

    Parameters
    ----------
    units : int
        Units of the cluster, 1 to 64.
    width, k_bits, queue : int
        See `DetectorUnit`.

    Members
    -------
    threshold : In(8)
        Shared; must not change while ``busy``.
    clear : In(1)
        Set the counters to zero.
    words_u : In(stream of `rtl_gen.detect.raw_word`), one per unit
    events_u : Out(stream of `rtl_gen.detect.detected`), one per unit
    busy : Out(1)
        A vector is open or an event waits in any unit.
    events, words, empty_words : Out(64)
        Valued events found, words accepted, words without an event, modulo 2 to the power of 64.
    fault : Out(1)
        Sticky: a unit met a vector of more than 2 to the power of ``k_bits`` rows.
    """

    def __init__(self, *, units: int, width: int, k_bits: int, queue: int) -> None:
        check_detector(units=units, width=width, k_bits=k_bits, queue=queue)
        self._units = units
        self._width = width
        self._k_bits = k_bits
        self._queue = queue
        ports: dict = {
            "threshold": In(8),
            "clear": In(1),
            "busy": Out(1),
            "events": Out(_COUNTER_BITS),
            "words": Out(_COUNTER_BITS),
            "empty_words": Out(_COUNTER_BITS),
            "fault": Out(1),
        }
        for u in range(units):
            ports[f"words_{u}"] = In(stream.Signature(raw_word(width)))
            ports[f"events_{u}"] = Out(stream.Signature(detected(k_bits)))
        super().__init__(ports)

    @property
    def latency_cycles(self) -> int:
        """Cycles from a unit's accepted word to its first event at the output."""
        return 3

    @property
    def counter_latency_cycles(self) -> int:
        """Cycles from a pulse to the counter that includes it."""
        return 2

    @property
    def module_name(self) -> str:
        """Name of the emitted module."""
        return array_module(
            units=self._units, width=self._width, k_bits=self._k_bits, queue=self._queue
        )

    def elaborate(self, platform):
        m = Module()
        pulses: dict[str, list[Value]] = {"events": [], "words": [], "empty_words": []}
        busy = []
        faults = []
        for u in range(self._units):
            unit = DetectorUnit(width=self._width, k_bits=self._k_bits, queue=self._queue)
            place(m, platform, f"unit{u}", unit)
            wiring.connect(m, wiring.flipped(getattr(self, f"words_{u}")), unit.words)
            wiring.connect(m, unit.events, wiring.flipped(getattr(self, f"events_{u}")))
            m.d.comb += unit.threshold.eq(self.threshold)
            pulses["events"].append(unit.event_found)
            pulses["words"].append(unit.word_taken)
            pulses["empty_words"].append(unit.word_empty)
            busy.append(unit.busy)
            faults.append(unit.fault)
        for name, bits in pulses.items():
            # The sum of a whole cluster gets a cycle of its own.
            step = Signal(range(self._units + 1), name=f"{name}_step")
            counter = getattr(self, name)
            m.d.sync += [step.eq(count_set(bits)), counter.eq(counter + step)]
            with m.If(self.clear):
                m.d.sync += [step.eq(0), counter.eq(0)]
        m.d.comb += [self.busy.eq(Cat(*busy).any()), self.fault.eq(Cat(*faults).any())]
        return m
