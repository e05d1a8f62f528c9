"""The fuse selector in a configuration: what it is built for, and what it refuses."""

import pytest

from golden.errors import BadInput
from golden.selector.unit import lossy_candidates
from rtl_gen.config import derive, parse
from rtl_gen.top.describe import c_header, describe_selector, register_markdown
from rtl_gen.top.registers import REGISTERS, SELECTOR_REGISTERS, registers_of


def intent(selector: str, kernels: list[str], k_tile: int = 64) -> dict:
    return {
        "name": "chooser",
        "target": {"device": "lfe5u-85f"},
        "schedule": {
            "unroll": {"m": 4, "n": 4},
            "tile": {"m": 4, "n": 4, "k": k_tile},
            "kernels": kernels,
            "selector": selector,
        },
    }


def test_none_is_the_default():
    plain = intent("none", ["bitmap"])
    del plain["schedule"]["selector"]
    assert derive(parse(plain, "test")).selector is None


@pytest.mark.parametrize(
    ("selector", "kernels", "expected"),
    [
        ("exact", ["dense", "bitmap"], [("bitmap", 0), ("dense", 0)]),
        ("lossy", ["bitmap"], [("bitmap", 0), ("bitmap", 2), ("bitmap", 4)]),
        ("lossy", ["dense"], [("dense", 0), ("dense", 2), ("dense", 4)]),
        ("lossy", ["block", "raw"], [("block", 0), ("block", 2)]),
    ],
)
def test_candidates(selector: str, kernels: list[str], expected: list[tuple[str, int]]):
    parameters = derive(parse(intent(selector, kernels), "test")).selector
    assert parameters is not None
    assert [(c.kernel, c.threshold) for c in parameters.candidates] == expected
    assert parameters.lossy == (selector == "lossy")
    described = describe_selector(parameters)
    assert [tuple(c.values()) for c in described["candidates"]] == expected
    assert (described["word_rows"], described["table_words"]) == (8, 64)


def test_lossy_adds_to_exact():
    listed = lossy_candidates(("dense", "bitmap", "block"))
    assert [c.threshold for c in listed] == [0, 0, 0, 2, 2, 4]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (intent("exact", ["raw"]), "must be none without one of dense, .* got 'exact'"),
        (intent("lossy", ["bitmap"], 32), r"must be none where .* \(32\) is no multiple of 64"),
        (intent("lossi", ["bitmap"]), "must be one of none, exact, lossy .did you mean lossy"),
    ],
)
def test_refusals(changed: dict, message: str):
    with pytest.raises(BadInput, match=f"test: schedule.selector: {message}"):
        derive(parse(changed, "test"))


def test_registers_are_documented_where_they_are_built():
    addresses = [register.address for register in registers_of(True)]
    assert len(set(addresses)) == len(REGISTERS) + len(SELECTOR_REGISTERS)
    for register in SELECTOR_REGISTERS:
        with_selector, without = registers_of(True), registers_of(False)
        line = f"SPARSEFUSE_{register.name} 0x{register.address:02X}u"
        assert f" {register.name} " in register_markdown(with_selector, {})
        assert line in c_header("array", with_selector)
        assert register.name not in register_markdown(without, {}) + c_header("array", without)
