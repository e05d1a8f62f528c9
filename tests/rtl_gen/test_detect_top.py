"""The emitted detect top: ports, registers, and one module per distinct part."""

import gc
from typing import Any, cast

import pytest

from golden.operators.detection import DetectorShape
from rtl_gen.emit import verilog
from rtl_gen.top.describe import c_header, register_markdown
from rtl_gen.top.detect_registers import DETECT_REGISTERS
from rtl_gen.top.detect_top import DetectTop

SHAPE = DetectorShape(units=3, width=4, k_bits=6, queue=4)


@pytest.fixture(scope="module")
def text() -> str:
    return verilog(DetectTop(SHAPE, 0x1234))


def test_emission_is_deterministic_and_holds_the_unit_once(text: str):
    assert verilog(DetectTop(SHAPE, 0x1234)) == text
    assert text.count("module sf_detector_w4_k6_q4(") == 1
    assert text.count("module sf_detector_array_u3_w4_k6_q4(") == 1
    assert text.count("module sparsefuse(") == 1


def test_every_unit_has_its_streams(text: str):
    top = text[text.index("module sparsefuse(") :]
    for unit in range(SHAPE.units):
        for declared in (
            f"input [31:0] s_axis_words_{unit}_tdata;",
            f"input [3:0] s_axis_words_{unit}_tkeep;",
            f"input s_axis_words_{unit}_tlast;",
            f"output s_axis_words_{unit}_tready;",
            f"output [31:0] m_axis_events_{unit}_tdata;",
            f"output m_axis_events_{unit}_tlast;",
            f"input m_axis_events_{unit}_tready;",
        ):
            assert top.count(declared) == 1, declared
    assert f"s_axis_words_{SHAPE.units}_" not in top


def test_registers_are_documented_where_they_are_built():
    top = DetectTop(SHAPE, 0xABCD)
    # Asked for its constants alone: Amaranth warns of parts that are never elaborated.
    cast(Any, top)._MustUse__silence = True
    addresses = [register.address for register in DETECT_REGISTERS]
    assert addresses == sorted(set(addresses))
    assert max(addresses) < 256
    table = register_markdown(DETECT_REGISTERS, top.constants)
    header = c_header("detect", DETECT_REGISTERS)
    for register in DETECT_REGISTERS:
        assert f"| 0x{register.address:02X} | {register.name} |" in table
        assert f"#define SPARSEFUSE_{register.name} 0x{register.address:02X}u" in header
    assert f"constant 0x{3 | 4 << 8 | 6 << 16 | 4 << 24:X}" in table
    assert "SPARSEFUSE_ERROR_SURPLUS_MASK 0x00000002u" in header
    gc.collect()
