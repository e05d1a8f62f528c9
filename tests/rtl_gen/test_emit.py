"""Emitted Verilog: deterministic, free of paths, each module once, and other tools read it."""

import gc
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pyslang
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.formats import KERNELS
from golden.shape import ArrayShape
from rtl_gen.distinct import place
from rtl_gen.emit import convert, verilog
from rtl_gen.mac import PRIMITIVES
from rtl_gen.top.array_top import ArrayTop
from sim.verilator import verilator_environment
from tests.golden.plans import widths
from tests.sim.icarus import needs_icarus

BASE = ArrayShape(
    lanes=8, engines=4, group=4, k_tile=64, columns=8, activation_tiles=2, index_words=64,
    value_words=64, queue=8, data_bits=128, kernels=tuple(KERNELS), mac="packed",
)  # fmt: skip
# Corners where a width would become zero or a case incomplete.
SHAPES = {
    "base": BASE,
    "least": replace(
        BASE, lanes=2, engines=1, group=1, k_tile=16, columns=1, index_words=16, value_words=16,
        **widths(64), queue=2, kernels=("dense",), mac="split",
    ),
    "odd_group": replace(BASE, engines=3, group=3, columns=5, mac="dsp48e2", byte_ports=True),
    "one_drain_cycle": replace(
        BASE, lanes=2, k_tile=16, group=1, columns=3, mac="dsp48e1", result_bits=64
    ),
    "long_rows": replace(BASE, lanes=64, engines=2, group=2, **widths(64)),
}  # fmt: skip


@pytest.fixture(scope="module")
def text() -> str:
    return verilog(ArrayTop(BASE, 1))


@pytest.fixture(scope="module", params=sorted(SHAPES))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Verilog files of one shape, the primitive's twin included."""
    shape = SHAPES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    paths = [folder / "sparsefuse.v"]
    paths[0].write_text(verilog(ArrayTop(shape, 1)))
    if shape.mac in PRIMITIVES:
        name = PRIMITIVES[shape.mac]
        paths.append(folder / name)
        paths[1].write_text(
            files("rtl_gen.mac").joinpath("primitives", name).read_text(encoding="utf-8")
        )
    return paths


def modules(text: str) -> list[str]:
    return re.findall(r"^module +(\S+?) *\(", text, re.MULTILINE)


EMIT = """
import sys
from tests.rtl_gen.test_emit import BASE
from rtl_gen.emit import verilog
from rtl_gen.top.array_top import ArrayTop
sys.stdout.write(verilog(ArrayTop(BASE, 1)))
"""


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_deterministic_across_processes(text: str, hash_seed: str, tmp_path: Path):
    root = Path(__file__).resolve().parents[2]
    environment = dict(os.environ, PYTHONHASHSEED=hash_seed, PYTHONPATH=str(root))
    done = subprocess.run(
        [sys.executable, "-c", EMIT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == text


def test_no_path_and_no_time(text: str):
    root = str(Path(__file__).resolve().parents[2])
    for word in (root, str(Path.home()), sys.prefix, "/tmp", ".py:", ".il", "src ="):
        assert word not in text, word
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", text)


def test_each_distinct_module_once(text: str):
    names = modules(text)
    assert len(set(names)) == len(names)
    assert "sparsefuse" in names
    # Nothing is defined that is not used, besides the top.
    for name in set(names) - {"sparsefuse"}:
        assert re.search(rf"^  {re.escape(name)} +\S+ *\(", text, re.MULTILINE), name


def test_module_count_does_not_depend_on_the_number_of_engines(text: str):
    many = verilog(ArrayTop(replace(BASE, engines=16), 1))
    assert sorted(modules(many)) == sorted(modules(text))
    assert len(many) < 1.2 * len(text)


class _Inverter(wiring.Component):
    """One bit, or its inverse; the name should say which."""

    module_name = "sf_inverter"

    def __init__(self, inverts: bool) -> None:
        self.inverts = inverts
        super().__init__({"x": In(1), "y": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.y.eq(self.x ^ self.inverts)
        return m


class _Pair(wiring.Component):
    """Two inverters in a row."""

    module_name = "sf_pair"

    def __init__(self, *inverts: bool) -> None:
        self.parts = [_Inverter(each) for each in inverts]
        super().__init__({"x": In(1), "y": Out(1)})

    def elaborate(self, platform):
        m = Module()
        wire = self.x
        for number, part in enumerate(self.parts):
            place(m, platform, f"part{number}", part)
            m.d.comb += part.x.eq(wire)
            wire = part.y
        m.d.comb += self.y.eq(wire)
        return m


def test_one_name_stands_for_one_module(monkeypatch: pytest.MonkeyPatch):
    # What is refused is never elaborated, of which Amaranth would warn.
    for kind in (_Inverter, _Pair, Module):
        monkeypatch.setattr(kind, "_MustUse__silence", True, raising=False)
    assert verilog(_Pair(True, True)).count("module sf_inverter(") == 1
    with pytest.raises(ValueError, match=r"module sf_inverter: two components"):
        verilog(_Pair(True, False))
    gc.collect()


def test_top_comes_with_every_module_it_places():
    names = list(convert(ArrayTop(BASE, 1)))
    assert names[0] == "sparsefuse"
    assert len(set(names)) == len(names)
    assert {"sf_array", "sf_group", "sf_engine", "sf_inferredmac_22"} <= set(names)


def test_the_configuration_hash_changes_its_register_alone(text: str):
    other = verilog(ArrayTop(BASE, 0xABCD1234))
    pairs = zip(text.splitlines(), other.splitlines(), strict=True)
    changed = [b for a, b in pairs if a != b]
    # The register is one constant; Yosys may share it between a few lines of the read multiplexer.
    assert 1 <= len(changed) <= 4


def test_no_wire_of_no_width(written: list[Path]):
    # Verilog has none: [-1:0] would be two bits.
    assert "[-1:0]" not in written[0].read_text()


def test_verilator_finds_nothing_but_implicit_widths(written: list[Path]):
    root, environment = verilator_environment()
    command = ["perl", str(root / "bin" / "verilator"), "--lint-only", "--top-module", "sparsefuse"]
    command += ["-Wno-WIDTHEXPAND", "-Wno-WIDTHTRUNC", *map(str, written)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "%Warning" not in done.stderr


def test_pyslang_reads_it(written: list[Path]):
    driver = pyslang.driver.Driver()
    driver.addStandardArgs()
    assert driver.parseCommandLine(f"slang {' '.join(map(str, written))} --top sparsefuse")
    assert driver.processOptions()
    assert driver.parseAllSources()
    compilation = driver.createCompilation()
    errors = [d for d in compilation.getAllDiagnostics() if d.isError()]
    assert errors == []
    tops = [instance.name for instance in compilation.getRoot().topInstances]
    assert tops == ["sparsefuse"]


@needs_icarus
def test_icarus_reads_it_as_verilog_2001(written: list[Path]):
    command = ["iverilog", "-g2001", "-Wall", "-Wno-timescale", "-t", "null", "-s", "sparsefuse"]
    done = subprocess.run([*command, *map(str, written)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
