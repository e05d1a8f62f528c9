"""Fuse selector: the candidate of least ``Cost = alpha * E + beta * R`` per block, in integers.

A *candidate* is a kernel and a threshold below which magnitudes are dropped. Per block and
candidate:

- R, cycles: the performance table's line for (kernel, density bin, shape), rounded down,
  0 .. 2^24 - 1 or, where a unit is built for smaller blocks, less.
- E, relative error energy in Q16: what the threshold drops (`relative_error`).
- ``cost = ((alpha * E) >> 8) + ((beta * R) << 8)``, 48 bits with 16 of fraction; alpha and beta
  are unsigned Q8.8. The largest finite cost is below 2^48 - 2^31, so ``INFEASIBLE``, all ones,
  is above every one of them.

The candidate of least cost wins, the lower number on a tie. An empty block takes candidate 0 at
cost 0 and error 0, whatever the candidates are. A block with no feasible candidate yields
candidate 0 at cost ``INFEASIBLE``.

**Adaptation.** After every block the running error follows the chosen error::

    sum   <- sum - (sum >> shift) + error        (sum >> shift is the running error, Q16)

and never exceeds ``65535 << shift``. Then, with ``step(x) = max(1, x >> gain)``:

- running error above the budget: alpha rises by its step up to ``alpha_max``; once it is there,
  beta falls by its step down to ``beta_min``;
- otherwise, the way back: beta rises to its rest value ``beta``; once it is there, alpha falls
  to its rest value ``alpha``.

A block is weighed with what the block *two* before it left: one block may be in flight, so the
hardware waits for nothing. Law and cost are those of `rtl_gen.fuse.selector`, bit for bit.
Source: DESIGN section 5; the running error is an exponential moving average of weight 2^-shift.
"""

from dataclasses import dataclass, fields

import numpy as np

from ..errors import BadInput
from .candidates import ERROR_MAX, Blocks
from .table import BASE_BITS, BIN_BITS, FRACTION_BITS, KERNEL_BITS, SLOPE_BITS, PerformanceTable

__all__ = [
    "COST_BITS",
    "INFEASIBLE",
    "R_BITS",
    "Choice",
    "Registers",
    "Selector",
    "block_costs",
    "table_cycles",
]

R_BITS = 24
COST_BITS = 48
INFEASIBLE = (1 << COST_BITS) - 1


@dataclass(frozen=True, kw_only=True)
class Registers:
    """Run-time registers of the selector; alpha and beta are unsigned Q8.8, the budget Q16.

    Attributes:
        alpha, beta: where the weights rest.
        alpha_max, beta_min: how far the controller may go.
        budget: running error that it holds.
        adapt: whether it is on.
    """

    alpha: int = 1 << 8
    beta: int = 1 << 8
    alpha_max: int = 0xFFFF
    beta_min: int = 0
    budget: int = ERROR_MAX
    adapt: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "adapt" and not 0 <= value <= 0xFFFF:
                raise BadInput(f"selector: {field.name}: must be 0 to 65535, got {value}")
        if self.alpha_max < self.alpha:
            raise BadInput(
                f"selector: alpha_max: must be at least alpha ({self.alpha}), got {self.alpha_max}"
            )
        if self.beta_min > self.beta:
            raise BadInput(
                f"selector: beta_min: must be at most beta ({self.beta}), got {self.beta_min}"
            )


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen for B blocks: candidate number, its kernel's number, cost and error."""

    candidate: np.ndarray
    kernel: np.ndarray
    cost: np.ndarray
    error: np.ndarray


def table_cycles(
    rom: np.ndarray, blocks: Blocks, cycle_bits: int = R_BITS
) -> tuple[np.ndarray, np.ndarray]:
    """Return R (B, C), limited to ``cycle_bits``, and where the table memory has no line."""
    address = ((blocks.shape[:, None] << KERNEL_BITS) | blocks.kernels) << BIN_BITS | blocks.bin
    word = rom.astype(np.int64)[address]
    slope = (word << (64 - SLOPE_BITS)) >> (64 - SLOPE_BITS)
    base = (word << (64 - SLOPE_BITS - BASE_BITS)) >> (64 - BASE_BITS)
    feasible = word >> (SLOPE_BITS + BASE_BITS) & 1
    cycles = (base + slope * blocks.count) >> FRACTION_BITS
    return np.clip(cycles, 0, (1 << cycle_bits) - 1), feasible == 0


def block_costs(
    alpha: np.ndarray | int,
    beta: np.ndarray | int,
    error: np.ndarray,
    cycles: np.ndarray,
    infeasible: np.ndarray,
    empty: np.ndarray,
) -> np.ndarray:
    """Cost (B, C), Q32.16; alpha and beta are numbers or (B, 1)."""
    cost = ((alpha * error) >> 8) + ((beta * cycles) << 8)
    return np.where(empty[:, None], 0, np.where(infeasible, INFEASIBLE, cost))


class Selector:
    """The selector with its state.

    Args:
        table: performance table; only its memory is used.
        registers: weights, limits and budget.
        shift: of the running error, 1 to 12.
        gain: of the controller's step, 1 to 15.
        cycle_bits: of R, which saturates, 1 to 24.

    Attributes:
        alpha, beta: as the last block left them.
        error_sum: running error times ``2**shift``.
    """

    def __init__(
        self,
        table: PerformanceTable,
        registers: Registers | None = None,
        shift: int = 6,
        gain: int = 4,
        cycle_bits: int = R_BITS,
    ) -> None:
        limits = (("shift", shift, 12), ("gain", gain, 15), ("cycle_bits", cycle_bits, R_BITS))
        for name, value, most in limits:
            if not 1 <= value <= most:
                raise BadInput(f"selector: {name}: must be 1 to {most}, got {value}")
        self._rom = table.rom_image()
        self.registers = registers or Registers()
        self.shift, self.gain, self.cycle_bits = shift, gain, cycle_bits
        self.reset()

    def reset(self) -> None:
        """Back to the rest weights and no error."""
        self.alpha, self.beta = self.registers.alpha, self.registers.beta
        self._before = (self.alpha, self.beta)
        self.error_sum = 0

    @property
    def running_error(self) -> int:
        """Running error, Q16."""
        return self.error_sum >> self.shift

    def update(self, error: int) -> None:
        """One step of the adaptation with a block's chosen error."""
        regs = self.registers
        self._before = (self.alpha, self.beta)
        self.error_sum += error - (self.error_sum >> self.shift)
        if not regs.adapt:
            return
        alpha_step = max(1, self.alpha >> self.gain)
        beta_step = max(1, self.beta >> self.gain)
        if self.running_error > regs.budget:
            if self.alpha < regs.alpha_max:
                self.alpha = min(self.alpha + alpha_step, regs.alpha_max)
            else:
                self.beta = max(self.beta - beta_step, regs.beta_min)
        elif self.beta < regs.beta:
            self.beta = min(self.beta + beta_step, regs.beta)
        else:
            self.alpha = max(self.alpha - alpha_step, regs.alpha)

    def choose(self, blocks: Blocks) -> Choice:
        """Choose for all blocks with the weights as they are; the state stays."""
        cycles, missing = table_cycles(self._rom, blocks, self.cycle_bits)
        return self._pick(blocks, cycles, missing | blocks.infeasible, self.alpha, self.beta)

    def run(self, blocks: Blocks) -> Choice:
        """Choose block after block, adapting the weights."""
        cycles, missing = table_cycles(self._rom, blocks, self.cycle_bits)
        infeasible = missing | blocks.infeasible
        weights = np.zeros((len(cycles), 2, 1), np.int64)
        for number in range(len(cycles)):
            weights[number, :, 0] = alpha, beta = self._before
            error = 0
            if not blocks.empty[number]:
                cost = ((alpha * blocks.error[number]) >> 8) + ((beta * cycles[number]) << 8)
                cost = np.where(infeasible[number], INFEASIBLE, cost)
                error = int(blocks.error[number, np.argmin(cost)])
            self.update(error)
        return self._pick(blocks, cycles, infeasible, weights[:, 0], weights[:, 1])

    @staticmethod
    def _pick(
        blocks: Blocks,
        cycles: np.ndarray,
        infeasible: np.ndarray,
        alpha: np.ndarray | int,
        beta: np.ndarray | int,
    ) -> Choice:
        cost = block_costs(alpha, beta, blocks.error, cycles, infeasible, blocks.empty)
        chosen = np.argmin(cost, axis=1)  # the first of equals
        rows = np.arange(len(chosen))
        return Choice(
            candidate=chosen,
            kernel=blocks.kernels[chosen],
            cost=cost[rows, chosen],
            error=np.where(blocks.empty, 0, blocks.error[rows, chosen]),
        )
