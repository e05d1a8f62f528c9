"""From user intent to the parameters of an event-detection array, with an estimate of its size."""

from dataclasses import asdict, dataclass, replace
from typing import Self

from constraints.devices import Family
from golden.errors import BadInput
from golden.operators.detection import DetectorShape
from golden.operators.detection_job import EVENT_FIELDS
from rtl_gen.design import Design, Top
from rtl_gen.schema_detect import DetectConfig
from rtl_gen.top.detect_registers import DETECT_REGISTERS
from rtl_gen.top.registers import Register

__all__ = ["DerivedDetector", "register_bits"]

_FRAME_BITS = 600
"""Registers of the counters and of AXI4-Lite, whatever the number of units."""


@dataclass(frozen=True, kw_only=True)
class DerivedDetector(Design):
    """An event-detection array: its configuration and dimensions; see `Design`."""

    top = "detect"
    configuration = DetectConfig
    preset = "detect"

    config: DetectConfig
    shape: DetectorShape

    @classmethod
    def of(cls, config: DetectConfig, config_hash: str) -> Self:
        shape = DetectorShape(
            units=config.detect.units,
            width=config.interface.data_bits // 8,
            k_bits=config.detect.rows.bit_length() - 1,
            queue=config.detect.event_queue,
        )
        return cls(config=config, shape=shape, config_hash=config_hash)

    @property
    def registers_estimate(self) -> int:
        """Estimated, not measured, number of flip-flops."""
        return register_bits(self.shape, self.device.technology)

    def check_fit(self, source: str) -> None:
        device, needed = self.device, self.registers_estimate
        if device.ffs is None or needed <= device.ffs:
            return
        fitting = [
            units
            for units in range(1, self.shape.units)
            if register_bits(replace(self.shape, units=units), device.technology) <= device.ffs
        ]
        advice = (
            f"detect.units of at most {fitting[-1]} fits"
            if fitting
            else "even detect.units of 1 does not fit"
        )
        raise BadInput(
            f"{source}: detect.units: must fit {device.name}, which has {device.ffs} flip-flops "
            f"where about {needed} are needed (estimate; {advice}), got {self.shape.units}"
        )

    def component(self) -> Top:
        # What describes hardware loads where hardware is wanted, see `rtl_gen.top`.
        from rtl_gen.top.detect_top import DetectTop

        return DetectTop(self.shape, self.hash_word)

    @property
    def registers(self) -> tuple[Register, ...]:
        return DETECT_REGISTERS

    def manifest(self) -> dict:
        from rtl_gen.detect.array import array_module

        shape = self.shape
        return {
            "array": array_module(**asdict(shape)),
            "macs": None,
            "units": shape.units,
            "shape": asdict(shape),
            "event": {name: [low, width] for name, low, width in EVENT_FIELDS},
        }

    def figures(self) -> tuple[str, list[tuple[str, object]]]:
        shape = self.shape
        rows: list[tuple[str, object]] = [
            ("bytes scanned per cycle", shape.units * shape.width),
            ("events per cycle, at most", shape.units),
            ("rows of a vector, at most", shape.rows),
            ("flip-flops (estimated)", self.registers_estimate),
        ]
        return f"{shape.units} units x {shape.width} bytes", rows


def register_bits(shape: DetectorShape, family: Family) -> int:
    """Estimate the flip-flops of an array of ``shape``.

    Counted are a unit's two words with mask, row and flags, its queue's pointers, and the queue
    itself where the family has no memory in look-up tables.
    """
    base = shape.k_bits - (shape.width - 1).bit_length()
    word = 9 * shape.width + base + 2
    pointers = 3 * (shape.queue - 1).bit_length() + 1
    unit = 2 * word + base + 2 + pointers
    if family.small_depth == 0:
        unit += shape.queue * (shape.k_bits + 10)
    return shape.units * unit + _FRAME_BITS
