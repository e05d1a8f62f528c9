"""Selector port: the way of a run-time operand, its fuse unit and feeder, behind registers."""

from amaranth.hdl import (
    Cat,
    ClockDomain,
    ClockSignal,
    Const,
    DomainRenamer,
    Module,
    ResetSignal,
    Signal,
    Value,
)
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from golden.selector.selector import Registers
from golden.selector.unit import UnitParameters
from golden.shape import ArrayShape

from ..distinct import place
from ..fuse.unit import FuseUnit
from ..operand.feeder import OperandFeeder
from ..operand.intake import COLUMN_BITS, ROW_BITS
from ..operand.packer import block_beat
from .registers import SELECTOR_REGISTERS, address_of

__all__ = ["SelectorPort", "operand_ports"]


def operand_ports() -> dict:
    """The operand stream's members, by their port names."""
    return {
        "s_axis_operand_tdata": In(64),
        "s_axis_operand_tlast": In(1),
        "s_axis_operand_tvalid": In(1),
        "s_axis_operand_tready": Out(1),
    }


class SelectorPort(wiring.Component):
    """A `FuseUnit` and an `OperandFeeder` with their AXI4-Stream port and registers.

    Operation: while ``OPERAND_SHARE`` is not 0, jobs take their weights from ``s_axis_operand``
    (`golden.program.operand` says in which order). The unit chooses for each block, the feeder
    sends the block as the choice says.

    Latency and throughput: `FuseUnit`'s and `OperandFeeder`'s. A register write takes effect in
    the next cycle. ``restart`` follows every reset by itself.
    Errors: ``bad`` is high for a cycle where a write breaks a rule, and the write does nothing:
    a budget above 65535, a table address beyond the table, a word written behind its end, a
    restart while ``alpha_max`` is below ``alpha`` or ``beta_min`` above ``beta``, or a dimension
    of the operand out of range. Nothing that is written can stop the streams.

    Parameters
    ----------
    shape : ArrayShape
    parameters : UnitParameters
        Of one block shape.

    Members
    -------
    clear : In(1)
        Reset of unit and feeder; registers and table stay.
    start : In(1)
        A job begins.
    active : Out(1)
        Jobs take their weights from the operand.
    ready : Out(1)
        A job may begin: the operand has rows and columns, or there is none.
    write : In(1)
        With ``address`` (in words), ``data`` and ``mask`` (bits written).
    values : Out(32 * registers)
        Of `SELECTOR_REGISTERS`, in their order.
    bad : Out(1)
    fault : Out(1)
        Sticky: see `OperandFeeder`.
    beats : Out(stream of `block_beat`)
    others : `operand_ports`
    """

    def __init__(self, shape: ArrayShape, parameters: UnitParameters) -> None:
        self._shape, self._parameters = shape, parameters
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "active": Out(1),
                "ready": Out(1),
                "write": In(1),
                "address": In(6),
                "data": In(32),
                "mask": In(32),
                "values": Out(32 * len(SELECTOR_REGISTERS)),
                "bad": Out(1),
                "fault": Out(1),
                "beats": Out(stream.Signature(block_beat(shape))),
                **operand_ports(),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # Both can be reset alone.
        m.domains.selector = ClockDomain(local=True)
        m.d.comb += [
            ClockSignal("selector").eq(ClockSignal()),
            ResetSignal("selector").eq(self.clear),
        ]
        unit = FuseUnit(self._parameters)
        place(m, platform, "unit", unit, wrap=DomainRenamer("selector"))
        feeder = OperandFeeder(self._shape, self._parameters, unit.free_words)
        m.submodules.feeder = DomainRenamer("selector")(feeder)
        wiring.connect(m, feeder.values, unit.words)
        wiring.connect(m, unit.choices, feeder.choices)
        wiring.connect(m, feeder.beats, wiring.flipped(self.beats))
        m.d.comb += [
            feeder.words.payload.data.eq(self.s_axis_operand_tdata),
            feeder.words.payload.last.eq(self.s_axis_operand_tlast),
            feeder.words.valid.eq(self.s_axis_operand_tvalid),
            self.s_axis_operand_tready.eq(feeder.words.ready),
            feeder.start.eq(self.start & self.active),
            self.fault.eq(feeder.fault),
        ]
        self._registers(m, unit, feeder)
        return m

    def _registers(self, m: Module, unit: FuseUnit, feeder: OperandFeeder) -> None:
        rest = Registers()
        alpha, alpha_max = Signal(16, init=rest.alpha), Signal(16, init=rest.alpha_max)
        beta, beta_min = Signal(16, init=rest.beta), Signal(16, init=rest.beta_min)
        budget, adapt = Signal(16, init=rest.budget), Signal(init=int(rest.adapt))
        # One bit more than the table has: the address behind its last word.
        place_bits = len(unit.table_address)
        address, low = Signal(place_bits + 1), Signal(32)
        choices = Signal(32)
        fresh = Signal(init=1)
        restart, refused = Signal(), Signal()

        def written(name: str) -> Value:
            return self.write & (self.address == address_of(name) >> 2)

        def merged(present: Value) -> Value:
            return self.data & self.mask | Cat(present, Const(0, 32 - len(present))) & ~self.mask

        commands = self.data & self.mask
        ordered = (alpha_max >= alpha) & (beta_min <= beta)
        m.d.sync += [fresh.eq(self.clear), self.bad.eq(refused)]
        m.d.comb += restart.eq(fresh)
        with m.If(written("SELECTOR_ALPHA")):
            m.d.sync += Cat(alpha, alpha_max).eq(merged(Cat(alpha, alpha_max)))
        with m.If(written("SELECTOR_BETA")):
            m.d.sync += Cat(beta, beta_min).eq(merged(Cat(beta, beta_min)))
        with m.If(written("SELECTOR_BUDGET")):
            value = merged(Cat(budget, Const(0, 15), adapt))
            m.d.comb += refused.eq(value[16:31].any())
            with m.If(~refused):
                m.d.sync += [budget.eq(value[:16]), adapt.eq(value[31])]
        with m.If(written("SELECTOR_CONTROL") & commands[0]):
            m.d.comb += [refused.eq(~ordered), restart.eq(fresh | ordered)]
        with m.If(written("TABLE_ADDRESS")):
            value = merged(address)
            m.d.comb += refused.eq(value[place_bits:].any())
            with m.If(~refused):
                m.d.sync += address.eq(value)
        with m.If(written("TABLE_LOW")):
            m.d.sync += low.eq(merged(low))
        with m.If(written("TABLE_HIGH")):
            m.d.comb += refused.eq(address[-1])
            m.d.sync += address.eq(address + ~address[-1])
        with m.If(self.clear):
            m.d.sync += choices.eq(0)
        with m.Elif(unit.choices.valid):
            m.d.sync += choices.eq(choices + 1)
        rows, columns = Signal(ROW_BITS + 1), Signal(COLUMN_BITS)
        share = Signal(range(self._parameters.columns + 1))
        for name, dimension, most in (
            ("OPERAND_ROWS", rows, 1 << ROW_BITS),
            ("OPERAND_COLUMNS", columns, (1 << COLUMN_BITS) - 1),
            ("OPERAND_SHARE", share, self._parameters.columns),
        ):
            with m.If(written(name)):
                value = merged(dimension)
                m.d.comb += refused.eq(value > most)
                with m.If(~refused):
                    m.d.sync += dimension.eq(value)
        m.d.sync += feeder.last_row.eq(rows - 1)
        m.d.comb += [
            feeder.columns.eq(columns),
            feeder.share.eq(share),
            self.active.eq(share.any()),
            self.ready.eq(~self.active | (rows.any() & columns.any())),
        ]
        m.d.comb += [
            unit.table_enable.eq(written("TABLE_HIGH") & ~address[-1]),
            unit.table_address.eq(address),
            unit.table_data.eq(Cat(low, commands)),
            unit.alpha.eq(alpha),
            unit.alpha_max.eq(alpha_max),
            unit.beta.eq(beta),
            unit.beta_min.eq(beta_min),
            unit.budget.eq(budget),
            unit.adapt.eq(adapt),
            unit.restart.eq(restart),
        ]
        values = {
            "SELECTOR_ALPHA": Cat(alpha, alpha_max),
            "SELECTOR_BETA": Cat(beta, beta_min),
            "SELECTOR_BUDGET": Cat(budget, Const(0, 15), adapt),
            "SELECTOR_CONTROL": Const(0, 32),
            "SELECTOR_ERROR": unit.running_error,
            "SELECTOR_WEIGHTS": Cat(unit.alpha_now, unit.beta_now),
            "SELECTOR_CHOICES": choices,
            "TABLE_ADDRESS": address,
            "TABLE_LOW": low,
            "TABLE_HIGH": Const(0, 32),
            "OPERAND_ROWS": rows,
            "OPERAND_COLUMNS": columns,
            "OPERAND_SHARE": share,
        }
        for number, register in enumerate(SELECTOR_REGISTERS):
            m.d.comb += self.values.word_select(number, 32).eq(values[register.name])
