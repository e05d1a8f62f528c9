"""Every technology's MAC in RTL: all products, and adversarial sums as large as a width allows."""

import numpy as np
import pytest

from constraints.families import FAMILIES
from flows.cache import cache_folder
from golden.numerics import packed
from golden.numerics.mac_kinds import MAC_KINDS
from rtl_gen.mac import MACS, PRIMITIVES
from rtl_gen.mac.base import packed_bits
from tests.golden.numerics.packed_limits import max_depth, plain_sums
from tests.rtl_gen.mac_check import LAST, LOAD, VALID, WIDTHS, MacCheck

PACKED = tuple(sorted(name for name, mac in MACS.items() if hasattr(mac, "shift")))
SPLIT = tuple(sorted(set(MACS) - set(PACKED)))
# As many products of -128 by -128 as the width holds, one less than would wrap around.
DEPTHS = tuple((1 << (bits - 15)) - 1 for bits in WIDTHS)
CORNERS = np.array([-128, -127, -1, 0, 1, 127], np.int8)


@pytest.fixture(scope="module", params=[PACKED, SPLIT], ids=["packed", "split"])
def macs(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Technologies that share a model: those with one multiplier a pair, those with two."""
    return request.param


@pytest.fixture(scope="module")
def check(macs: tuple[str, ...]) -> MacCheck:
    # One width of a plain accumulator is like another, but for the last bit of an odd one.
    widths = WIDTHS if macs == PACKED else WIDTHS[-2:]
    return MacCheck(macs, cache_folder("verilator"), widths)


def operands(rng: np.random.Generator, depth: int, style: str) -> np.ndarray:
    """int8 (depth, 3): x0, x1, w."""
    if style == "largest":
        return np.full((depth, 3), -128, np.int8)
    if style == "opposed":
        return np.tile(np.array([-128, 127, -128], np.int8), (depth, 1))
    if style == "alternating":
        steps = np.full((depth, 3), -128, np.int8)
        steps[1::2, :2] = 127
        return steps
    if style == "corners":
        return rng.choice(CORNERS, (depth, 3))
    if style == "edge":
        # Climb to where the lower field wraps (at either shift), then step to and fro across it.
        steps = np.full((depth, 3), -128, np.int8)
        limit = 1 << int(rng.choice([15, 17]))
        low = 0
        for row in steps:
            row[0] = -128 if low < limit else rng.integers(1, 128)
            row[1] = rng.integers(-128, 128)
            low += int(row[0]) * int(row[2])
        return steps
    return rng.integers(-128, 128, (depth, 3)).astype(np.int8)


STYLES = ("largest", "opposed", "alternating", "corners", "edge", "uniform")


def columns(rng: np.random.Generator, depths: list[int]) -> list[np.ndarray]:
    return [operands(rng, depth, STYLES[n % len(STYLES)]) for n, depth in enumerate(depths)]


def operations(
    rng: np.random.Generator, parts: list[np.ndarray], invalid_permille: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Operands and flags of the columns, with invalid operations of any content in between."""
    steps = np.concatenate(parts)
    flags = np.full(len(steps), VALID, np.uint8)
    ends = np.cumsum([len(part) for part in parts])
    flags[ends - 1] |= LAST
    flags[np.concatenate([[0], ends[:-1]])] |= LOAD
    slots = np.flatnonzero(rng.random(len(steps)) < invalid_permille / 1000)
    steps = np.insert(steps, slots, rng.integers(-128, 128, (len(slots), 3)), axis=0)
    flags = np.insert(flags, slots, rng.choice([0, LOAD], len(slots)).astype(np.uint8))
    return steps[:, :2], steps[:, 2], flags


def expected(parts: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    wide = [part.astype(np.int64) for part in parts]
    low, high = (np.array([(p[:, lane] * p[:, 2]).sum() for p in wide]) for lane in (0, 1))
    return low, high


def test_every_product_is_exact(check: MacCheck, macs: tuple[str, ...]):
    # A load and a capture in every cycle: a latency off by one shows as a wrong product.
    assert check.products(lanes=macs == SPLIT) == (1 << 16 if macs == SPLIT else 1 << 24)


@pytest.mark.parametrize(
    ("stall", "hold", "invalid"), [(0, 0, 0), (300, 0, 200), (0, 700, 300), (500, 500, 500)]
)
def test_adversarial_sums_are_exact_at_every_width(
    check: MacCheck, stall: int, hold: int, invalid: int, rng: np.random.Generator, seed: int
):
    for bits, most in zip(WIDTHS, DEPTHS, strict=True):
        depths = [most] * len(STYLES) + [1] * 12 + rng.integers(1, most + 1, 12).tolist()
        depths += [2] * len(STYLES)
        parts = columns(rng, depths)
        x, w, flags = operations(rng, parts, invalid)
        low, high = check.columns(
            x, w, flags, stall_permille=stall, hold_permille=hold, seed=seed % 2**32
        )
        exact_low, exact_high = expected(parts)
        # A wider accumulator holds what a narrower one does.
        for column, (mac, wide) in enumerate(check.instances):
            if wide >= bits:
                np.testing.assert_array_equal(low[:, column], exact_low, f"low, {mac} {wide}")
                np.testing.assert_array_equal(high[:, column], exact_high, f"high, {mac} {wide}")
        assert exact_low[0] == exact_high[0] == most << 14


def test_the_stimulus_needs_the_wrap_counter(rng: np.random.Generator):
    parts = columns(rng, [DEPTHS[1]] * len(STYLES))
    for shift in (packed.LEAST_SHIFT, 18):
        wrong = 0
        for part in parts:
            steps = [(x1, x0, w) for x0, x1, w in part.tolist()]
            exact = tuple(int(side[0]) for side in expected([part]))
            assert packed.accumulate(steps, shift) == exact
            wrong += plain_sums(steps, shift) != exact
        assert wrong >= 2  # at least the largest and the opposed operands


def test_sums_equal_the_golden_packed_model(check: MacCheck, rng: np.random.Generator):
    parts = [rng.integers(-128, 128, (DEPTHS[-1], 3)).astype(np.int8) for _ in range(8)]
    low, high = check.columns(*operations(rng, parts, 0))
    steps = np.stack(parts)
    for column, (mac, bits) in enumerate(check.instances):
        if bits < WIDTHS[-1]:
            continue
        shift = getattr(MACS[mac], "shift", packed.LEAST_SHIFT)
        golden = packed.accumulate_batch(steps[..., 1], steps[..., 0], steps[..., 2], shift)
        np.testing.assert_array_equal(low[:, column], golden[0], mac)
        np.testing.assert_array_equal(high[:, column], golden[1], mac)


@pytest.mark.parametrize("mac", PACKED)
@pytest.mark.parametrize("k_tile", [1 << n for n in range(4, 13)])
def test_widths_hold_a_whole_tile(mac: str, k_tile: int):
    shift = MACS[mac].shift
    acc_bits = 16 + (k_tile - 1).bit_length()
    wide, wraps = packed_bits(acc_bits, shift)
    assert max_depth(shift, wide, wraps) >= k_tile
    assert wraps >= packed.counter_bits(k_tile, shift)
    assert wide <= {"dsp48e1": 48, "dsp48e2": 48, "gowin": 54}.get(mac, wide)


def test_registries_agree():
    assert tuple(MACS) == tuple(MAC_KINDS), "every golden record has a class, in the same order"
    for name, mac in MACS.items():
        assert mac.kind is MAC_KINDS[name], name
    suited = {name: [f.name for f in FAMILIES.values() if name in f.macs] for name in MACS}
    assert [name for name, families in suited.items() if not families] == [], "suits no family"
    named = {mac for family in FAMILIES.values() for mac in family.macs}
    assert named <= set(MACS), "a family's record names a MAC that is none"
    # A vendor's primitive has a twin, and suits the families that have the primitive.
    assert {name for name in MACS if len(suited[name]) == 1} == set(PRIMITIVES)
