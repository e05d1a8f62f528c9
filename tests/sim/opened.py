"""A generated, verilated array for tests."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest

from flows.cache import cache_folder
from golden.shape import ArrayShape
from rtl_gen.emit import verilog
from rtl_gen.mac import PRIMITIVES
from rtl_gen.top.array_top import ArrayTop
from sim.verilator import ArrayDevice, build_library

__all__ = ["device_of", "opened_device"]


@contextmanager
def opened_device(
    shape: ArrayShape, level: str = "-O1", *, keep: bool = True
) -> Iterator[ArrayDevice]:
    """Generate, build (or take from the cache) and open the array of ``shape``.

    Args:
        shape: the array.
        level: of optimisation; at ``-O1`` a small array runs as fast as at ``-O2``.
        keep: whether the library stays in the cache, for this run's other tests and the next run.
    """
    with tempfile.TemporaryDirectory() as folder:
        sources = [Path(folder, "sparsefuse.v")]
        sources[0].write_text(verilog(ArrayTop(shape, 0x5EED)))
        if shape.mac in PRIMITIVES:
            name = PRIMITIVES[shape.mac]
            sources.append(Path(folder, name))
            sources[1].write_text(
                files("rtl_gen.mac").joinpath("primitives", name).read_text("utf-8")
            )
        library = build_library(shape, sources, cache_folder("verilator"), level=level)
    try:
        with ArrayDevice(shape, library) as opened:
            yield opened
    finally:
        if not keep:
            library.unlink(missing_ok=True)


def device_of(shapes: Mapping[str, ArrayShape]) -> Callable:
    """A fixture of a module: its tests run on the array of each shape."""

    @pytest.fixture(scope="module", params=sorted(shapes))
    def device(request: pytest.FixtureRequest) -> Iterator[ArrayDevice]:
        with opened_device(shapes[request.param]) as opened:
            yield opened

    return device
