"""One detector unit: a scanner and its event queue."""

from amaranth.hdl import Module
from amaranth.lib import data, fifo, stream, wiring
from amaranth.lib.wiring import In, Out

from golden.operators.detection import check_detector

from .scan import DetectorScan, detected, raw_word

__all__ = ["DetectorUnit"]


class DetectorUnit(wiring.Component):
    """Finds the events of raw INT8 vectors and queues them.

    Operation: `DetectorScan` in front of a queue that decouples it from the consumer.

    Latency: ``latency_cycles`` from the accepted word to its first event at the output of an
    empty unit.

    Throughput: one event per cycle; W bytes per cycle where they hold no event.

    Back-pressure: while the queue is full the scanner waits, and takes words until both of its
    registers are full. ``words.ready`` depends on registers alone.

    Parameters
    ----------
    width : int
        W, bytes scanned per cycle: 1, 2, 4, 8 or 16.
    k_bits : int
        Bits of a row number.
    queue : int
        Depth of the event queue in events, a power of two, 2 to 64.

    Members
    -------
    threshold : In(8)
    words : In(stream of `rtl_gen.detect.raw_word`)
    events : Out(stream of `rtl_gen.detect.detected`)
    word_taken, word_empty, event_found : Out(1)
        Pulses for counters: word accepted; without an event; valued event queued.
    busy : Out(1)
        A vector is open, or events wait inside.
    fault : Out(1)
        Sticky: see `DetectorScan`.
    """

    def __init__(self, *, width: int, k_bits: int, queue: int) -> None:
        check_detector(width=width, k_bits=k_bits, queue=queue)
        self._width = width
        self._k_bits = k_bits
        self._queue = queue
        super().__init__(
            {
                "threshold": In(8),
                "words": In(stream.Signature(raw_word(width))),
                "events": Out(stream.Signature(detected(k_bits))),
                "word_taken": Out(1),
                "word_empty": Out(1),
                "event_found": Out(1),
                "busy": Out(1),
                "fault": Out(1),
            }
        )

    @property
    def latency_cycles(self) -> int:
        """Cycles from the accepted word to its first event at the output."""
        return 3

    @property
    def module_name(self) -> str:
        """Name of the emitted module."""
        return f"sf_detector_w{self._width}_k{self._k_bits}_q{self._queue}"

    def elaborate(self, platform):
        m = Module()
        m.submodules.scan = scan = DetectorScan(width=self._width, k_bits=self._k_bits)
        layout = detected(self._k_bits)
        m.submodules.queue = queue = fifo.SyncFIFO(width=layout.size, depth=self._queue)
        wiring.connect(m, wiring.flipped(self.words), scan.words)
        m.d.comb += [
            scan.threshold.eq(self.threshold),
            queue.w_data.eq(scan.events.payload),
            queue.w_en.eq(scan.events.valid),
            scan.events.ready.eq(queue.w_rdy),
            self.events.payload.eq(data.View(layout, queue.r_data)),
            self.events.valid.eq(queue.r_rdy),
            queue.r_en.eq(self.events.ready),
            self.word_taken.eq(scan.word_taken),
            self.word_empty.eq(scan.word_empty),
            self.event_found.eq(scan.events.valid & queue.w_rdy & scan.events.payload.valued),
            self.busy.eq(scan.open | scan.active | queue.r_rdy),
            self.fault.eq(scan.fault),
        ]
        return m
