"""A verilated top as an object: its model, its clock and its registers."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from golden.errors import CheckFailed
from rtl_gen.top.registers import Register, address_of

__all__ = ["SimulatedTop"]


class SimulatedTop:
    """One simulated top; use as a context manager.

    Args:
        library: what `sim.verilator.build.build_model` built, with ``sf_new``, ``sf_free``,
            ``sf_ticks``, ``sf_write`` and ``sf_read``.
        registers: the top's register map.
    """

    def __init__(self, library: Path, registers: Sequence[Register]) -> None:
        self._registers = registers
        self._library = ctypes.CDLL(str(library))
        self._library.sf_new.restype = ctypes.c_void_p
        self._library.sf_ticks.restype = ctypes.c_uint64
        self._handle = ctypes.c_void_p(self._library.sf_new())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the model; further calls are errors."""
        if self._handle:
            self._library.sf_free(self._handle)
            self._handle = ctypes.c_void_p()

    @property
    def ticks(self) -> int:
        """Simulated clock cycles since construction."""
        return self._library.sf_ticks(self._handle)

    def write(self, register: str, value: int) -> None:
        """Write a register over AXI4-Lite; raises `CheckFailed` on an error response."""
        address = address_of(register, self._registers)
        response = self._library.sf_write(self._handle, address, value)
        if response:
            raise CheckFailed(f"{register}: write must be answered with OKAY, got {response}")

    def read(self, register: str) -> int:
        """Read a register over AXI4-Lite; raises `CheckFailed` on an error response."""
        data = ctypes.c_uint32()
        address = address_of(register, self._registers)
        response = self._library.sf_read(self._handle, address, ctypes.byref(data))
        if response:
            raise CheckFailed(f"{register}: read must be answered with OKAY, got {response}")
        return data.value

    def counter(self, name: str) -> int:
        """Read a 64-bit counter, the registers ``name`` with ``_LOW`` and ``_HIGH``."""
        low = self.read(f"{name}_LOW")
        return low | self.read(f"{name}_HIGH") << 32

    def check(self, what: str, status: str | None) -> None:
        """Hold a finished job to its registers.

        Args:
            what: of which top, for messages.
            status: what the harness complains of.

        Raises:
            CheckFailed: an error bit is set, the harness complains, or the job is not done.
        """
        errors = self.read("ERROR")
        if errors:
            fields = next(r.fields for r in self._registers if r.name == "ERROR")
            names = ", ".join(name for name, high, *_ in fields if errors >> high & 1)
            raise CheckFailed(f"{what}: ERROR must be 0 after a job, got {errors:#x} ({names})")
        if status is not None:
            raise CheckFailed(f"{what}: {status}")
        if not self.read("STATUS") & 2:
            raise CheckFailed(f"{what}: STATUS.done must be set after a job, it is not")
