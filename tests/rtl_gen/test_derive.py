"""What follows from a configuration: shapes, estimates, what fits, constraints."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from amaranth.lib.wiring import In

from constraints.devices import devices
from constraints.families import FAMILIES
from constraints.render import render
from golden.errors import BadInput
from golden.shape import is_power_of_two, minimum_ring_words
from rtl_gen.config import derive, load, parse
from rtl_gen.derive import derive_shape, estimate
from tests.golden.plans import widths
from tests.rtl_gen.intents import changed


@pytest.mark.parametrize("device", devices())
def test_auto_mac_suits_the_device(device):
    intent = changed(target__device=device, schedule__unroll__n=1)
    intent["schedule"]["unroll"]["m"] = intent["schedule"]["tile"]["m"] = 2
    intent["schedule"]["tile"]["n"] = 16
    technology = devices()[device].technology
    shape = derive(parse(intent)).shape
    assert (shape.mac, shape.byte_ports) == (technology.mac, technology.byte_ports)


def test_the_vendors_own_multipliers_are_what_auto_means():
    own = {name: family.mac for name, family in FAMILIES.items()}
    assert own == {
        "xcup": "dsp48e2", "xc7": "dsp48e1", "ecp5": "ecp5", "ice40": "ice40", "nexus": "nexus",
        "gowin": "gowin", "intel": "split", "efinix": "split", "generic": "packed",
    }  # fmt: skip


def test_estimates_follow_the_multipliers():
    shape = derive(load("mid")).shape
    part = devices()["xczu7ev"]
    assert estimate(shape, part).dsps == 128
    assert estimate(replace(shape, mac="split"), part).dsps == 256
    # 8 engines with tiles of 15, index of 4 and values of 8 RAMB18; per group of 4 engines one
    # memory of 4*64*4 words by 256 bits, 15 RAMB18.
    assert estimate(shape, part).block_rams == 8 * (15 + 4 + 8) + 2 * 15


@pytest.mark.parametrize("name", ["test", "tiny", "mid", "large"])
def test_port_bits_are_those_of_the_tops_data_ports(name):
    derived = derive(load(name))
    bits = {True: 0, False: 0}
    top = derived.component()
    # Asked for its ports alone: Amaranth warns of parts that are never elaborated.
    cast(Any, top)._MustUse__silence = True
    for path, member in top.signature.members.items():
        if path.endswith("tdata"):
            bits[member.flow == In] += member.shape
    assert derived.shape.input_port_bits == bits[True]
    assert derived.shape.output_port_bits == bits[False]


@pytest.mark.parametrize("k", [16, 64, 256, 4096])
@pytest.mark.parametrize("columns", [1, 7, 32, 512])
def test_automatic_rings_hold_a_block_and_stay_bounded(k, columns):
    intent = changed(target__device="generic", schedule__tile__k=k, schedule__tile__n=8 * columns)
    shape = derive(parse(intent)).shape
    least_index, least_value = minimum_ring_words(k, 64, ["bitmap"], SimpleNamespace())
    assert is_power_of_two(shape.index_words)
    assert is_power_of_two(shape.value_words)
    assert least_index <= shape.index_words <= 1024
    assert least_value <= shape.value_words <= 2048
    assert shape.value_words >= min(2048, columns * k // 8)


@pytest.mark.parametrize(("engines", "bits", "group"), [(8, 64, 4), (6, 128, 6), (7, 64, 1),
                                                        (32, 512, 16), (9, 128, 3)])  # fmt: skip
def test_automatic_groups_divide_the_engines(engines, bits, group):
    intent = changed(
        target__device="generic", schedule__unroll__n=engines, schedule__tile__n=engines,
        interface__data_bits=bits,
    )  # fmt: skip
    assert derive(parse(intent)).shape.group == group


GOOD = derive_shape(load("test"))

BROKEN_SHAPES = [
    ("lanes", 1), ("lanes", 6), ("lanes", 128), ("lanes", True), ("lanes", "4"), ("engines", 0),
    ("engines", 1025), ("group", 3), ("group", 0), ("group", 17), ("k_tile", 8), ("k_tile", 48),
    ("k_tile", 8192), ("columns", 0), ("columns", 4097), ("activation_tiles", 1),
    ("activation_tiles", 3), ("index_words", 8), ("index_words", 24), ("value_words", 8),
    ("value_words", 40), ("queue", 1), ("queue", 128), ("data_bits", 32), ("data_bits", 192),
    ("activation_bits", 96), ("activation_bits", 1024), ("result_bits", 32), ("result_bits", 192),
    ("result_bits", 256),
    ("kernels", ()), ("kernels", ("dense", "dense")), ("kernels", ("csr",)), ("kernels", "dense"),
    ("mac", "dsp"), ("byte_ports", 1),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BROKEN_SHAPES)
def test_a_shape_refuses_what_breaks_its_rules(field, value):
    with pytest.raises(BadInput, match=f"^array shape: {field}: must .*, got "):
        replace(GOOD, **{field: value})


@pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("bits", [64, 128, 256, 512])
def test_widths_of_a_shape_agree(lanes, bits):
    shape = replace(GOOD, lanes=lanes, **widths(bits))
    assert shape.rows_per_beat * shape.row_bits == shape.beats_per_row * bits
    assert shape.drain_words * shape.drain_cycles * 2 == lanes
    assert shape.result_bits == 64 * shape.drain_words <= bits
    assert 2**shape.k_bits == shape.k_tile
    extreme = shape.k_tile * 2**14
    assert 2 ** (shape.acc_bits - 2) - 1 < extreme <= 2 ** (shape.acc_bits - 1) - 1


LINES = {
    "xdc": "create_clock -name clk -period 10.000 [get_ports clk]",
    "lpf": 'FREQUENCY PORT "clk" 100 MHZ;',
    "pcf": "set_frequency clk 100",
    "sdc": "create_clock -name clk -period 10.000 [get_ports {clk}]",
}


@pytest.mark.parametrize("family", FAMILIES)
def test_constraints_ask_for_the_clock(family):
    extension = FAMILIES[family].constraints
    rendered = render(derive(load("edge")), family)
    assert list(rendered) == [f"edge.{extension}"]
    text = rendered[f"edge.{extension}"]
    assert text.splitlines()[-1] == LINES[extension]
    assert text.endswith("\n")


def test_constraints_of_an_unknown_family_are_a_key_error():
    with pytest.raises(KeyError):
        render(derive(load("edge")), "quartus")
