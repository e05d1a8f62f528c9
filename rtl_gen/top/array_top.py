"""Array top: the sparse array behind AXI4-Stream and AXI4-Lite."""

from functools import reduce
from operator import or_

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
from ..bus import AxiLiteSlave, axi_lite_ports
from ..distinct import place
from .registers import (
    ERRORS,
    IDENTITY,
    SELECTOR_REGISTERS,
    VERSION,
    address_of,
    registers_of,
)
from .selector_port import SelectorPort, selector_ports

__all__ = ["ADDRESS_BITS", "ArrayTop"]

ADDRESS_BITS = 8


class ArrayTop(wiring.Component):
    """What a user instantiates when the host drives the streams.

    Ports: ``clk``, ``rst`` (synchronous, active high), ``s_axil_*``, ``s_axis_activations_*``,
    and per group g ``s_axis_weights_<g>_*`` (TDEST = 2 * engine + ring) and
    ``m_axis_results_<g>_*`` (TID = engine, TLAST ends a column). With the fuse selector,
    ``s_axis_selector_*`` and ``m_axis_choices_*`` as well: see `SelectorPort`.

    Operation: see `SparseArray`; registers in `rtl_gen.top.registers`. After an error the inputs
    are discarded and no result leaves until ``CONTROL.reset``, so neither side hangs.

    Latency: a start takes effect two cycles after the write was accepted.

    Parameters
    ----------
    shape : ArrayShape
    config_hash : int
        First 32 bits of the configuration's hash.
    selector : UnitParameters or None
        What a fuse selector beside the array is built for; None: there is none.
    """

    module_name = "sparsefuse"

    def __init__(
        self, shape: ArrayShape, config_hash: int, selector: UnitParameters | None = None
    ) -> None:
        self.shape = shape
        self.config_hash = config_hash
        self.selector = selector
        ports: dict = {f"s_axil_{name}": m for name, m in axi_lite_ports(ADDRESS_BITS).items()}
        prefix = "s_axis_activations_"
        ports |= {
            prefix + "tdata": In(shape.data_bits),
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
            ports |= selector_ports(selector)
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
        # The array can be reset alone.
        m.domains.core = ClockDomain(local=True)
        clear = Signal()
        m.d.comb += [
            ClockSignal("core").eq(ClockSignal()),
            ResetSignal("core").eq(ResetSignal() | clear),
        ]
        array = SparseArray(shape)
        place(m, platform, "array", array, wrap=DomainRenamer("core"))

        halted = Signal()
        moved = self._streams(m, array, halted)
        self._registers(m, array, clear, halted, moved)
        return m

    def _streams(self, m: Module, array: SparseArray, halted: Signal):
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

    def _registers(self, m: Module, array: SparseArray, clear, halted, moved) -> None:
        m.submodules.slave = slave = AxiLiteSlave(ADDRESS_BITS)
        for name, member in axi_lite_ports(ADDRESS_BITS).items():
            outer = getattr(self, f"s_axil_{name}")
            inner = getattr(slave.bus, name)
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)

        def word(name: str) -> int:
            return address_of(name) >> 2

        m_tiles = Signal(8, init=1)
        watchdog = Signal(32)
        quiet = Signal(32)
        errors = Signal(len(ERRORS))
        done = Signal()
        values = {}
        cycles = Signal(64)
        events = Signal(64)
        upper = {"CYCLES": Signal(32), "EVENTS": Signal(32)}
        start = Signal()
        m.d.comb += [
            array.m_tiles.eq(m_tiles),
            array.start.eq(start),
            halted.eq(errors[:3].any() | errors[4]),
        ]
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
        mask = Cat(strobe.replicate(8) for strobe in slave.write_strobe)
        data = Signal(32)
        registers = registers_of(self.selector is not None)
        known_writes = {word(r.name) for r in registers if r.access == "rw"}
        m.d.comb += slave.write_error.eq(
            ~Cat(slave.write_address == address for address in sorted(known_writes)).any()
        )
        written = {
            name: Signal(name=f"write_{name}") for name in ("CONTROL", "M_TILES", "WATCHDOG")
        }
        for name, strobe in written.items():
            m.d.comb += strobe.eq(slave.write & (slave.write_address == word(name)))
        new_data = slave.write_data & mask
        with m.If(written["CONTROL"]):
            m.d.comb += data.eq(new_data)
            with m.If(data[0] & ~data[1]):
                with m.If(array.busy | start | ~m_tiles.any()):
                    m.d.sync += errors[3].eq(1)
                with m.Elif(~halted):
                    m.d.sync += [start.eq(1), done.eq(0), cycles.eq(0), events.eq(0)]
            with m.If(data[1]):
                m.d.sync += [clear.eq(1), errors.eq(0), done.eq(0), start.eq(0)]
        with m.If(written["M_TILES"]):
            m.d.sync += m_tiles.eq(new_data | (m_tiles & ~mask))
        with m.If(written["WATCHDOG"]):
            m.d.sync += watchdog.eq(new_data | (watchdog & ~mask))
        # A fault seen while the array is being reset belongs to the past.
        with m.If(clear):
            m.d.sync += [errors[:3].eq(0), errors[4].eq(0)]
        if self.selector is not None:
            port = SelectorPort(self.selector)
            values |= self._select(m, port, clear)
            m.d.comb += [
                port.write.eq(slave.write),
                port.address.eq(slave.write_address),
                port.data.eq(slave.write_data),
                port.mask.eq(mask),
            ]
            with m.If(port.bad):
                m.d.sync += errors[5].eq(1)

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
        selected = Signal(len(registers))
        m.d.comb += [
            selected.eq(Cat(slave.read_address == word(r.name) for r in registers)),
            slave.read_error.eq(~selected.any()),
            slave.read_data.eq(
                reduce(
                    or_,
                    (
                        values[register.name] & selected[i].replicate(32)
                        for i, register in enumerate(registers)
                    ),
                )
            ),
        ]
        for name, counter in (("CYCLES", cycles), ("EVENTS", events)):
            with m.If(slave.read & (slave.read_address == word(f"{name}_LOW"))):
                m.d.sync += upper[name].eq(counter[32:])

    def _select(self, m: Module, port: SelectorPort, clear: Signal) -> dict:
        """The fuse selector beside the array; return the values of its registers."""
        m.submodules.selector = port
        m.d.comb += port.clear.eq(clear)
        for name, member in selector_ports(self.selector).items():
            inside, outside = getattr(port, name), getattr(self, name)
            m.d.comb += inside.eq(outside) if member.flow == In else outside.eq(inside)
        return {
            register.name: port.values.word_select(number, 32)
            for number, register in enumerate(SELECTOR_REGISTERS)
        }
