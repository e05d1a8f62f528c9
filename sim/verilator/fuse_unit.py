"""The fuse unit on its own, simulated: raw blocks in, choices with their cycles out."""

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from golden.errors import CheckFailed
from golden.selector.selector import Choice, Registers
from golden.selector.table import PerformanceTable
from golden.selector.unit import UnitParameters
from rtl_gen.emit import verilog
from rtl_gen.fuse.counter import value_word
from rtl_gen.fuse.layouts import choice_layout
from rtl_gen.fuse.unit import FuseUnit

from .build import build_model

__all__ = ["FuseUnitModel", "Played", "raw_words", "register_words"]

_HARNESS = Path(__file__).with_name("fuse_unit.cpp")
_LIMIT_CYCLES = 10_000


@dataclass(frozen=True, kw_only=True)
class Played:
    """What the hardware did with B blocks.

    Attributes:
        choice: of every block.
        states: int64 (B, 3), running error, alpha and beta as each block left them.
        accepted: int64 (B,), cycle in which a block's last word was taken, from the first offer.
        offered: int64 (B,), cycle in which its choice was first there.
    """

    choice: Choice
    states: np.ndarray
    accepted: np.ndarray
    offered: np.ndarray


def register_words(registers: Registers) -> np.ndarray:
    """The registers as ``play.h`` takes them, uint16."""
    r = registers
    return np.array([r.alpha, r.beta, r.alpha_max, r.beta_min, r.budget, r.adapt], np.uint16)


def raw_words(
    parameters: UnitParameters, shape: Sequence[int] | np.ndarray, blocks: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Blocks as `value_word` payloads.

    Args:
        parameters: of the unit.
        shape: number of each block's shape.
        blocks: int8 arrays (depth, columns).

    Returns:
        uint8 (words, bytes of a payload), and bool (words,): the word ends a block.
    """
    layout, rows = value_word(parameters), parameters.word_rows
    stride = -(-layout.size // 8)
    payloads, ends = [], []
    for number, block in zip(shape, blocks, strict=True):
        depth, columns = block.shape
        per_column = -(-depth // rows)
        padded = np.zeros((columns, per_column * rows), np.int8)
        padded[:, :depth] = block.T
        flags = np.zeros((columns, per_column), np.uint64)
        last = 1 << layout["block_end"].offset - 8 * rows
        last |= int(number) << layout["block_shape"].offset - 8 * rows
        if parameters.ragged_matters and depth % parameters.dense_rows:
            last |= 1 << layout["ragged"].offset - 8 * rows
        flags[-1, -1] = last
        words = np.empty((columns * per_column, stride), np.uint8)
        words[:, :rows] = padded.reshape(-1, rows).view(np.uint8)
        words[:, rows:] = flags.reshape(-1, 1).astype("<u8").view(np.uint8)[:, : stride - rows]
        payloads.append(words)
        ends.append(np.arange(len(words)) == len(words) - 1)
    return np.concatenate(payloads), np.concatenate(ends)


class FuseUnitModel:
    """A fuse unit, verilated; the library is kept between runs.

    Args:
        parameters: what the unit is built for.
        cache: folder of built libraries.
        shift, gain: see `golden.selector.selector.Selector`.
        progress: called with (what, done, total).

    Raises:
        BadInput: a tool is missing.
        CheckFailed: a tool failed.
    """

    def __init__(
        self,
        parameters: UnitParameters,
        cache: Path,
        shift: int = 6,
        gain: int = 4,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> None:
        self.parameters = parameters
        unit = FuseUnit(parameters, shift, gain)
        self.latency_cycles, self.free_words = unit.latency_cycles, unit.free_words
        self._choice = choice_layout(len(parameters.candidates))
        self._choice_bytes = -(-self._choice.size // 8)
        word_bytes = -(-value_word(parameters).size // 8)
        glue = '#include "Vtop.h"\n'
        for port in ("words", "choices"):
            for member in ("payload", "valid", "ready"):
                glue += f"#define {port}_{member} {port}___05F{member}\n"
        glue += f"constexpr int kWordBytes = {word_bytes};\n"
        glue += f"constexpr int kChoiceBytes = {self._choice_bytes};\n"
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "unit.v")
            source.write_text(verilog(unit))
            library = build_model(
                "fuse", unit.module_name, [source], _HARNESS, glue, cache, progress
            )
        self._library = ctypes.CDLL(str(library))
        self._library.sf_fuse.restype = ctypes.c_int64

    def play(
        self,
        table: PerformanceTable,
        registers: Registers,
        shape: Sequence[int] | np.ndarray,
        blocks: Sequence[np.ndarray],
        *,
        idle: int = 0,
        stall: int = 0,
        seed: int = 0,
    ) -> Played:
        """Run blocks through the hardware.

        Args:
            table: its memory is loaded first.
            registers: set before the first word.
            shape: number of each block's shape.
            blocks: int8 arrays (depth, columns).
            idle, stall: per mille of cycles without a word offered, without a choice taken.
            seed: of both.

        Raises:
            CheckFailed: not exactly one choice came for every block.
        """
        rom = np.ascontiguousarray(table.rom_image())
        words, ends = raw_words(self.parameters, shape, blocks)
        held = register_words(registers)
        number = len(blocks)
        raw = np.zeros((number, self._choice_bytes), np.uint8)
        states = np.zeros((number, 3), np.uint16)
        accepted, offered = np.zeros(number, np.uint64), np.zeros(number, np.uint64)
        flags = ends.astype(np.uint8)

        def pointer(array: np.ndarray) -> ctypes.c_void_p:
            return array.ctypes.data_as(ctypes.c_void_p)

        found = self._library.sf_fuse(
            pointer(rom),
            ctypes.c_uint64(len(rom)),
            pointer(held),
            pointer(words),
            pointer(flags),
            ctypes.c_uint64(len(words)),
            ctypes.c_uint64(number),
            ctypes.c_uint32(idle),
            ctypes.c_uint32(stall),
            ctypes.c_uint64(seed),
            ctypes.c_uint64(_LIMIT_CYCLES),
            pointer(raw),
            pointer(states),
            pointer(accepted),
            pointer(offered),
        )
        if found != number:
            raise CheckFailed(
                f"fuse unit: every block must yield exactly one choice and every word be taken, "
                f"{number} blocks gave {found}"
            )
        numbers = [int.from_bytes(row.tobytes(), "little") for row in raw]
        fields = {
            name: np.array(
                [word >> field.offset & (1 << field.width) - 1 for word in numbers], np.int64
            )
            for name, field in self._choice
        }
        return Played(
            choice=Choice(**fields),
            states=states.astype(np.int64),
            accepted=accepted.astype(np.int64),
            offered=offered.astype(np.int64),
        )
