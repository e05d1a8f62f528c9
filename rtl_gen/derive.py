"""From user intent to the parameters of an array, with an estimate of what it takes."""

from dataclasses import dataclass

from constraints.devices import Device, Family, devices
from golden.selector.unit import UnitParameters, default_candidates, lossy_candidates
from golden.shape import ArrayShape
from rtl_gen.schema import Config

__all__ = ["Derived", "Estimate", "derive_shape", "estimate", "fits"]

_AUTO_VALUE_WORDS = 2048
_AUTO_INDEX_WORDS = 1024
_WORD_BITS = 64
_SELECTOR_BITS = 64  # of its raw stream: see docs/analysis.md for what must keep up
_WEIGHT_DSPS = 2  # of a product of a sum and a Q15 weight, at most


@dataclass(frozen=True, kw_only=True)
class Derived:
    """Everything downstream needs to know of a configuration.

    Parameters
    ----------
    config : Config
        The intent with defaults filled.
    shape : ArrayShape
        Dimensions with every ``auto`` decided.
    config_hash : str
        SHA-256 of the intent, 64 hexadecimal digits.
    """

    config: Config
    shape: ArrayShape
    config_hash: str

    @property
    def name(self) -> str:
        """Name of the design."""
        return self.config.name

    @property
    def clock_mhz(self) -> float:
        """Clock that constraints ask for, in MHz."""
        return self.config.target.clock_mhz

    @property
    def device(self) -> Device:
        """Record of the part in the device database."""
        return devices()[self.config.target.device]

    @property
    def technology(self) -> str:
        """Family of the part, a name of ``constraints.devices.FAMILIES``."""
        return self.device.family

    @property
    def selector(self) -> UnitParameters | None:
        """What the fuse selector beside the array is built for, None without one."""
        kind = self.config.schedule.selector
        if kind == "none":
            return None
        candidates = lossy_candidates if kind == "lossy" else default_candidates
        return UnitParameters.of(
            self.shape,
            candidates=candidates(self.shape.kernels),
            word_rows=_SELECTOR_BITS // 8,
        )

    @property
    def estimate(self) -> "Estimate":
        """Estimated use of multiplier blocks and block RAM."""
        return estimate(self.shape, self.device)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimated, not measured, use of a device: multiplier blocks and block RAMs."""

    dsps: int
    block_rams: int


def derive_shape(config: Config, engines: int | None = None) -> ArrayShape:
    """Dimensions of ``config``, or of the same with another number of engines.

    ``tile.n`` stays as it is, so ``engines`` must divide it. A ``group`` that does not divide
    another number of engines is chosen as ``auto`` would.
    """
    schedule = config.schedule
    count = engines or schedule.unroll.n
    columns = schedule.tile.n // count
    group = schedule.group
    if group == "auto" or count % group:
        group = _auto_group(count, config.interface.data_bits)
    least_index, least_value = schedule.least_ring_words(config.interface.data_bits)
    buffers = schedule.buffers
    index_words, value_words = buffers.index_words, buffers.value_words
    if index_words == "auto":
        # A dense pass of bitmap blocks: occupancy words and as many words of headers.
        per_column = -(-schedule.tile.k // 64) * 2
        if "raw" in schedule.kernels:
            per_column = schedule.tile.k // 8 + 1
        wanted = min(columns * per_column + 16, _AUTO_INDEX_WORDS)
        index_words = _power_of_two_from(max(wanted, least_index))
    if value_words == "auto":
        wanted = min(columns * (schedule.tile.k // 8), _AUTO_VALUE_WORDS)
        value_words = _power_of_two_from(max(wanted, least_value))
    mac = config.target.mac
    if mac == "auto":
        mac = devices()[config.target.device].technology.mac
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
        data_bits=config.interface.data_bits,
        kernels=config.schedule.kernels,
        mac=mac,
        gap_bits=schedule.formats.gap_bits,
        nm_n=schedule.formats.nm.n,
        nm_m=schedule.formats.nm.m,
        block_rows=schedule.formats.block_rows,
        fusion=schedule.fusion,
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
    dsps = -(-shape.multipliers // family.products_per_dsp[shape.mac])
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
