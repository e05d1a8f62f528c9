"""Configurations: presets, files, and one refusal for every way to break a rule."""

import copy
import hashlib
import json
from dataclasses import replace

import pytest
import yaml

from constraints.devices import devices
from constraints.families import FAMILIES
from constraints.presets import preset_names, preset_text
from golden.errors import BadInput
from golden.formats import KERNELS
from golden.numerics.quantise import ROUNDINGS
from golden.operators.detection import DetectorShape
from golden.shape import ArrayShape
from rtl_gen.config import MAX_FILE_BYTES, ArrayConfig, Config, config_hash, derive, load, parse
from rtl_gen.derive import fits
from tests.rtl_gen.intents import ABSENT, changed, dotted

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
    *(("interface__activation_bits", v) for v in (0, 32, 96, 1024, "wide", True, None)),
    *(("interface__result_bits", v) for v in (0, 32, 192, 2048, 1024, "wide", True, None)),
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


ARRAYS = [name for name in preset_names() if isinstance(load(name, Config), ArrayConfig)]


@pytest.mark.parametrize("name", ARRAYS)
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
    assert preset_names() == ("detect", "edge", "kernels", "large", "mid", "test", "tiny")
    shapes = {name: derive(load(name, Config)).shape for name in preset_names()}
    assert shapes["detect"] == DetectorShape(units=8, width=8, k_bits=12, queue=8)
    assert shapes["kernels"] == ArrayShape(
        lanes=4, engines=2, group=2, k_tile=128, columns=6, activation_tiles=2, index_words=32,
        value_words=32, queue=4, data_bits=64,
        kernels=tuple(KERNELS), mac="packed",
        gap_bits=5, nm_n=1, nm_m=4, block_rows=4, sum_bits=23,
    )  # fmt: skip
    assert shapes["mid"] == ArrayShape(
        lanes=32, engines=8, group=4, k_tile=512, columns=64, activation_tiles=2, index_words=1024,
        value_words=2048, queue=8, data_bits=128, kernels=("dense", "bitmap"), mac="dsp48e2",
        byte_ports=True, activation_bits=256, result_bits=256, sum_bits=21,
    )  # fmt: skip
    assert shapes["edge"] == replace(shapes["mid"], engines=4, mac="ecp5")
    assert shapes["large"] == replace(shapes["mid"], engines=128, activation_bits=512)
    assert shapes["test"] == ArrayShape(
        lanes=4, engines=4, group=2, k_tile=32, columns=8, activation_tiles=2, index_words=32,
        value_words=32, queue=8, data_bits=64, kernels=("dense", "bitmap"), mac="packed",
        sum_bits=21,
    )  # fmt: skip
    assert shapes["tiny"] == ArrayShape(
        lanes=4, engines=2, group=2, k_tile=128, columns=32, activation_tiles=2, index_words=256,
        value_words=256, queue=8, data_bits=64, kernels=("bitmap",), mac="ice40",
        byte_ports=True, sum_bits=23,
    )  # fmt: skip


def test_unknown_presets_are_a_key_error():
    with pytest.raises(KeyError):
        preset_text("../devices")


def test_defaults_are_filled_in_before_hashing():
    short = changed(interface=ABSENT, schedule__kernels=ABSENT)
    del short["schedule"]["unroll"]["k"]
    whole = parse(changed())
    assert parse(short) == whole
    assert config_hash(parse(short)) == config_hash(whole)
    canonical = json.dumps(whole.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    assert config_hash(whole) == hashlib.sha256(canonical.encode()).hexdigest()


DESIGNED = """
name: edge
target: {device: lfe5u-85f, clock_mhz: 100}
schedule:                          # directives on the loop nest n, k, m
  unroll: {m: 16, n: 8, k: 1}      # lanes, engines, k_split
  tile: {m: 16, n: 256, k: 256}    # buffer depths follow
  kernels: [dense, bitmap]
numerics: {accumulator_bits: 32, rounding: half_even}
interface: {top: array, data_bits: 128}
"""


def test_a_configuration_that_states_its_number_formats_is_the_same():
    assert parse(yaml.safe_load(DESIGNED)) == parse(changed(name="edge"))


def test_the_rounding_reaches_the_array():
    for rounding in ROUNDINGS:
        intent = changed(numerics__rounding=rounding, schedule__fusion=True)
        assert derive(parse(intent)).shape.rounding == rounding


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
    assert config_hash(parse(changed(**{key: value}))) != config_hash(parse(changed()))


def test_a_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load("edge").name = "other"


def test_parsing_leaves_the_intent_alone():
    intent = changed()
    before = copy.deepcopy(intent)
    parse(intent)
    assert intent == before
