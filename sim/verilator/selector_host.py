"""The host's side of the fuse selector beside a simulated array: registers, operand, choices."""

from collections.abc import Sequence

import numpy as np

from golden.errors import CheckFailed
from golden.selector.selector import Choice, Registers
from golden.selector.table import PerformanceTable
from golden.selector.unit import UnitParameters
from rtl_gen.top.selector_port import CHOICE_BITS, choice_fields

from .device import ArrayDevice

__all__ = ["SelectorHost", "selector_beats"]


def selector_beats(parameters: UnitParameters, blocks: Sequence[np.ndarray]) -> np.ndarray:
    """Blocks as beats of ``s_axis_selector``.

    Args:
        parameters: of the selector.
        blocks: int8 arrays (depth, columns).

    Returns:
        uint8 (beats, word_rows + 2): data, TKEEP, and TUSER in bit 0 with TLAST in bit 1.
    """
    rows = parameters.word_rows
    parts = []
    for block in blocks:
        depth, columns = block.shape
        words = -(-depth // rows)
        padded = np.zeros((columns, words * rows), np.int8)
        padded[:, :depth] = block.T
        beats = np.zeros((columns, words, rows + 2), np.uint8)
        beats[..., :rows] = padded.reshape(columns, words, rows).view(np.uint8)
        beats[..., rows] = 0xFF
        beats[:, -1, rows] = (1 << ((depth - 1) % rows + 1)) - 1
        beats[:, -1, rows + 1] = 1
        beats[-1, -1, rows + 1] = 3
        parts.append(beats.reshape(-1, rows + 2))
    return np.concatenate(parts)


class SelectorHost:
    """Drives the fuse selector of one device while the device does anything else.

    Args:
        device: an open array, generated with this selector.
        parameters: `rtl_gen.derive.Derived.selector`.
    """

    def __init__(self, device: ArrayDevice, parameters: UnitParameters) -> None:
        self._device, self._parameters = device, parameters
        self._beats = np.zeros((0, 0), np.uint8)
        self._choices = np.zeros((0, CHOICE_BITS // 8), np.uint8)

    def load(self, table: PerformanceTable) -> None:
        """Write the table's memory."""
        self._device.write("TABLE_ADDRESS", 0)
        for word in table.rom_image().tolist():
            self._device.write("TABLE_LOW", word & 0xFFFF_FFFF)
            self._device.write("TABLE_HIGH", word >> 32)

    def set(self, registers: Registers) -> None:
        """Write the registers and restart."""
        r, write = registers, self._device.write
        write("SELECTOR_ALPHA", r.alpha | r.alpha_max << 16)
        write("SELECTOR_BETA", r.beta | r.beta_min << 16)
        write("SELECTOR_BUDGET", r.budget | int(r.adapt) << 31)
        write("SELECTOR_CONTROL", 1)

    def begin(
        self, blocks: Sequence[np.ndarray], *, idle: int = 0, stall: int = 0, seed: int = 0
    ) -> None:
        """Start to stream blocks; they move whenever simulated time passes.

        Args:
            blocks: int8 arrays (depth, columns), at most as large as the parameters say.
            idle, stall: per mille of cycles without a beat offered, without a choice taken.
            seed: of both.
        """
        self._beats = selector_beats(self._parameters, blocks)
        self._choices = np.zeros((len(blocks), CHOICE_BITS // 8), np.uint8)
        self._device.begin_selector(self._beats, self._choices, idle, stall, seed)

    @property
    def chosen(self) -> int:
        """Choices taken so far."""
        return self._device.selector_progress[1]

    def finish(self, limit: int = 100_000) -> Choice:
        """Wait for the remaining choices.

        Args:
            limit: cycles that it may take.

        Raises:
            CheckFailed: beats are left, or there is not exactly one choice for every block.
        """
        wanted = (len(self._beats), len(self._choices))
        for _ in range(0, limit, 64):
            if self._device.selector_progress == wanted:
                break
            self._device.wait(64)
        # What is surplus would follow soon.
        self._device.wait(256)
        if self._device.selector_progress != wanted:
            raise CheckFailed(
                f"selector: beats taken and choices: must be {wanted} after {limit} cycles, "
                f"got {self._device.selector_progress}"
            )
        numbers = [int.from_bytes(row.tobytes(), "little") for row in self._choices]
        fields = {
            name: np.array([number >> first & (1 << width) - 1 for number in numbers], np.int64)
            for name, (first, width) in choice_fields().items()
        }
        return Choice(**fields)

    @property
    def state(self) -> tuple[int, int, int]:
        """Running error, alpha and beta as the last choice left them."""
        weights = self._device.read("SELECTOR_WEIGHTS")
        return self._device.read("SELECTOR_ERROR"), weights & 0xFFFF, weights >> 16
