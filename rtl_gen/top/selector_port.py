"""Selector port: the fuse unit beside the array, behind AXI4-Stream and registers."""

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
    Value,
)
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.selector.selector import Registers
from golden.selector.unit import UnitParameters

from ..distinct import place
from ..fuse.unit import FuseUnit
from .registers import SELECTOR_REGISTERS, address_of

__all__ = ["CHOICE_BITS", "SelectorPort", "choice_fields", "selector_ports"]

CHOICE_BITS = 128
"""TDATA of the stream of choices."""


def choice_fields() -> dict[str, tuple[int, int]]:
    """First bit and width of each field of a choice in TDATA."""
    return {"candidate": (0, 8), "kernel": (8, 8), "error": (16, 16), "cost": (64, 48)}


def selector_ports(parameters: UnitParameters) -> dict:
    """The streams' members, by their port names."""
    rows = parameters.word_rows
    return {
        "s_axis_selector_tdata": In(8 * rows),
        "s_axis_selector_tkeep": In(rows),
        "s_axis_selector_tuser": In(1),
        "s_axis_selector_tlast": In(1),
        "s_axis_selector_tvalid": In(1),
        "s_axis_selector_tready": Out(1),
        "m_axis_choices_tdata": Out(CHOICE_BITS),
        "m_axis_choices_tvalid": Out(1),
        "m_axis_choices_tready": In(1),
    }


class SelectorPort(wiring.Component):
    """A `FuseUnit` with AXI4-Stream ports and the registers that rule it.

    Operation: ``s_axis_selector`` takes a run-time operand in raw INT8, block by block and column
    by column. A beat holds up to 8 rows of one column; TUSER ends the column, TLAST (with TUSER)
    the block. TKEEP counts in a column's last beat alone: the rows up to its highest bit belong
    to the column, and bytes without their bit are zero; without any bit it is one row of zero.
    ``m_axis_choices`` answers with one beat per block, see `choice_fields`.

    Selector and array share clock, reset and ``CONTROL.reset`` and nothing else: neither waits
    for the other.

    Latency and throughput: `FuseUnit`'s. A register write takes effect in the next cycle.
    ``restart`` follows every reset by itself.
    Errors: ``bad`` is high for a cycle where a write breaks a rule, and the write does nothing:
    a budget above 65535, a table address beyond the table, a word written behind its end, or a
    restart while ``alpha_max`` is below ``alpha`` or ``beta_min`` above ``beta``. Nothing that is
    written can stop the streams.

    Parameters
    ----------
    parameters : UnitParameters
        Of one block shape.

    Members
    -------
    clear : In(1)
        Reset of the unit; registers and table stay.
    write : In(1)
        With ``address`` (in words), ``data`` and ``mask`` (bits written).
    values : Out(32 * registers)
        Of `SELECTOR_REGISTERS`, in their order.
    bad : Out(1)
    others : `selector_ports`
    """

    def __init__(self, parameters: UnitParameters) -> None:
        self._parameters = parameters
        super().__init__(
            {
                "clear": In(1),
                "write": In(1),
                "address": In(6),
                "data": In(32),
                "mask": In(32),
                "values": Out(32 * len(SELECTOR_REGISTERS)),
                "bad": Out(1),
                **selector_ports(parameters),
            }
        )

    def elaborate(self, platform):
        m = Module()
        # The unit can be reset alone.
        m.domains.selector = ClockDomain(local=True)
        m.d.comb += [
            ClockSignal("selector").eq(ClockSignal()),
            ResetSignal("selector").eq(ResetSignal() | self.clear),
        ]
        unit = FuseUnit(self._parameters)
        place(m, platform, "unit", unit, wrap=DomainRenamer("selector"))
        self._streams(m, unit)
        self._registers(m, unit)
        return m

    def _streams(self, m: Module, unit: FuseUnit) -> None:
        rows = self._parameters.word_rows
        word, keep = unit.words.payload, self.s_axis_selector_tkeep
        last_row: Value = Const(0, word.last_row.shape())
        for row in range(1, rows):
            last_row = Mux(keep[row], Const(row, len(last_row)), last_row)
        ends = self.s_axis_selector_tuser
        for row in range(rows):
            byte = self.s_axis_selector_tdata.word_select(row, 8)
            m.d.comb += word.values[row].eq(Mux(keep[row] | ~ends, byte, 0))
        choice, out = unit.choices.payload, self.m_axis_choices_tdata
        m.d.comb += [
            word.last_row.eq(last_row),
            word.column_end.eq(ends),
            word.block_end.eq(self.s_axis_selector_tlast),
            unit.words.valid.eq(self.s_axis_selector_tvalid),
            self.s_axis_selector_tready.eq(unit.words.ready),
            self.m_axis_choices_tvalid.eq(unit.choices.valid),
            unit.choices.ready.eq(self.m_axis_choices_tready),
            *(
                out[first : first + width].eq(choice[name])
                for name, (first, width) in choice_fields().items()
            ),
        ]

    def _registers(self, m: Module, unit: FuseUnit) -> None:
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
        with m.Elif(self.m_axis_choices_tvalid & self.m_axis_choices_tready):
            m.d.sync += choices.eq(choices + 1)
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
        }
        for number, register in enumerate(SELECTOR_REGISTERS):
            m.d.comb += self.values.word_select(number, 32).eq(values[register.name])
