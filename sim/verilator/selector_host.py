"""The host's side of run-time operands on a simulated array: table, registers, products."""

from collections.abc import Callable, Sequence

import numpy as np

from golden.program.deal import Deal
from golden.program.operand import OperandJob
from golden.selector.selector import Registers
from golden.selector.table import PerformanceTable

from .device import ArrayDevice

__all__ = ["SelectorHost"]


class SelectorHost:
    """Drives the fuse selector and the operand feeder of one device.

    Args:
        device: an open array with ``operand``.
    """

    def __init__(self, device: ArrayDevice) -> None:
        self._device = device

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

    def deal(self, deal: Deal) -> None:
        """Write the operand's dimensions; from now on jobs take their weights from it."""
        self._device.write("OPERAND_ROWS", deal.depth)
        self._device.write("OPERAND_COLUMNS", deal.outputs)
        self._device.write("OPERAND_SHARE", deal.share)

    def release(self) -> None:
        """From now on jobs take their weights from the weight streams."""
        self._device.write("OPERAND_SHARE", 0)

    def multiply(
        self,
        jobs: Sequence[OperandJob],
        activations: np.ndarray,
        operand: np.ndarray,
        progress: Callable[[int, int], None] | None = None,
        limit: int = 100_000,
    ) -> np.ndarray:
        """Run a product with an operand that the device sees for the first time.

        Args:
            jobs: of the product; they say what results to expect, nothing that is sent.
            activations: int8 (M, K).
            operand: int8 (K, N).
            progress: called with (jobs done, jobs).
            limit: cycles without any stream moving after which the run fails.

        Returns:
            int32 (M, N).

        Raises:
            CheckFailed: see `ArrayDevice.matmul`.
        """
        deal = jobs[0].deal
        self.deal(deal)
        words = deal.words(operand)
        nothing = np.zeros((0, deal.shape.data_bits // 8), np.uint8), np.zeros(0, np.uint8)
        weights = [nothing] * deal.shape.groups
        rows = []
        for number, job in enumerate(jobs):
            rows.append(
                self._device.run_job(job.plan, job.tokens, activations, weights, words, limit)
            )
            if progress:
                progress(number + 1, len(jobs))
        self.release()
        return np.concatenate(rows)

    @property
    def state(self) -> tuple[int, int, int]:
        """Running error, alpha and beta as the last choice left them."""
        weights = self._device.read("SELECTOR_WEIGHTS")
        return self._device.read("SELECTOR_ERROR"), weights & 0xFFFF, weights >> 16
