"""The derived dimensions of one array, shared by the golden model, the generator and the benches.

An :class:`ArrayShape` is what remains of a configuration once every ``auto`` is decided: plain
integers, validated on construction, from which each width and depth is computed in one place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from golden.errors import BadInput
from golden.formats import CHUNK, KERNELS, PARAMETERS, WORD_BITS
from golden.numerics.combine import ACCUMULATOR_BITS
from golden.numerics.mac_kinds import MAC_KINDS
from golden.numerics.quantise import ROUNDINGS, Rounding

__all__ = [
    "LEAST_SUM_BITS",
    "MOST_RESULT_BITS",
    "STREAM_BITS",
    "ArrayShape",
    "is_power_of_two",
    "minimum_ring_words",
    "worst_sum_bits",
]

STREAM_BITS = (64, 128, 256, 512)
"""Widths of an activation or weight stream."""

LEAST_SUM_BITS = 20
"""Least ``sum_bits`` of tiles of more than 16 rows; 16 rows of any weights fit."""

MOST_RESULT_BITS = 1024
"""Widest result stream."""


def is_power_of_two(value: int) -> bool:
    """Whether ``value`` is 1, 2, 4, 8 and so on."""
    return value > 0 and value & (value - 1) == 0


def worst_sum_bits(k_tile: int) -> int:
    """Signed bits that hold ``k_tile`` products of -128 by -128, 2^14 each."""
    return 16 + (k_tile - 1).bit_length()


def minimum_ring_words(
    k_tile: int, data_bits: int, kernels: Sequence[str], formats: Any
) -> tuple[int, int]:
    """Smallest ``(index_words, value_words)`` that hold one maximal block in each kernel.

    A block is one column of ``k_tile`` INT8 values, all non-zero: ``k_tile / 8`` value words,
    `golden.formats.Kernel.most_index_words` and one word of header.  The index ring holds a whole
    block beside three beats of ``data_bits``: the one that its segment begins in, the one that it
    ends in, and the one kept free for a beat in flight.  Values may pass through their ring, which
    takes four beats at a time.

    Args:
        k_tile: rows of an activation tile.
        data_bits: width of a beat.
        kernels: names of the kernels built in.
        formats: holds the formats' parameters as attributes, by their fields' names.
    """
    beat = data_bits // WORD_BITS
    words = max(KERNELS[k].configured(formats).most_index_words(k_tile) for k in kernels)
    return max(16, words + 1 + 3 * beat), max(16, -(-k_tile // 8), 4 * beat)


@dataclass(frozen=True, kw_only=True)
class ArrayShape:
    """Dimensions of one array.

    Parameters
    ----------
    lanes : int
        V, output rows computed together by an engine; a power of two, 2 to 64.
    engines : int
        P, output columns computed together; 1 to 1024.
    group : int
        Engines that share one drain, weight port and result port; 1 to 16, divides ``engines``.
    k_tile : int
        Rows (steps of k) of one activation tile; a power of two, 16 to 4096.
    columns : int
        Output columns per engine in one pass, the depth of its partial sums; 1 to 4096.
    activation_tiles : int
        Activation tile buffers; a power of two, 2 to 8.
    index_words, value_words : int
        Depth of an engine's rings in 64-bit words; powers of two, at least
        `minimum_ring_words`.
    queue : int
        Depth of an engine's event queue in events; a power of two, 2 to 64.
    data_bits : int
        Width of a weight stream in bits: 64, 128, 256 or 512.
    kernels : tuple of str
        Event sources built in, names of `golden.formats.KERNELS`.
    mac : str
        How the multipliers are built, a name of `golden.numerics.mac_kinds.MAC_KINDS`.
    byte_ports : bool
        The family's block memories can be written in beats and read in bytes; otherwise 64-bit
        words are read and the byte is chosen behind the memory. Takes no cycle.
    gap_bits : int
        Bits of a gap of the ``runlength`` kernel, 3 to 8.
    nm_n, nm_m : int
        At most N non-zeros in M rows for the ``nm`` kernel; M is 2, 4, 8 or 16 and N below M.
    block_rows : int
        Rows of a run of the ``block`` kernel: 1, 2, 4, 8 or 16.
    fusion : bool
        The drain weights the partial sums of a block's parts in Q15.
    operand : bool
        A feeder beside the array deals operands that exist only at run time; between two blocks
        the engines skip the words that it fills beats up with.
    rounding : str
        With fusion, where the drain rounds a tie of a weighted sum: ``half_even`` or
        ``half_away`` (from zero).
    activation_bits : int
        Width of the activation stream in bits: 64, 128, 256 or 512; 0 stands for ``data_bits``.
    sum_bits : int
        Signed bits of one exact sum over an activation tile; 0 stands for as many as ``k_tile``
        products of -128 by -128 take. Fewer save registers at every lane. A tile may then hold only
        weights whose sums fit: the magnitudes of each column add up to at most `column_weight`.
    result_bits : int
        Width of a result stream in bits: 64 to 1024, at most the ``lanes`` results of a column;
        0 stands for ``data_bits`` within that limit.

    Raises
    ------
    BadInput
        Where a field breaks its rule; the message names field, rule and value.
    """

    lanes: int
    engines: int
    group: int
    k_tile: int
    columns: int
    activation_tiles: int
    index_words: int
    value_words: int
    queue: int
    data_bits: int
    kernels: tuple[str, ...]
    mac: str
    byte_ports: bool = False
    gap_bits: int = 4
    nm_n: int = 2
    nm_m: int = 4
    block_rows: int = 8
    fusion: bool = False
    operand: bool = False
    rounding: Rounding = "half_even"
    activation_bits: int = 0
    result_bits: int = 0
    sum_bits: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int and (not isinstance(value, int) or isinstance(value, bool)):
                raise BadInput(f"array shape: {field.name}: must be an integer, got {value!r}")
        self._power_of_two("lanes", 2, 64)
        self._between("engines", 1, 1024)
        self._between("group", 1, 16)
        if self.engines % self.group:
            raise BadInput(
                f"array shape: group: must divide engines ({self.engines}), got {self.group}"
            )
        self._power_of_two("k_tile", 16, 4096)
        self._between("columns", 1, 4096)
        self._power_of_two("activation_tiles", 2, 8)
        self._one_of("data_bits", STREAM_BITS)
        most = worst_sum_bits(self.k_tile)
        if self.sum_bits:
            self._between("sum_bits", min(LEAST_SUM_BITS, most), most)
        if not self.activation_bits:
            object.__setattr__(self, "activation_bits", self.data_bits)
        if not self.result_bits:
            object.__setattr__(self, "result_bits", min(self.data_bits, 32 * self.lanes))
        self._one_of("activation_bits", STREAM_BITS)
        self._power_of_two("result_bits", WORD_BITS, min(MOST_RESULT_BITS, 32 * self.lanes))
        self._power_of_two("queue", 2, 64)
        self._one_of("mac", tuple(MAC_KINDS))
        for parameter in PARAMETERS:
            self._one_of(parameter.field, parameter.choices)
        self._one_of("rounding", ROUNDINGS)
        self._between("nm_n", 1, self.nm_m - 1)
        for name in ("byte_ports", "fusion", "operand"):
            if not isinstance(getattr(self, name), bool):
                value = getattr(self, name)
                raise BadInput(f"array shape: {name}: must be true or false, got {value!r}")
        if not isinstance(self.kernels, tuple) or not self.kernels:
            raise BadInput(
                f"array shape: kernels: must be a tuple of at least one name, got {self.kernels!r}"
            )
        for kernel in self.kernels:
            if kernel not in KERNELS:
                known = ", ".join(KERNELS)
                raise BadInput(f"array shape: kernels: must be among {known}, got {kernel!r}")
        if len(set(self.kernels)) != len(self.kernels):
            raise BadInput(
                f"array shape: kernels: must name each kernel once, got {list(self.kernels)}"
            )
        least_index, least_value = minimum_ring_words(
            self.k_tile, self.data_bits, self.kernels, self
        )
        self._power_of_two("index_words", least_index, 65536)
        self._power_of_two("value_words", least_value, 65536)

    def _between(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if not least <= value <= most:
            raise BadInput(f"array shape: {name}: must be {least} to {most}, got {value}")

    def _power_of_two(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if not (least <= value <= most and is_power_of_two(value)):
            raise BadInput(
                f"array shape: {name}: must be a power of two, {least} to {most}, got {value}"
            )

    def _one_of(self, name: str, known: tuple[object, ...]) -> None:
        value = getattr(self, name)
        if value not in known:
            listed = ", ".join(map(str, known))
            raise BadInput(f"array shape: {name}: must be one of {listed}, got {value!r}")

    @property
    def groups(self) -> int:
        """Groups of engines, each with its own weight and result port."""
        return self.engines // self.group

    @property
    def n_tile(self) -> int:
        """Output columns of one pass over the whole array."""
        return self.engines * self.columns

    @property
    def multipliers(self) -> int:
        """INT8 products per cycle at full use."""
        return self.lanes * self.engines

    @property
    def words_per_beat(self) -> int:
        """64-bit words in one beat of a weight stream."""
        return self.data_bits // WORD_BITS

    @property
    def row_bits(self) -> int:
        """Bits of one activation row: one INT8 value per lane."""
        return 8 * self.lanes

    @property
    def rows_per_beat(self) -> int:
        """Whole activation rows that one beat carries, 1 where a row takes several beats."""
        return max(1, self.activation_bits // self.row_bits)

    @property
    def beats_per_row(self) -> int:
        """Beats that one activation row takes, 1 where a beat carries several rows."""
        return max(1, self.row_bits // self.activation_bits)

    @property
    def drain_words(self) -> int:
        """Pairs of int32 results drained per cycle."""
        return self.result_bits // WORD_BITS

    @property
    def drain_cycles(self) -> int:
        """Cycles to drain one column of ``lanes`` results."""
        return self.lanes // 2 // self.drain_words

    @property
    def input_port_bits(self) -> int:
        """Data bits that the array can take per cycle: the activation port and all weight ports."""
        return self.activation_bits + self.data_bits * self.groups

    @property
    def output_port_bits(self) -> int:
        """Data bits that the array can give per cycle, over all result ports."""
        return self.result_bits * self.groups

    @property
    def partial_bits(self) -> int:
        """Width of the drain's partial sums, as many as a result beat holds."""
        return self.result_bits * (ACCUMULATOR_BITS if self.fusion else 32) // 32

    @property
    def k_bits(self) -> int:
        """Bits that index a row of an activation tile."""
        return (self.k_tile - 1).bit_length()

    @property
    def acc_bits(self) -> int:
        """Signed bits of one exact sum over an activation tile."""
        return self.sum_bits or worst_sum_bits(self.k_tile)

    @property
    def column_weight(self) -> int:
        """Most that the magnitudes of a column's weights in one tile may add up to.

        A sum is then at most 128 times as large, 128 less than what ``acc_bits`` signed bits hold,
        so that two of them packed into one multiplier also keep their place.
        """
        return ((1 << (self.acc_bits - 1)) - 1) // 128

    @property
    def sure_rows(self) -> int:
        """Rows of any weights that one tile holds, a multiple of 16."""
        return min(self.k_tile, self.column_weight // 128 // CHUNK * CHUNK)

    @property
    def sums_bind(self) -> bool:
        """Whether a tile of ``k_tile`` rows may hold more weight than ``column_weight``."""
        return 128 * self.k_tile > self.column_weight
