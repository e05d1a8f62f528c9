"""A generated, verilated array for tests."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from flows.build import cache_folder
from flows.generate import PRIMITIVES
from golden.shape import ArrayShape
from rtl_gen.emit import verilog
from rtl_gen.top import ArrayTop
from sim.verilator import ArrayDevice, build_library

__all__ = ["opened_device"]


@contextmanager
def opened_device(shape: ArrayShape) -> Iterator[ArrayDevice]:
    """Generate, build (or take from the cache) and open the array of ``shape``."""
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(folder, "sparsefuse.v")]
        sources[0].write_text(verilog(ArrayTop(shape, 0x5EED)))
        if shape.mac in PRIMITIVES:
            name = PRIMITIVES[shape.mac]
            sources.append(Path(folder, name))
            sources[1].write_text(
                files("rtl_gen.mac").joinpath("primitives", name).read_text("utf-8")
            )
        library = build_library(shape, sources, cache_folder("verilator"))
    with ArrayDevice(shape, library) as opened:
        yield opened
