"""The cocotb benches of the tops, and what runs them on a simulator."""

from .process import LOG, tail
from .run import (
    BENCHES,
    BENCHES_OF,
    SIMULATORS,
    Built,
    Outcome,
    build_benches,
    play_benches,
    run_benches,
    tool_versions,
    wave_suffix,
)

__all__ = [
    "BENCHES",
    "BENCHES_OF",
    "LOG",
    "SIMULATORS",
    "Built",
    "Outcome",
    "build_benches",
    "play_benches",
    "run_benches",
    "tail",
    "tool_versions",
    "wave_suffix",
]
