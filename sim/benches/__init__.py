"""The cocotb benches of the tops, and what runs them on a simulator."""

from .run import (
    BENCHES,
    BENCHES_OF,
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
    "BENCHES_OF",
    "LOG",
    "SIMULATORS",
    "Outcome",
    "run_benches",
    "tail",
    "tool_versions",
    "wave_suffix",
]
