"""Passive observer of one AXI4-Stream port, independent of the drivers on the other side."""

from collections.abc import Callable, Sequence
from typing import Any

from cocotb.triggers import RisingEdge

__all__ = ["StreamMonitor", "observe"]


class StreamMonitor:
    """Hands every accepted beat to ``beat`` and holds the sender to the protocol.

    A sender must keep TVALID and its payload until TREADY. While ``steady`` is false (an abort
    is under way) this is not checked.

    Attributes:
        beats: beats accepted.
        idle_cycles: TREADY without TVALID.
        stalled_cycles: TVALID without TREADY.
    """

    def __init__(
        self,
        dut: Any,
        prefix: str,
        payload: tuple[str, ...],
        beat: Callable[..., None],
    ) -> None:
        self.name = prefix
        self.steady = True
        self.beats = self.idle_cycles = self.stalled_cycles = 0
        self._valid = getattr(dut, f"{prefix}_tvalid")
        self._ready = getattr(dut, f"{prefix}_tready")
        self._payload = [getattr(dut, f"{prefix}_{name}") for name in payload]
        self._beat = beat
        self._pending: list[int] | None = None

    def sample(self) -> None:
        """Look at the port at a clock edge; `observe` calls it at each."""
        valid, ready = bool(self._valid.value), bool(self._ready.value)
        if not valid:
            assert self._pending is None or not self.steady, f"{self.name}: TVALID was withdrawn"
            self._pending = None
            self.idle_cycles += ready
            return
        now = [int(signal.value) for signal in self._payload]
        if self._pending is not None and self.steady:
            assert now == self._pending, f"{self.name}: payload changed before TREADY"
        if ready:
            self.beats += 1
            self._pending = None
            self._beat(*now)
        else:
            self.stalled_cycles += 1
            self._pending = now


async def observe(clock: Any, monitors: Sequence[StreamMonitor]) -> None:
    """Let all monitors look at every clock edge, without end."""
    edge = RisingEdge(clock)
    while True:
        await edge
        for monitor in monitors:
            monitor.sample()
