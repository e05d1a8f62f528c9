"""Opens the simulated top of a configuration: generated, verilated, kept between runs."""

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.cache import cache_folder
from flows.generate import MANIFEST, generate, simulation_sources
from rtl_gen.config import Derived, DerivedDetector
from rtl_gen.design import Design
from sim.verilator import OPTIMISED, ArrayDevice, DetectorDevice, build_detector, build_library

__all__ = ["open_detector", "open_device"]

Progress = Callable[[str, int, int], None]


def open_device(
    derived: Derived, progress: Progress | None = None, level: str = OPTIMISED
) -> ArrayDevice:
    """Generate, verilate (once per distinct Verilog) and open the simulated array.

    Args:
        derived: the array.
        progress: called with (what, done, total).
        level: of the compiler's optimisation; a short run is sooner done without any.

    Raises:
        BadInput: a tool is missing.
        CheckFailed: a tool failed.
    """
    with _sources(derived) as sources:
        library = build_library(derived.shape, sources, cache_folder("verilator"), progress, level)
    return ArrayDevice(derived.shape, library)


def open_detector(
    derived: DerivedDetector, progress: Progress | None = None, level: str = OPTIMISED
) -> DetectorDevice:
    """Generate, verilate and open the simulated event-detection array, as `open_device` does."""
    with _sources(derived) as sources:
        library = build_detector(derived.shape, sources, cache_folder("verilator"), progress, level)
    return DetectorDevice(derived.shape, library)


@contextmanager
def _sources(design: Design) -> Iterator[list[Path]]:
    """Generate a design in a folder of its own; yield the Verilog files that a simulator needs."""
    with tempfile.TemporaryDirectory() as folder:
        generated = generate(design, Path(folder, "rtl"))
        manifest = json.loads((generated / MANIFEST).read_text())
        yield simulation_sources(generated, manifest)
