"""Detect top: the event-detection array behind AXI4-Stream and AXI4-Lite."""

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    Mux,
    ResetSignal,
    Signal,
    signed,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.operators.detection import DetectorShape
from golden.operators.detection_job import EVENT_FIELDS

from ..detect import DetectorArray
from ..detect.array import count_set
from ..distinct import place
from .detect_registers import DETECT_ERRORS, DETECT_IDENTITY, DETECT_REGISTERS, DETECT_VERSION
from .register_file import RegisterFile, register_ports

__all__ = ["DetectTop"]

_EVENT_BITS = 32
_END_CYCLES = 2
"""From the cycle in which the last event leaves to the last busy one: its `last` is counted."""


class DetectTop(wiring.Component):
    """The event-detection array as a design of its own.

    Ports: ``clk``, ``rst`` (synchronous, active high), ``s_axil_*``, and per unit u
    ``s_axis_words_<u>_*`` (TDATA of 8W bits, TKEEP marks the bytes that hold an element, TLAST
    closes a vector) and ``m_axis_events_<u>_*`` (TDATA of 32 bits as
    `golden.operators.detection_job.EVENT_FIELDS` says, TLAST closes the vector).

    Operation: see `DetectorArray`; registers in `rtl_gen.top.detect_registers`. A start latches
    VECTORS and THRESHOLD, clears the counters and opens the word streams; the job ends when as
    many vectors have been closed on the event streams, over all units together. Words are taken
    only while a job runs, and the host sends a job's words alone until it has ended. After an
    error words are discarded and no event leaves until ``CONTROL.reset``, so neither side hangs.

    Latency: words are taken from the second cycle after the write of CONTROL on, the first event
    leaves three cycles after its word; see `DetectorUnit`. STATUS.done is set three cycles after
    the last event.

    Throughput, back-pressure: unit by unit, see `DetectorUnit`.

    Parameters
    ----------
    shape : DetectorShape
    config_hash : int
        First 32 bits of the configuration's hash.
    """

    module_name = "sparsefuse"

    def __init__(self, shape: DetectorShape, config_hash: int) -> None:
        self.shape = shape
        self.config_hash = config_hash
        ports = register_ports()
        for u in range(shape.units):
            prefix = f"s_axis_words_{u}_"
            ports |= {
                prefix + "tdata": In(8 * shape.width),
                prefix + "tkeep": In(shape.width),
                prefix + "tlast": In(1),
                prefix + "tvalid": In(1),
                prefix + "tready": Out(1),
            }
            prefix = f"m_axis_events_{u}_"
            ports |= {
                prefix + "tdata": Out(_EVENT_BITS),
                prefix + "tlast": Out(1),
                prefix + "tvalid": Out(1),
                prefix + "tready": In(1),
            }
        super().__init__(ports)

    @property
    def constants(self) -> dict[str, int]:
        """Values of the registers that never change, by name."""
        shape = self.shape
        return {
            "IDENTITY": DETECT_IDENTITY,
            "VERSION": DETECT_VERSION,
            "CONFIG_HASH": self.config_hash,
            "GEOMETRY": shape.units | shape.width << 8 | shape.k_bits << 16 | shape.queue << 24,
        }

    def array(self) -> DetectorArray:
        """The units that the top is built around."""
        shape = self.shape
        return DetectorArray(
            units=shape.units, width=shape.width, k_bits=shape.k_bits, queue=shape.queue
        )

    def elaborate(self, platform):
        m = Module()
        # The units can be reset alone.
        m.domains.core = ClockDomain(local=True)
        clear = Signal(init=1)
        m.d.comb += [
            ClockSignal("core").eq(ClockSignal()),
            ResetSignal("core").eq(clear),
        ]
        array = self.array()
        place(m, platform, "array", array, wrap=DomainRenamer("core"))
        halted = Signal()
        running = Signal()
        moved, closed = self._streams(m, array, running, halted)
        self._registers(m, array, clear, running, halted, moved, closed)
        return m

    def _streams(self, m: Module, array: DetectorArray, running, halted):
        """Connect the streams; return whether anything moved, and which units closed a vector."""
        moves = []
        closed = []
        for u in range(self.shape.units):
            words = getattr(array, f"words_{u}")
            events = getattr(array, f"events_{u}")
            port = {
                name: getattr(self, f"s_axis_words_{u}_{name}")
                for name in ("tdata", "tkeep", "tlast", "tvalid", "tready")
            }
            m.d.comb += [
                words.payload.data.eq(port["tdata"]),
                words.payload.keep.eq(port["tkeep"]),
                words.payload.last.eq(port["tlast"]),
                words.valid.eq(port["tvalid"] & running & ~halted),
                port["tready"].eq((words.ready & running) | halted),
            ]
            moves.append(port["tvalid"] & port["tready"])
            port = {
                name: getattr(self, f"m_axis_events_{u}_{name}")
                for name in ("tdata", "tlast", "tvalid", "tready")
            }
            m.d.comb += [
                port["tdata"][low : low + width].eq(getattr(events.payload, name))
                for name, low, width in EVENT_FIELDS
            ]
            m.d.comb += [
                port["tlast"].eq(events.payload.last),
                port["tvalid"].eq(events.valid & ~halted),
                events.ready.eq(port["tready"] & ~halted),
            ]
            taken = port["tvalid"] & port["tready"]
            moves.append(taken)
            closed.append(taken & port["tlast"])
        return Cat(*moves).any(), closed

    def _registers(self, m: Module, array, clear, running, halted, moved, closed) -> None:
        file = RegisterFile(m, self, DETECT_REGISTERS)
        vectors = Signal(32, init=1)
        threshold = Signal(8)
        watchdog = Signal(32)
        errors = Signal(len(DETECT_ERRORS))
        start = Signal()
        done = Signal()
        cycles = self._job(m, array, start, running, closed, vectors, threshold, errors, done)
        quiet = Signal(32)
        m.d.comb += [halted.eq(errors[:3].any()), array.clear.eq(start)]
        m.d.sync += [start.eq(0), clear.eq(0), quiet.eq(quiet + 1)]
        with m.If(array.fault):
            m.d.sync += errors[0].eq(1)
        with m.If(~running | moved):
            m.d.sync += quiet.eq(0)
        with m.If(running & watchdog.any() & (quiet == watchdog)):
            m.d.sync += errors[2].eq(1)

        file.refuse_unknown_writes()
        written = file.strobes("CONTROL", "VECTORS", "WATCHDOG", "THRESHOLD")
        with m.If(written["VECTORS"]):
            m.d.sync += vectors.eq(file.merged(vectors))
        with m.If(written["WATCHDOG"]):
            m.d.sync += watchdog.eq(file.merged(watchdog))
        with m.If(written["THRESHOLD"]):
            m.d.sync += threshold.eq(file.merged(threshold))
        command = file.slave.write_data & file.mask
        with m.If(written["CONTROL"]):
            with m.If(command[0] & ~command[1]):
                with m.If(running | start | ~vectors.any() | (threshold > 128)):
                    m.d.sync += errors[3].eq(1)
                with m.Elif(~halted):
                    m.d.sync += [start.eq(1), done.eq(0)]
            with m.If(command[1]):
                m.d.sync += [clear.eq(1), errors.eq(0), done.eq(0)]
        # A fault seen while the units are being reset belongs to the past.
        with m.If(clear):
            m.d.sync += [errors[:3].eq(0), done.eq(0)]

        counters = {
            "CYCLES": cycles,
            "EVENTS": array.events,
            "WORDS": array.words,
            "EMPTY_WORDS": array.empty_words,
        }
        upper = {name: Signal(32, name=f"{name.lower()}_upper") for name in counters}
        values = {
            **{name: Const(value, 32) for name, value in self.constants.items()},
            "CONTROL": Const(0, 32),
            "STATUS": Cat(running | start, done, halted),
            "ERROR": errors,
            "VECTORS": vectors,
            "WATCHDOG": watchdog,
            "THRESHOLD": threshold,
        }
        for name, counter in counters.items():
            values |= {f"{name}_LOW": counter[:32], f"{name}_HIGH": upper[name]}
        file.answer_reads(values, {name: (c, upper[name]) for name, c in counters.items()})

    def _job(self, m: Module, array, start, running, closed, vectors, threshold, errors, done):
        """Count a job's vectors down and its cycles up; return the counter of cycles."""
        units = self.shape.units
        limit = Signal(8)
        # Below 0 where more vectors were closed than the job has.
        remaining = Signal(signed(33))
        step = Signal(range(units + 1))
        opened = Signal(_END_CYCLES)
        cycles = Signal(64)
        ran = Signal()
        ended = Signal()
        m.d.comb += [array.threshold.eq(limit), ended.eq(ran & ~running)]
        m.d.core += [
            step.eq(count_set(closed)),
            remaining.eq(remaining - step),
            opened.eq(Mux(running, Cat(1, opened), 0)),
            ran.eq(running),
        ]
        # Counting begins as late as the end is noticed.
        with m.If(running & opened[-1]):
            m.d.core += cycles.eq(cycles + 1)
        with m.If(running & (remaining <= 0)):
            m.d.core += running.eq(0)
        with m.If(start):
            m.d.core += [running.eq(1), limit.eq(threshold), remaining.eq(vectors), cycles.eq(0)]
        with m.If(ended):
            # Words taken up to now are inside, on their way out, or counted.
            with m.If(array.busy | step.any() | remaining.any()):
                m.d.sync += errors[1].eq(1)
            with m.Else():
                m.d.sync += done.eq(1)
        return cycles
