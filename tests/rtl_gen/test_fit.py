"""What is refused for its size, and whether the advice that comes with it holds."""

import re

import pytest
import yaml

from constraints.devices import devices
from golden.errors import BadInput
from rtl_gen.config import derive, load, parse
from rtl_gen.derive import derive_shape, estimate
from tests.rtl_gen.intents import changed

# Device, changes, resource that is short, field that is named, fields of the advice.
TOO_LARGE = [
    ("lfe5u-25f", {"schedule__unroll__n": 8}, "DSP blocks", "schedule.unroll.n", ["unroll.n"]),
    ("xc7z020", {"schedule__unroll__n": 64, "schedule__tile__n": 2048}, "DSP blocks",
     "schedule.unroll.n", ["unroll.n"]),
    ("gw1n-9", {"schedule__unroll__n": 8}, "DSP blocks", "schedule.unroll.n", ["unroll.n"]),
    ("ice40up5k", {"schedule__unroll__n": 8}, "DSP blocks", "schedule.tile.k",
     ["tile.k", "unroll.n", "tile.n"]),
    # An engine for all columns needs as much memory for their partial sums as many have.
    ("lfe5u-85f", {"schedule__unroll__n": 2, "schedule__tile__n": 8192}, "block RAMs",
     "schedule.tile.n", ["tile.n"]),
    ("lfe5u-25f", {"schedule__unroll__n": 1, "schedule__tile__n": 1, "schedule__tile__k": 4096},
     "block RAMs", "schedule.tile.k", ["tile.k"]),
    ("lfe5u-85f", {"schedule__buffers__value_words": 65536}, "block RAMs",
     "schedule.buffers.value_words", ["buffers.value_words"]),
    ("ice40up5k", {"schedule__unroll__n": 1, "schedule__tile__n": 8,
                   "schedule__buffers__value_words": 65536}, "block RAMs", "target.device", []),
]  # fmt: skip


def advised(text: str) -> dict[str, int]:
    """Fields of the schedule and the values that are said to fit."""
    found = re.findall(r"(unroll\.[nm]|tile\.[nk]|buffers\.\w+) of (?:at most )?(\d+)", text)
    return {name: int(value) for name, value in found}


@pytest.mark.parametrize(("device", "change", "resource", "field", "fields"), TOO_LARGE)
def test_the_field_that_binds_is_named_with_what_would_fit(
    tmp_path, device, change, resource, field, fields
):
    intent = changed(target__device=device, **change)
    path = tmp_path / "large.yaml"
    path.write_text(yaml.safe_dump(intent), "utf-8")
    with pytest.raises(BadInput) as refusal:
        load(path)
    message = str(refusal.value)
    print(message)
    assert message.startswith(f"{path}: {field}: must fit {device}, which has ")
    assert resource in message
    assert "estimate" in message
    advice = advised(message)
    assert list(advice) == fields
    if not fields:
        return
    for name, value in advice.items():
        section, _, last = name.partition(".")
        intent["schedule"].setdefault(section, {})[last] = value
    derive(parse(intent))
    # One step further does not fit.
    first = fields[0]
    section, _, last = first.partition(".")
    was = parse(changed(target__device=device, **change)).schedule
    now, before = advice[first], getattr(getattr(was, section), last)
    larger = {
        "unroll.n": [n for n in range(now + 1, before) if was.tile.n % n == 0],
        "tile.n": [now + was.unroll.n] if now + was.unroll.n < before else [],
    }.get(first, [now * 2])
    for value in larger:
        intent["schedule"][section][last] = value
        if value == before and len(fields) == 1:
            continue
        needs = estimate(derive_shape(parse(intent)), devices()[device])
        part = devices()[device]
        assert needs.dsps > (part.dsps or 0) or needs.block_rams > (part.block_rams or 0)
