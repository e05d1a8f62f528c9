"""The cocotb benches of the array top, and what runs them on a simulator."""

from .run import BENCHES, SIMULATORS, Outcome, run_benches

__all__ = ["BENCHES", "SIMULATORS", "Outcome", "run_benches"]
