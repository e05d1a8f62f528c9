"""Performance table: what a block costs in each kernel, measured on the RTL.

For every kernel, block shape and density step the table keeps what the array measured: cycles of
further blocks, events, stored bytes (`golden.selector.points`). Inside a density bin a cost is the
straight line through the measurements at its two ends, so that kernels whose cycles are linear in
their count (all but ``runlength``, drain aside) lose nothing to the bins.

*Count* is what drives a kernel's cycles: the non-zeros of a block, but for the kernels of
`golden.formats.Kernel.clustered` the rows that they store, zeros in occupied runs included.

Fixed point, for the selector: a line is ``base + slope * count`` in 1/256 cycles, base signed
with 32 bits, slope signed with 18. One 64-bit word of table memory per line:

| bits  | field    | meaning                                                       |
|-------|----------|---------------------------------------------------------------|
| 17:0  | slope    | 1/256 cycles per count, two's complement                      |
| 49:18 | base     | 1/256 cycles at count 0 of the line, two's complement         |
| 50    | feasible | the kernel holds such blocks                                  |

Address: bin in bits 2:0, kernel (`golden.formats.Kernel.number`) in bits 5:3, shape above.
"""

import json
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, ValidationError, model_validator

from ..errors import BadInput
from ..formats import KERNELS
from .points import BINS, DENSITIES, EnergyWeights, Point, Record, density_bin

__all__ = [
    "BASE_BITS",
    "BINS",
    "BIN_BITS",
    "DENSITIES",
    "FRACTION_BITS",
    "KERNEL_BITS",
    "SLOPE_BITS",
    "EnergyWeights",
    "Line",
    "PerformanceTable",
    "Point",
    "density_bin",
    "load_table",
]

BIN_BITS = 3
KERNEL_BITS = 3
FRACTION_BITS = 8
SLOPE_BITS = 18
BASE_BITS = 32

_FORMAT = "sparsefuse performance table 1"


class Line(NamedTuple):
    """Cycles of one kernel, bin and shape: ``base + slope * count``, in 1/256 cycles."""

    base: int
    slope: int
    feasible: bool

    def pack(self) -> int:
        """Return the word of table memory."""
        slope = self.slope & ((1 << SLOPE_BITS) - 1)
        base = self.base & ((1 << BASE_BITS) - 1)
        return slope | base << SLOPE_BITS | int(self.feasible) << (SLOPE_BITS + BASE_BITS)


class PerformanceTable(Record):
    """All measurements of one configuration; see the module for bins and fixed point.

    Attributes:
        format: names the file format and its version.
        config_hash: of the configuration that was measured.
        source: where the cycles come from.
        tools: tool to version.
        seed: of the masks.
        lanes, engines: of the array, V and P.
        energy: weights of the energy proxy.
        points: every measurement, each kernel, shape and step once.
    """

    format: Literal["sparsefuse performance table 1"] = _FORMAT
    config_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    source: str = Field(min_length=1)
    tools: dict[str, str]
    seed: int = Field(ge=0)
    lanes: int = Field(ge=2, le=64)
    engines: int = Field(ge=1, le=1024)
    energy: EnergyWeights = EnergyWeights()
    points: tuple[Point, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _check_complete(self) -> Self:
        places = [(p.kernel, p.depth, p.columns, p.step) for p in self.points]
        if len(set(places)) != len(places):
            twice = next(place for place in places if places.count(place) > 1)
            raise ValueError(f"must hold each kernel, depth, columns and step once, not {twice}")
        for kernel in self.kernels:
            for depth, columns in self.shapes:
                for step in range(BINS):
                    if (kernel, depth, columns, step) not in self._places:
                        missing = f"{kernel} {depth} x {columns} step {step}"
                        raise ValueError(f"must hold all steps of every shape, lacks {missing}")
        return self

    @cached_property
    def _places(self) -> dict[tuple[str, int, int, int], Point]:
        return {(p.kernel, p.depth, p.columns, p.step): p for p in self.points}

    @cached_property
    def kernels(self) -> tuple[str, ...]:
        """Kernels of the table, in the order of `golden.formats.KERNELS`."""
        present = {point.kernel for point in self.points}
        return tuple(name for name in KERNELS if name in present)

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Block shapes (depth, columns), ascending; a shape's number is its place here."""
        return tuple(sorted({(point.depth, point.columns) for point in self.points}))

    def nearest_shape(self, depth: int, columns: int) -> int:
        """Number of the shape with the most similar depth and columns, by ratio."""
        asked = depth, columns

        def distance(number: int) -> tuple[Fraction, int]:
            pairs = zip(self.shapes[number], asked, strict=True)
            ratios = [Fraction(max(pair), min(pair)) for pair in pairs]
            return ratios[0] * ratios[1], number

        # Blocks of a plan have few shapes, and each is asked for again and again.
        if asked not in self._nearest_shapes:
            self._nearest_shapes[asked] = min(range(len(self.shapes)), key=distance)
        return self._nearest_shapes[asked]

    @cached_property
    def _nearest_shapes(self) -> dict[tuple[int, int], int]:
        return {}

    def point(self, kernel: str, step: int, shape: tuple[int, int]) -> Point:
        """Return one measurement.

        Raises:
            BadInput: the table has no such kernel, step or shape.
        """
        place = (kernel, *shape, step)
        if place not in self._places:
            raise BadInput(
                f"performance table: point: must be a kernel of {', '.join(self.kernels)}, a "
                f"shape of {list(self.shapes)} and a bin of 0 to {BINS - 1}, got {place}"
            )
        return self._places[place]

    def _count(self, point: Point) -> Fraction:
        """What drives the cycles of a block of a measurement."""
        if KERNELS[point.kernel].clustered:
            return Fraction(point.events, point.blocks * self.engines)
        return point.depth * point.columns * DENSITIES[point.step]

    def cost(self, kernel: str, density_bin: int, shape: tuple[int, int]) -> Line:
        """Return the line of cycles in a density bin; not feasible unless both its ends are.

        Raises:
            BadInput: unknown kernel, bin or shape, or a line that its fixed point can't hold.
        """
        high = self.point(kernel, density_bin, shape)
        low = self.point(kernel, max(0, density_bin - 1), shape)
        if not (high.feasible and low.feasible):
            return Line(0, 0, False)
        ends = [Fraction(point.cycles << FRACTION_BITS, point.blocks) for point in (low, high)]
        counts = [self._count(point) for point in (low, high)]
        slope = 0
        # Short columns may give a clustered kernel the same stored rows at both ends.
        if counts[0] != counts[1]:
            slope = _nearest((ends[1] - ends[0]) / (counts[1] - counts[0]))
        base = _nearest(ends[1] - slope * counts[1])
        for name, value, bits in (("slope", slope, SLOPE_BITS), ("base", base, BASE_BITS)):
            if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
                raise BadInput(
                    f"performance table: {name}: must fit {bits} signed bits in 1/256 cycles, "
                    f"got {value} for {kernel}, bin {density_bin}, {shape[0]} x {shape[1]}"
                )
        return Line(base, slope, True)

    def rom_image(self) -> np.ndarray:
        """Return table memory: uint64, a power of two of 64 words per shape, not writeable."""
        return self._rom

    @cached_property
    def _rom(self) -> np.ndarray:
        words = np.zeros(64 << (len(self.shapes) - 1).bit_length(), np.uint64)
        for number, shape in enumerate(self.shapes):
            for kernel in self.kernels:
                row = (number << KERNEL_BITS | KERNELS[kernel].number) << BIN_BITS
                for place in range(BINS):
                    words[row | place] = self.cost(kernel, place, shape).pack()
        words.flags.writeable = False
        return words

    def block_bytes(self, kernel: str, step: int, shape: tuple[int, int]) -> float:
        """Stored bytes of one block at a density step, header and padding included."""
        return self.point(kernel, step, shape).weight_bytes / self.engines

    def energy_proxy(self, kernel: str, step: int, shape: tuple[int, int]) -> float:
        """Energy proxy of one block at a density step, in INT8 multiply-accumulates."""
        point = self.point(kernel, step, shape)
        if not point.feasible:
            return float("nan")
        events = point.events / (point.blocks * self.engines)
        stored = point.weight_bytes / self.engines
        drained = point.columns * self.lanes
        weights = self.energy
        return events * self.lanes * weights.mac + stored * weights.byte + drained * weights.word


def _nearest(value: Fraction) -> int:
    """Nearest integer, ties upwards."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def load_table(path: Path, config_hash: str) -> PerformanceTable:
    """Read a table, or the report of ``sparsefuse bench kernels``, which holds one.

    Args:
        path: JSON file.
        config_hash: of the configuration that the table is wanted for.

    Raises:
        BadInput: the file can't be read, breaks a rule, or was measured on another configuration.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: file: must be readable, got {error.strerror}") from None
    except ValueError as error:
        raise BadInput(f"{path}: file: must be whole JSON, got {error}") from None
    if isinstance(document, dict):
        document = document.get("table", document)
    try:
        # As JSON, where a list is the only way to write a tuple.
        table = PerformanceTable.model_validate_json(json.dumps(document))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "points"
        rule = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        shown = repr(first["input"])
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise BadInput(f"{path}: {field}: {rule}, got {shown}") from None
    if table.config_hash != config_hash:
        raise BadInput(
            f"{path}: config_hash: must be that of the configuration, {config_hash}, "
            f"got {table.config_hash}"
        )
    try:
        table.rom_image()
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from None
    return table
