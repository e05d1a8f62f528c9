"""From user intent to the parameters of an array, with an estimate of what it takes."""

from dataclasses import asdict, dataclass
from typing import Self

from constraints.devices import Device, devices
from constraints.family import Family
from golden.errors import BadInput
from golden.formats import KERNELS
from golden.numerics.mac_kinds import MAC_KINDS
from golden.selector.unit import UnitParameters
from golden.shape import ArrayShape, worst_sum_bits
from rtl_gen.design import Design, Top
from rtl_gen.schema import ArrayConfig
from rtl_gen.top.describe import describe_selector
from rtl_gen.top.registers import Register, registers_of

__all__ = ["Derived", "Estimate", "derive_shape", "estimate", "fits"]

_AUTO_VALUE_WORDS = 2048
_AUTO_INDEX_WORDS = 1024
_WORD_BITS = 64
_WEIGHT_DSPS = 2  # of a product of a sum and a Q15 weight, at most


@dataclass(frozen=True, kw_only=True)
class Derived(Design):
    """An array: its configuration, dimensions and fuse selector; see `Design`."""

    top = "array"
    configuration = ArrayConfig
    preset = "edge"

    config: ArrayConfig
    shape: ArrayShape

    @classmethod
    def of(cls, config: ArrayConfig, config_hash: str) -> Self:
        return cls(config=config, shape=derive_shape(config), config_hash=config_hash)

    def check_fit(self, source: str) -> None:
        device, needs = self.device, self.estimate
        for resource, needed, available in (
            ("DSP blocks", needs.dsps, device.dsps),
            ("block RAMs", needs.block_rams, device.block_rams),
        ):
            if available is not None and needed > available:
                # What would fit is found by deriving other shapes.
                from rtl_gen.fit import what_fits

                field, value, advice = what_fits(self.config)
                raise BadInput(
                    f"{source}: {field}: must fit {device.name}, which has "
                    f"{available} {resource} where about {needed} are needed (estimate; {advice}), "
                    f"got {value}"
                )

    def component(self) -> Top:
        # What describes hardware loads where hardware is wanted, see `rtl_gen.top`.
        from rtl_gen.top.array_top import ArrayTop

        return ArrayTop(self.shape, self.hash_word, self.selector)

    @property
    def registers(self) -> tuple[Register, ...]:
        return registers_of(self.selector is not None)

    def manifest(self) -> dict:
        selector = self.selector
        return {
            "array": "sf_array",
            "engine": "sf_engine",
            "macs": self.shape.multipliers,
            "units": self.shape.engines,
            "shape": asdict(self.shape),
            "selector": None if selector is None else describe_selector(selector),
        }

    def figures(self) -> tuple[str, list[tuple[str, object]]]:
        shape, estimate = self.shape, self.estimate
        rows: list[tuple[str, object]] = [
            ("multipliers (INT8)", shape.multipliers),
            ("kernels", ", ".join(shape.kernels)),
            ("multiplier blocks (estimated)", estimate.dsps),
            ("block RAMs (estimated)", estimate.block_rams),
        ]
        return f"{shape.engines} engines x {shape.lanes} lanes", rows

    @property
    def primitive(self) -> str | None:
        from rtl_gen.mac import PRIMITIVES

        return PRIMITIVES.get(self.shape.mac)

    @property
    def selector(self) -> UnitParameters | None:
        """What the fuse selector for run-time operands is built for, None without one."""
        kind = self.config.schedule.selector
        if kind == "none":
            return None
        return UnitParameters.of_operand(self.shape, lossy=kind == "lossy")

    @property
    def estimate(self) -> "Estimate":
        """Estimated use of multiplier blocks and block RAM."""
        return estimate(self.shape, self.device)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimated, not measured, use of a device: multiplier blocks and block RAMs."""

    dsps: int
    block_rams: int


def derive_shape(config: ArrayConfig, engines: int | None = None) -> ArrayShape:
    """Dimensions of ``config``, or of the same with another number of engines.

    ``tile.n`` stays as it is, so ``engines`` must divide it. A ``group`` that does not divide
    another number of engines is chosen as ``auto`` would.
    """
    schedule, interface = config.schedule, config.interface
    count = engines or schedule.unroll.n
    columns = schedule.tile.n // count
    group = schedule.group
    if group == "auto" or count % group:
        group = _auto_group(count, interface.data_bits)
    least_index, least_value = schedule.least_ring_words(interface.data_bits)
    buffers = schedule.buffers
    index_words, value_words = buffers.index_words, buffers.value_words
    if index_words == "auto":
        # A dense pass of bitmap blocks: occupancy words and as many words of headers.
        per_column = -(-schedule.tile.k // 64) * 2
        run_time = [KERNELS[k]() for k in schedule.kernels if KERNELS[k].run_time]
        # Operands that exist only at run time come as they are, in any density.
        per_column = max([per_column, *(k.most_index_words(schedule.tile.k) + 1 for k in run_time)])
        wanted = min(columns * per_column + 16, _AUTO_INDEX_WORDS)
        index_words = _power_of_two_from(max(wanted, least_index))
    if value_words == "auto":
        wanted = min(columns * (schedule.tile.k // 8), _AUTO_VALUE_WORDS)
        value_words = _power_of_two_from(max(wanted, least_value))
    family = devices()[config.target.device].technology
    mac = family.mac if config.target.mac == "auto" else config.target.mac
    sum_bits = config.numerics.sum_bits
    if sum_bits == "auto":
        # Weights that exist only at run time can't be cut into shorter tiles.
        stored = schedule.selector == "none"
        sum_bits = MAC_KINDS[mac].sum_bits if stored else None
    worst = worst_sum_bits(schedule.tile.k)
    return ArrayShape(
        lanes=schedule.unroll.m,
        engines=count,
        group=group,
        k_tile=schedule.tile.k,
        columns=columns,
        activation_tiles=buffers.activation_tiles,
        index_words=index_words,
        value_words=value_words,
        queue=buffers.event_queue,
        data_bits=interface.data_bits,
        activation_bits=0 if interface.activation_bits == "auto" else interface.activation_bits,
        result_bits=0 if interface.result_bits == "auto" else interface.result_bits,
        kernels=config.schedule.kernels,
        mac=mac,
        byte_ports=family.byte_ports,
        **schedule.format_parameters,
        fusion=schedule.fusion,
        operand=schedule.selector != "none",
        rounding=config.numerics.rounding,
        sum_bits=min(sum_bits or worst, worst),
    )


def estimate(shape: ArrayShape, device: Device) -> Estimate:
    """Estimate multiplier blocks and block RAMs of ``shape`` on ``device``.

    Counted are the multipliers and, for each engine, its activation tiles and rings, for each
    group its partial sums and what weights them. Memories that fit the family's look-up tables
    are left out.
    """
    family = device.technology
    per_engine = (
        (shape.activation_tiles * shape.k_tile, shape.row_bits),
        (shape.index_words, _WORD_BITS),
        (shape.value_words, _WORD_BITS),
    )
    partial_sums = (shape.group * shape.columns * shape.drain_cycles, shape.partial_bits)
    blocks = shape.engines * sum(_blocks(*memory, family) for memory in per_engine)
    blocks += shape.groups * _blocks(*partial_sums, family)
    dsps = -(-shape.multipliers // family.macs[shape.mac])
    if shape.fusion:
        dsps += shape.groups * 2 * shape.drain_words * _WEIGHT_DSPS
    return Estimate(dsps=dsps, block_rams=blocks)


def fits(shape: ArrayShape, device: Device) -> bool:
    """Whether the estimate of ``shape`` stays within ``device``."""
    needs = estimate(shape, device)
    return (device.dsps is None or needs.dsps <= device.dsps) and (
        device.block_rams is None or needs.block_rams <= device.block_rams
    )


def _auto_group(engines: int, data_bits: int) -> int:
    """Largest divisor of ``engines`` that leaves each two bytes of weights per cycle."""
    most = min(16, data_bits // 16)
    return max(group for group in range(1, most + 1) if engines % group == 0)


def _power_of_two_from(value: int) -> int:
    return 1 << (value - 1).bit_length()


def _blocks(depth: int, width: int, family: Family) -> int:
    """Block RAMs of a memory of ``depth`` words of ``width`` bits, at the best aspect ratio."""
    if depth <= family.small_depth:
        return 0
    best = None
    block_width, block_depth = family.block_width, family.block_bits // family.block_width
    while block_width >= 1:
        count = -(-width // block_width) * -(-depth // block_depth)
        best = count if best is None else min(best, count)
        block_width, block_depth = block_width // 2, block_depth * 2
    return best or 0
