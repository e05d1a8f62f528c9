"""Built models are kept, and what was kept is checked before it is loaded."""

import ctypes
import shutil
from pathlib import Path

import pytest

from sim.verilator import build
from sim.verilator.build import build_model

VERILOG = "module inverter(input [7:0] x, output [7:0] y); assign y = ~x; endmodule\n"
HARNESS = """
#include "glue.h"
#include "Vtop.h"
extern "C" int inverse(int x) {
  VerilatedContext context;
  Vtop top{&context};
  top.x = x;
  top.eval();
  return top.y;
}
"""


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Builds, or takes from the cache, the model of an inverter; says whether it was built."""
    flags = tuple("-O0" if flag == "-O2" else flag for flag in build._FLAGS)
    monkeypatch.setattr(build, "_FLAGS", flags)
    call, objects = build._call, tmp_path / "objects"
    objects.mkdir()

    def call_once(children, command, cwd, environment):
        """Every step as it is, but a unit is compiled for the first library alone."""
        target = Path(command[-1])
        if "-c" in command and (objects / target.name).exists():
            shutil.copy(objects / target.name, target)
            return
        call(children, command, cwd, environment)
        if "-c" in command:
            shutil.copy(target, objects)

    monkeypatch.setattr(build, "_call", call_once)
    (tmp_path / "inverter.v").write_text(VERILOG)
    (tmp_path / "harness.cpp").write_text(HARNESS)

    def make() -> tuple[Path, bool]:
        steps = []
        library = build_model(
            "tiny",
            "inverter",
            [tmp_path / "inverter.v"],
            tmp_path / "harness.cpp",
            "",
            tmp_path / "cache",
            lambda *step: steps.append(step),
        )
        return library, bool(steps)

    return make


def test_a_damaged_library_is_built_again(built):
    library, new = built()
    assert new
    assert ctypes.CDLL(str(library)).inverse(5) == 250
    assert built() == (library, False)
    whole = library.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", whole[:-1] + bytes([whole[-1] ^ 1])):
        library.unlink()
        library.write_bytes(damaged)
        library, new = built()
        assert new
        assert ctypes.CDLL(str(library)).inverse(7) == 248
        assert [path.name for path in library.parent.glob("*.so")] == [library.name]
        assert built() == (library, False)
