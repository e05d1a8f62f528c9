"""The cocotb benches of the array top, and what runs them on a simulator."""

from .run import (
    BENCHES,
    LOG,
    SIMULATORS,
    Outcome,
    run_benches,
    tail,
    tool_versions,
    wave_suffix,
)

__all__ = [
    "BENCHES",
    "LOG",
    "SIMULATORS",
    "Outcome",
    "run_benches",
    "tail",
    "tool_versions",
    "wave_suffix",
]
