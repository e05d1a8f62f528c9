"""Configurations of the detect top: every field has a rule, and none of the array's is accepted."""

from dataclasses import replace

import pytest

from constraints.devices import devices
from golden.errors import BadInput
from golden.operators.detection import DetectorShape
from rtl_gen.config import Config, DetectConfig, config_hash, derive, load, parse
from rtl_gen.derive_detect import register_bits
from rtl_gen.tops import TOPS
from tests.rtl_gen.intents import ABSENT, changed_in, dotted
from tests.rtl_gen.intents import changed as changed_array


def changed(**values):
    return changed_in("detect", **values)


BROKEN = [
    *(("detect__units", v) for v in (0, -1, 65, 2.0, "8", True, None)),
    *(("detect__rows", v) for v in (0, 1, 3, 4, 100, 131072, "64", None)),
    *(("detect__event_queue", v) for v in (0, 1, 3, 128, "8", "auto", None)),
    *(("interface__data_bits", v) for v in (0, 7, 12, 256, 512, "64", None)),
    *(("interface__top", v) for v in ("Detect", "detector", ["detect"], 7, None)),
    ("target__device", "lfe5u"),
    ("target__clock_mhz", 0),
    ("name", "1a"),
]


@pytest.mark.parametrize(("key", "value"), BROKEN, ids=lambda v: repr(v)[:30])
def test_a_broken_value_is_refused_with_its_field(key, value):
    with pytest.raises(BadInput) as refusal:
        parse(changed(**{key: value}), "bad.yaml", Config)
    message = str(refusal.value)
    assert message.startswith(f"bad.yaml: {dotted(key)}: must "), message
    assert ", got " in message
    assert "\n" not in message


ARRAY_ONLY = [
    ("schedule", {"unroll": {"m": 4}}),
    ("schedule__kernels", ["bitmap"]),
    ("numerics__rounding", "half_even"),
    ("numerics", {}),
    ("target__mac", "auto"),
]


@pytest.mark.parametrize(("key", "value"), ARRAY_ONLY)
def test_a_field_of_the_array_is_refused_by_name(key, value):
    with pytest.raises(BadInput) as refusal:
        parse(changed(**{key: value}), "x.yaml", Config)
    field = key if key.startswith("target") else key.split("__")[0]
    rule = "must be left out where interface.top is detect"
    assert str(refusal.value).startswith(f"x.yaml: {dotted(field)}: {rule}")
    assert "belongs to array" in str(refusal.value)


def test_a_field_of_detect_is_refused_in_an_array():
    with pytest.raises(BadInput, match=r"detect: must be left out where interface\.top is array"):
        parse(changed_array(detect={"units": 4}))
    with pytest.raises(BadInput, match=r"detect: must be left out where interface\.top is array"):
        parse(changed(interface__top=ABSENT), "x", Config)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("detect__unit", "detect.units"),
        ("detects", "detect"),
        ("detect__queue", "detect.event_queue"),
        ("units", "detect.units"),
    ],
)
def test_an_unknown_key_gets_the_nearest(key, hint):
    with pytest.raises(BadInput) as refusal:
        parse(changed(**{key: 1}), "x", Config)
    assert f"{dotted(key)}: must be a known key (did you mean {hint}?)" in str(refusal.value)


@pytest.mark.parametrize("key", ["detect", "detect__units", "target", "name"])
def test_a_missing_field_is_named(key):
    with pytest.raises(BadInput, match=f"{dotted(key)}: must be given, got nothing"):
        parse(changed(**{key: ABSENT}), "x", Config)


def test_each_top_loads_only_where_it_is_wanted():
    with pytest.raises(BadInput, match=r"^detect: interface\.top: must be array, which is what"):
        load("detect")
    with pytest.raises(BadInput, match=r"^edge: interface\.top: must be detect, which is what"):
        load("edge", DetectConfig)
    assert load("detect", DetectConfig) == load("detect", Config)


def test_system_is_known_and_not_built():
    with pytest.raises(BadInput, match="must be one of array, detect: this version generates no"):
        parse(changed(interface__top="system"), "x", Config)


def test_parameters_follow_the_fields():
    intent = changed(
        interface__data_bits=16, detect__units=3, detect__rows=32, detect__event_queue=4
    )
    derived = derive(parse(intent, "x", DetectConfig))
    assert derived.shape == DetectorShape(units=3, width=2, k_bits=5, queue=4)
    assert derived.shape.rows == 32


def test_a_word_must_fit_a_vector():
    with pytest.raises(BadInput, match=r"detect\.rows: must be at least the bytes of a word \(8"):
        parse(changed(detect__rows=4), "x", Config)
    parse(changed(detect__rows=8), "x", Config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("detect__units", 4),
        ("detect__rows", 64),
        ("detect__event_queue", 16),
        ("interface__data_bits", 32),
        ("target__clock_mhz", 99),
        ("name", "other"),
    ],
)
def test_the_hash_follows_every_change(key, value):
    assert config_hash(parse(changed(**{key: value}), "x", Config)) != config_hash(
        load("detect", Config)
    )


def test_a_part_that_is_too_small_is_refused_with_what_fits():
    intent = changed(
        target__device="ice40up5k", detect__units=64, interface__data_bits=128,
        detect__event_queue=64,
    )  # fmt: skip
    with pytest.raises(BadInput, match=r"detect\.units: must fit ice40up5k") as refusal:
        derive(parse(intent, "x", Config))
    units = int(str(refusal.value).split("at most ")[1].split()[0])
    fitting = derive(parse(changed(**{**_flat(intent), "detect__units": units}), "x", DetectConfig))
    device = devices()["ice40up5k"]
    assert fitting.registers_estimate <= (device.ffs or 0)
    above = replace(fitting.shape, units=units + 1)
    assert register_bits(above, device.technology) > (device.ffs or 0)


def _flat(intent):
    """A configuration's sections as the keys of `changed`."""
    return {
        f"{section}__{name}": value
        for section, fields in intent.items()
        if isinstance(fields, dict)
        for name, value in fields.items()
    }


def test_every_top_starts_from_a_preset_of_its_own():
    for name, design in TOPS.items():
        assert load(design.preset, design.configuration).interface.top == name
