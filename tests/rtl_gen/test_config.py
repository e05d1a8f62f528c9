"""Configurations: presets, derivation, and one refusal for every way to break a rule."""

import copy
import hashlib
import json
from dataclasses import replace

import pytest
import yaml

from constraints.devices import FAMILIES, devices
from constraints.presets import preset_names, preset_text
from constraints.render import FORMATS, render
from golden.errors import BadInput
from golden.shape import MAC_KINDS, ArrayShape, is_power_of_two, minimum_ring_words
from rtl_gen.config import MAX_FILE_BYTES, config_hash, derive, load, parse
from rtl_gen.derive import derive_shape, estimate, fits, largest_engines

ABSENT = object()


def changed(**values):
    """The edge preset as plain data with some dotted keys (``__`` for the dot) replaced."""
    intent = yaml.safe_load(preset_text("edge"))
    for dotted, value in values.items():
        *path, last = dotted.split("__")
        section = intent
        for name in path:
            section = section.setdefault(name, {})
        if value is ABSENT:
            del section[last]
        else:
            section[last] = value
    return intent


def dotted(key):
    return key.replace("__", ".")


BROKEN_VALUES = [
    *(("name", v) for v in ("", "9lives", "a-b", "a b", "x" * 41, 7, None, ["a"], "é", "a\n")),
    *(("target__device", v) for v in ("", "lfe5u-58f", "xczu7", 7, None, ["generic"], "EDGE")),
    *(
        ("target__clock_mhz", v)
        for v in (0, 0.99, -100, 1001, "100", "fast", True, None, float("nan"), float("inf"))
    ),
    *(("target__mac", v) for v in ("dsp", "dsp48e2", "dsp48e1", 1, None, "")),
    *(("schedule__unroll__m", v) for v in (0, 1, 3, 12, 128, -16, 16.0, "16", True, None, [16])),
    *(("schedule__unroll__n", v) for v in (0, -1, 1025, 8.5, "8", None)),
    *(("schedule__unroll__k", v) for v in (0, 3, 16, 2048, "1", "Auto", True, 1.0)),
    *(("schedule__tile__m", v) for v in (8, 32, 0, 17, "16", None)),
    *(("schedule__tile__n", v) for v in (0, 7, 255, 257, -8, 8 * 4097, "256", 256.0, None)),
    *(("schedule__tile__k", v) for v in (0, 8, 24, 255, 8192, -16, "256", None)),
    *(
        ("schedule__kernels", v)
        for v in ([], "dense", ["sparse"], ["dense", "dense"], [1], None, {"dense": 1}, ["bitmop"])
    ),
    *(("schedule__group", v) for v in (0, 3, 16, 17, -1, "all", 2.0, None, True)),
    *(("schedule__buffers__activation_tiles", v) for v in (0, 1, 3, 16, "2", "auto")),
    *(("schedule__buffers__index_words", v) for v in (0, 8, 100, 131072, "Auto", 64.0, None)),
    *(("schedule__buffers__value_words", v) for v in (0, 8, 16, 100, 131072, "deep", None)),
    *(("schedule__buffers__event_queue", v) for v in (0, 1, 3, 128, "8", "auto", None)),
    *(("numerics__accumulator_bits", v) for v in (16, 24, 31, 33, 64, "32", 32.0)),
    *(("numerics__rounding", v) for v in ("up", "half_evn", 0, None, "")),
    *(("interface__top", v) for v in ("system", "axi", 0, None)),
    *(("interface__data_bits", v) for v in (0, 8, 32, 96, 1024, "128", 128.0, None)),
]


@pytest.mark.parametrize(("key", "value"), BROKEN_VALUES, ids=lambda v: repr(v)[:30])
def test_a_broken_value_is_refused_with_its_field(tmp_path, key, value):
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(changed(**{key: value})), "utf-8")
    with pytest.raises(BadInput) as refusal:
        load(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: {dotted(key)}: must "), message
    assert ", got " in message
    assert "\n" not in message


REQUIRED = [
    "name",
    "target",
    "target__device",
    "schedule",
    "schedule__unroll",
    "schedule__unroll__m",
    "schedule__unroll__n",
    "schedule__tile",
    "schedule__tile__m",
    "schedule__tile__n",
    "schedule__tile__k",
]


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_field_is_named(key):
    with pytest.raises(BadInput, match=f"^configuration: {dotted(key)}: must be given, got noth"):
        parse(changed(**{key: ABSENT}))


@pytest.mark.parametrize("key", ["target", "schedule", "schedule__tile", "numerics", "interface"])
@pytest.mark.parametrize("value", [None, 3, "text", [1]], ids=repr)
def test_a_section_must_be_a_mapping(key, value):
    with pytest.raises(BadInput, match=f": {dotted(key)}: must be a mapping"):
        parse(changed(**{key: value}))


UNKNOWN = [
    ("nam", "name"),
    ("shedule", "schedule"),
    ("data_bits", "interface.data_bits"),
    ("lanes", "schedule.unroll.m"),
    ("engines", "schedule.unroll.n"),
    ("target__devise", "target.device"),
    ("target__clock", "target.clock_mhz"),
    ("target__clock_MHz", "target.clock_mhz"),
    ("schedule__kernel", "schedule.kernels"),
    ("schedule__titel", "schedule.tile"),
    ("schedule__event_queue", "schedule.buffers.event_queue"),
    ("schedule__unroll__q", "schedule.unroll.m"),
    ("schedule__buffers__index_word", "schedule.buffers.index_words"),
    ("numerics__round", "numerics.rounding"),
    ("interface__databits", "interface.data_bits"),
]


@pytest.mark.parametrize(("key", "suggestion"), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_nearest(key, suggestion):
    with pytest.raises(BadInput) as refusal:
        parse(changed(**{key: 1}))
    message = str(refusal.value)
    assert message.startswith(f"configuration: {dotted(key)}: must be a known key")
    assert suggestion in message


def test_a_key_that_is_no_text_is_refused():
    with pytest.raises(BadInput, match=r"target\.1: must be a known key"):
        parse(changed(target={1: 2, "device": "generic"}))


FILES = {
    "empty": (b"", "configuration: must be a mapping"),
    "comment": (b"# nothing\n", "configuration: must be a mapping"),
    "scalar": (b"edge", "configuration: must be a mapping"),
    "list": (b"- name: edge\n", "configuration: must be a mapping"),
    "binary": (b"\x7fELF\x00\xff\xfe\x00", "configuration: must be UTF-8"),
    "nul": (b"name: a\x00b\n", "configuration: must be UTF-8"),
    "control": (b"name: a\x01b\n", "configuration: must be valid YAML"),
    "tab": (b"target:\n\tdevice: generic\n", "line 2: configuration: must be valid YAML"),
    "open": (b"target: {device: generic\n", "configuration: must be valid YAML"),
    "two": (b"name: a\n---\nname: b\n", "line 2: configuration: must be valid YAML"),
    "tag": (b"name: !!python/object/apply:os.getcwd []\n", "must be valid YAML"),
    "date": (b"name: 2024-13-45\n", "configuration: must be valid YAML"),
    "digits": (b"name: " + b"1" * 5000, "configuration: must be valid YAML"),
    "hex": (b"name: 0x" + b"f" * 9000, "name: must"),
    "merge": (b"<<: 3\n", "configuration: must be valid YAML"),
    "listkey": (b"? [a]\n: 1\n", "configuration: must be valid YAML"),
    "recursion": (b"a: &a [*a]\n", "a: must be a known key"),
    "deep": (b"[" * 20000, "configuration: must be"),
    "large": (b"#" * (MAX_FILE_BYTES + 1), "configuration: must be at most"),
    "twice": (b"name: a\nname: b\n", "line 2: configuration: must be valid YAML"),
    "twice_below": (b"target: {device: generic, device: xck26}\n", "'device' must appear once"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_configuration_is_refused(tmp_path, kind):
    data, expected = FILES[kind]
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    with pytest.raises(BadInput) as refusal:
        load(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_files_that_can_not_be_read_are_refused(tmp_path):
    with pytest.raises(BadInput, match="did you mean edge"):
        load("edgee")
    with pytest.raises(BadInput, match=r"must be a preset .* or an existing file"):
        load(tmp_path / "absent.yaml")
    with pytest.raises(BadInput, match="must be a file, got a folder"):
        load(tmp_path)
    with pytest.raises(BadInput, match="readable"):
        load("a\0b")
    with pytest.raises(BadInput, match="readable"):
        load("x" * 5000)


def test_a_byte_order_mark_and_windows_lines_are_read(tmp_path):
    path = tmp_path / "edge.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + preset_text("edge").replace("\n", "\r\n").encode())
    assert load(path) == load("edge")


def test_a_preset_is_taken_before_a_folder_of_its_name(tmp_path, monkeypatch):
    (tmp_path / "edge").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load("edge").name == "edge"
    with pytest.raises(BadInput, match="got a folder"):
        load("./edge")


@pytest.mark.parametrize("name", preset_names())
def test_presets_load_derive_and_fit(name):
    config = load(name)
    assert config.name == name
    derived = derive(config)
    shape = derived.shape
    assert fits(shape, derived.device)
    assert shape.n_tile == config.schedule.tile.n
    assert shape.multipliers == config.schedule.unroll.m * config.schedule.unroll.n
    assert derived.technology == devices()[config.target.device].family
    assert shape.mac == FAMILIES[derived.technology].mac


def test_the_presets_are_the_documented_ones():
    assert preset_names() == ("edge", "kernels", "mid", "test", "tiny")
    shapes = {name: derive(load(name)).shape for name in preset_names()}
    assert shapes["edge"] == ArrayShape(
        lanes=16, engines=8, group=8, k_tile=256, columns=32, activation_tiles=2, index_words=512,
        value_words=1024, queue=8, data_bits=128, kernels=("dense", "bitmap"), mac="ecp5",
    )  # fmt: skip
    assert shapes["kernels"] == ArrayShape(
        lanes=4, engines=2, group=2, k_tile=128, columns=6, activation_tiles=2, index_words=32,
        value_words=32, queue=4, data_bits=64,
        kernels=("dense", "bitmap", "runlength", "nm", "block"), mac="packed",
        gap_bits=5, nm_n=1, nm_m=4, block_rows=4,
    )  # fmt: skip
    assert shapes["mid"] == replace(shapes["edge"], engines=16, mac="dsp48e2")
    assert shapes["test"] == ArrayShape(
        lanes=4, engines=4, group=2, k_tile=32, columns=8, activation_tiles=2, index_words=32,
        value_words=32, queue=8, data_bits=64, kernels=("dense", "bitmap"), mac="packed",
    )  # fmt: skip
    assert shapes["tiny"] == ArrayShape(
        lanes=4, engines=2, group=2, k_tile=128, columns=32, activation_tiles=2, index_words=256,
        value_words=256, queue=8, data_bits=64, kernels=("bitmap",), mac="ice40",
    )  # fmt: skip


def test_unknown_presets_are_a_key_error():
    with pytest.raises(KeyError):
        preset_text("../devices")


def test_defaults_are_filled_in_before_hashing():
    short = changed(numerics=ABSENT, interface=ABSENT, schedule__kernels=ABSENT)
    del short["schedule"]["unroll"]["k"]
    assert parse(short) == load("edge")
    assert config_hash(parse(short)) == config_hash(load("edge"))
    canonical = json.dumps(
        load("edge").model_dump(mode="json"), sort_keys=True, separators=(",", ":")
    )
    assert config_hash(load("edge")) == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "other"),
        ("target__device", "generic"),
        ("target__clock_mhz", 99),
        ("schedule__group", 4),
        ("schedule__tile__k", 128),
        ("schedule__kernels", ["bitmap", "dense"]),
        ("schedule__buffers__event_queue", 16),
        ("numerics__rounding", "half_away"),
        ("interface__data_bits", 64),
    ],
)
def test_the_hash_follows_every_change(key, value):
    assert config_hash(parse(changed(**{key: value}))) != config_hash(load("edge"))


def test_a_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load("edge").name = "other"


def test_parsing_leaves_the_intent_alone():
    intent = changed()
    before = copy.deepcopy(intent)
    parse(intent)
    assert intent == before


@pytest.mark.parametrize("device", devices())
def test_auto_mac_suits_the_device(device):
    intent = changed(target__device=device, schedule__unroll__n=1)
    intent["schedule"]["unroll"]["m"] = intent["schedule"]["tile"]["m"] = 2
    intent["schedule"]["tile"]["n"] = 16
    family = devices()[device].family
    expected = {"xcup": "dsp48e2", "xc7": "dsp48e1", "generic": "packed"}.get(family, family)
    assert derive(parse(intent)).shape.mac == expected


def test_the_device_database_is_complete():
    for name, device in devices().items():
        figures = (device.luts, device.ffs, device.dsps, device.bram_kbit)
        limited = [figure is not None and figure > 0 for figure in figures]
        assert all(limited) if name != "generic" else not any(limited)
        assert device.board
        assert bool(device.nextpnr_program) == bool(device.nextpnr_args)
    for family in FAMILIES.values():
        assert family.mac in family.macs
        assert set(family.products_per_dsp) == set(family.macs) <= set(MAC_KINDS)
    assert {device.family for device in devices().values()} == set(FAMILIES) == set(FORMATS)


TOO_LARGE = [
    ("lfe5u-25f", {"schedule__unroll__n": 8}, "DSP blocks"),
    ("ice40up5k", {"schedule__unroll__n": 8}, "DSP blocks"),
    ("gw1n-9", {"schedule__unroll__n": 8}, "DSP blocks"),
    ("xc7z020", {"schedule__unroll__n": 64, "schedule__tile__n": 2048}, "DSP blocks"),
    ("xczu3eg", {"schedule__tile__k": 4096, "schedule__tile__n": 4096,
                 "schedule__unroll__n": 32}, "block RAMs"),
    ("lfe5u-85f", {"schedule__buffers__value_words": 65536}, "block RAMs"),
]  # fmt: skip


@pytest.mark.parametrize(("device", "change", "resource"), TOO_LARGE)
def test_what_does_not_fit_is_refused_with_what_would(tmp_path, device, change, resource):
    intent = changed(target__device=device, **change)
    path = tmp_path / "large.yaml"
    path.write_text(yaml.safe_dump(intent), "utf-8")
    with pytest.raises(BadInput) as refusal:
        load(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}: schedule.unroll.n: must fit {device}, which has ")
    assert resource in message
    assert "estimate" in message
    config = parse(intent)
    engines = largest_engines(config)
    if engines == 0:
        assert "even schedule.unroll.n of 1 does not fit" in message
        assert not fits(derive_shape(config, 1), devices()[device])
        return
    assert f"schedule.unroll.n of at most {engines} fits" in message
    intent["schedule"]["unroll"]["n"] = engines
    assert derive(parse(intent)).shape.engines == engines
    tile_n = intent["schedule"]["tile"]["n"]
    for larger in range(engines + 1, config.schedule.unroll.n):
        if tile_n % larger == 0:
            assert not fits(derive_shape(config, larger), devices()[device])


def test_both_answers_about_what_fits_occur():
    found = {largest_engines(parse(changed(target__device=d, **c))) > 0 for d, c, _ in TOO_LARGE}
    assert found == {True, False}


def test_estimates_follow_the_multipliers():
    shape = derive(load("mid")).shape
    part = devices()["xczu7ev"]
    assert estimate(shape, part).dsps == 128
    assert estimate(replace(shape, mac="split"), part).dsps == 256
    # 16 engines with tiles of 4, index of 2 and values of 4 RAMB18; per group of 8 engines one
    # memory of 8*32*4 words by 128 bits, 8 RAMB18.
    assert estimate(shape, part).block_rams == 16 * (4 + 2 + 4) + 2 * 8


@pytest.mark.parametrize("k", [16, 64, 256, 4096])
@pytest.mark.parametrize("columns", [1, 7, 32, 512])
def test_automatic_rings_hold_a_block_and_stay_bounded(k, columns):
    intent = changed(target__device="generic", schedule__tile__k=k, schedule__tile__n=8 * columns)
    shape = derive(parse(intent)).shape
    least_index, least_value = minimum_ring_words(k)
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
    ("kernels", ()), ("kernels", ("dense", "dense")), ("kernels", ("csr",)), ("kernels", "dense"),
    ("mac", "dsp"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BROKEN_SHAPES)
def test_a_shape_refuses_what_breaks_its_rules(field, value):
    with pytest.raises(BadInput, match=f"^array shape: {field}: must .*, got "):
        replace(GOOD, **{field: value})


@pytest.mark.parametrize("lanes", [2, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("bits", [64, 128, 256, 512])
def test_widths_of_a_shape_agree(lanes, bits):
    shape = replace(GOOD, lanes=lanes, data_bits=bits)
    assert shape.rows_per_beat * shape.row_bits == shape.beats_per_row * bits
    assert shape.drain_words * shape.drain_cycles * 2 == lanes
    assert shape.result_bits == 64 * shape.drain_words <= bits
    assert 2**shape.k_bits == shape.k_tile
    extreme = shape.k_tile * 2**14
    assert 2 ** (shape.acc_bits - 2) - 1 < extreme <= 2 ** (shape.acc_bits - 1) - 1


@pytest.mark.parametrize(
    ("family", "name", "line"),
    [
        ("xcup", "edge.xdc", "create_clock -name clk -period 10.000 [get_ports clk]"),
        ("xc7", "edge.xdc", "create_clock -name clk -period 10.000 [get_ports clk]"),
        ("ecp5", "edge.lpf", 'FREQUENCY PORT "clk" 100 MHZ;'),
        ("ice40", "edge.pcf", "set_frequency clk 100"),
        ("nexus", "edge.sdc", "create_clock -name clk -period 10.000 [get_ports {clk}]"),
        ("gowin", "edge.sdc", "create_clock -name clk -period 10.000 [get_ports {clk}]"),
        ("generic", "edge.sdc", "create_clock -name clk -period 10.000 [get_ports {clk}]"),
    ],
)
def test_constraints_ask_for_the_clock(family, name, line):
    rendered = render(derive(load("edge")), family)
    assert list(rendered) == [name]
    assert rendered[name].splitlines()[-1] == line
    assert rendered[name].endswith("\n")


def test_constraints_of_an_unknown_family_are_a_key_error():
    with pytest.raises(KeyError):
        render(derive(load("edge")), "quartus")
