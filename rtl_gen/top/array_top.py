"""Array top: the sparse array behind AXI4-Stream and AXI4-Lite."""

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.selector.unit import UnitParameters
from golden.shape import ArrayShape

from ..array.array import SparseArray
from ..distinct import place
from .register_file import RegisterFile, register_ports
from .registers import ERRORS, IDENTITY, SELECTOR_REGISTERS, VERSION, registers_of
from .selector_port import SelectorPort, operand_ports

__all__ = ["ArrayTop"]


class ArrayTop(wiring.Component):
    """What a user instantiates when the host drives the streams.

    Ports: ``clk``, ``rst`` (synchronous, active high), ``s_axil_*``, ``s_axis_activations_*``,
    and per group g ``s_axis_weights_<g>_*`` (TDEST = 2 * engine + ring) and
    ``m_axis_results_<g>_*`` (TID = engine, TLAST ends a column). With the fuse selector,
    ``s_axis_operand_*`` as well, from which it feeds the weights of a job: see `SelectorPort`.

    Operation: see `SparseArray`; registers in `rtl_gen.top.registers`. After an error the inputs
    are discarded and no result leaves until ``CONTROL.reset``, so neither side hangs.

    Latency: a start takes effect two cycles after the write was accepted.

    Parameters
    ----------
    shape : ArrayShape
    config_hash : int
        First 32 bits of the configuration's hash.
    selector : UnitParameters or None
        What the fuse selector for run-time operands is built for; None: there is none.
    """

    module_name = "sparsefuse"

    def __init__(
        self, shape: ArrayShape, config_hash: int, selector: UnitParameters | None = None
    ) -> None:
        self.shape = shape
        self.config_hash = config_hash
        self.selector = selector
        ports: dict = register_ports()
        prefix = "s_axis_activations_"
        ports |= {
            prefix + "tdata": In(shape.activation_bits),
            prefix + "tvalid": In(1),
            prefix + "tready": Out(1),
            prefix + "tlast": In(1),
        }
        engine_bits = max(1, (shape.group - 1).bit_length())
        for g in range(shape.groups):
            prefix = f"s_axis_weights_{g}_"
            ports |= {
                prefix + "tdata": In(shape.data_bits),
                prefix + "tdest": In(1 + engine_bits),
                prefix + "tvalid": In(1),
                prefix + "tready": Out(1),
            }
            prefix = f"m_axis_results_{g}_"
            ports |= {
                prefix + "tdata": Out(shape.result_bits),
                prefix + "tid": Out(engine_bits),
                prefix + "tlast": Out(1),
                prefix + "tvalid": Out(1),
                prefix + "tready": In(1),
            }
        if selector is not None:
            ports |= operand_ports()
        super().__init__(ports)

    @property
    def constants(self) -> dict[str, int]:
        """Values of the registers that never change, by name."""
        shape = self.shape
        return {
            "IDENTITY": IDENTITY,
            "VERSION": VERSION,
            "CONFIG_HASH": self.config_hash,
            "GEOMETRY": shape.lanes | shape.group << 8 | shape.engines << 16,
        }

    def elaborate(self, platform):
        shape = self.shape
        m = Module()
        # The array can be reset alone, by a register that the reset of the whole sets: a pin would
        # reach every register of the array, and simulators would look at all of them for it.
        m.domains.core = ClockDomain(local=True)
        clear = Signal(init=1)
        m.d.comb += [
            ClockSignal("core").eq(ClockSignal()),
            ResetSignal("core").eq(clear),
        ]
        array = SparseArray(shape)
        place(m, platform, "array", array, wrap=DomainRenamer("core"))

        halted = Signal()
        port = None
        if self.selector is not None:
            m.submodules.selector = port = SelectorPort(shape, self.selector)
        moved = self._streams(m, array, halted, port)
        self._registers(m, array, clear, halted, moved, port)
        return m

    def _streams(self, m: Module, array: SparseArray, halted: Signal, operand: SelectorPort | None):
        """Connect the streams; return whether anything moved in this cycle."""
        shape = self.shape
        beat = array.activations.payload
        m.d.comb += [
            beat.data.eq(self.s_axis_activations_tdata),
            beat.last.eq(self.s_axis_activations_tlast),
            array.activations.valid.eq(self.s_axis_activations_tvalid & ~halted),
            self.s_axis_activations_tready.eq(array.activations.ready | halted),
        ]
        moves = [self.s_axis_activations_tvalid & self.s_axis_activations_tready]
        if operand is not None:
            moves += self._operand(m, halted, operand)
        for g in range(shape.groups):
            weights = getattr(array, f"weights_{g}")
            results = getattr(array, f"results_{g}")
            port = {
                name: getattr(self, f"s_axis_weights_{g}_{name}")
                for name in ("tdata", "tdest", "tvalid", "tready")
            }
            m.d.comb += [
                weights.payload.data.eq(port["tdata"]),
                weights.payload.target.eq(port["tdest"]),
                weights.valid.eq(port["tvalid"] & ~halted),
                port["tready"].eq(weights.ready | halted),
            ]
            if operand is not None:
                beats = operand.beats
                with m.If(operand.active):
                    m.d.comb += [
                        weights.payload.eq(beats.payload.beat),
                        weights.valid.eq(beats.valid & (beats.payload.group == g)),
                        port["tready"].eq(halted),
                    ]
                with m.If(beats.payload.group == g):
                    m.d.comb += beats.ready.eq(weights.ready)
            moves.append(port["tvalid"] & port["tready"])
            port = {
                name: getattr(self, f"m_axis_results_{g}_{name}")
                for name in ("tdata", "tid", "tlast", "tvalid", "tready")
            }
            m.d.comb += [
                port["tdata"].eq(results.payload.data),
                port["tid"].eq(results.payload.engine),
                port["tlast"].eq(results.payload.last),
                port["tvalid"].eq(results.valid & ~halted),
                results.ready.eq(port["tready"] & ~halted),
            ]
            moves.append(port["tvalid"] & port["tready"])
        return Cat(*moves).any() | array.events.any()

    def _operand(self, m: Module, halted: Signal, operand: SelectorPort) -> list:
        """Connect the operand stream; return what tells that it moves."""
        m.d.comb += [
            operand.s_axis_operand_tdata.eq(self.s_axis_operand_tdata),
            operand.s_axis_operand_tlast.eq(self.s_axis_operand_tlast),
            operand.s_axis_operand_tvalid.eq(self.s_axis_operand_tvalid & ~halted),
            self.s_axis_operand_tready.eq(operand.s_axis_operand_tready | halted),
        ]
        return [
            self.s_axis_operand_tvalid & self.s_axis_operand_tready,
            operand.beats.valid & operand.beats.ready,
        ]

    def _registers(
        self,
        m: Module,
        array: SparseArray,
        clear: Signal,
        halted: Signal,
        moved,
        operand: SelectorPort | None,
    ) -> None:
        registers = registers_of(self.selector is not None)
        file = RegisterFile(m, self, registers)
        slave, mask = file.slave, file.mask

        m_tiles = Signal(8, init=1)
        watchdog = Signal(32)
        quiet = Signal(32)
        # The last error is the operand's.
        errors = Signal(len(ERRORS) if operand is not None else len(ERRORS) - 1)
        done = Signal()
        values = {}
        cycles = Signal(64)
        events = Signal(64)
        upper = {"CYCLES": Signal(32), "EVENTS": Signal(32)}
        start = Signal()
        fatal = errors[:3].any() | errors[4]
        if operand is not None:
            fatal |= errors[6]
        m.d.comb += [array.m_tiles.eq(m_tiles), array.start.eq(start), halted.eq(fatal)]
        m.d.sync += [
            start.eq(0),
            clear.eq(0),
            errors[:2].eq(errors[:2] | array.fault[:2]),
            errors[4].eq(errors[4] | array.fault[2]),
            quiet.eq(quiet + 1),
        ]
        with m.If(~array.busy | moved):
            m.d.sync += quiet.eq(0)
        with m.If(array.busy):
            m.d.sync += [cycles.eq(cycles + 1), events.eq(events + array.events)]
            with m.If(watchdog.any() & (quiet == watchdog)):
                m.d.sync += errors[2].eq(1)
        busy_before = Signal()
        cleared = Signal()
        m.d.sync += [busy_before.eq(array.busy), cleared.eq(clear)]
        # A job that a reset cuts short is not done.
        with m.If(busy_before & ~array.busy & ~cleared):
            m.d.sync += done.eq(1)

        # Writes: whole words, or bytes of them.
        data = Signal(32)
        file.refuse_unknown_writes()
        written = file.strobes("CONTROL", "M_TILES", "WATCHDOG")
        new_data = slave.write_data & mask
        with m.If(written["CONTROL"]):
            m.d.comb += data.eq(new_data)
            with m.If(data[0] & ~data[1]):
                refused = array.busy | start | ~m_tiles.any()
                if operand is not None:
                    refused |= ~operand.ready
                with m.If(refused):
                    m.d.sync += errors[3].eq(1)
                with m.Elif(~halted):
                    m.d.sync += [start.eq(1), done.eq(0), cycles.eq(0), events.eq(0)]
            with m.If(data[1]):
                m.d.sync += [clear.eq(1), errors.eq(0), done.eq(0), start.eq(0)]
        with m.If(written["M_TILES"]):
            m.d.sync += m_tiles.eq(file.merged(m_tiles))
        with m.If(written["WATCHDOG"]):
            m.d.sync += watchdog.eq(file.merged(watchdog))
        if operand is not None:
            m.d.comb += [
                operand.clear.eq(clear),
                operand.start.eq(start),
                operand.write.eq(slave.write),
                operand.address.eq(slave.write_address),
                operand.data.eq(slave.write_data),
                operand.mask.eq(mask),
            ]
            with m.If(operand.bad):
                m.d.sync += errors[5].eq(1)
            with m.If(operand.fault):
                m.d.sync += errors[6].eq(1)
            values |= {
                register.name: operand.values.word_select(number, 32)
                for number, register in enumerate(SELECTOR_REGISTERS)
            }
        # A fault seen while the array is being reset belongs to the past.
        with m.If(clear):
            m.d.sync += [errors[:3].eq(0), errors[4].eq(0)]
            if operand is not None:
                m.d.sync += errors[6].eq(0)

        values |= {
            **{name: Const(value, 32) for name, value in self.constants.items()},
            "CONTROL": Const(0, 32),
            "STATUS": Cat(array.busy | start, done, halted),
            "ERROR": errors,
            "M_TILES": m_tiles,
            "WATCHDOG": watchdog,
            "CYCLES_LOW": cycles[:32],
            "CYCLES_HIGH": upper["CYCLES"],
            "EVENTS_LOW": events[:32],
            "EVENTS_HIGH": upper["EVENTS"],
        }
        counters = {"CYCLES": cycles, "EVENTS": events}
        file.answer_reads(values, {name: (c, upper[name]) for name, c in counters.items()})
