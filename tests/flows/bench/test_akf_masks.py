"""Masks of the fusion bench and the least bytes that any format of them needs."""

import numpy as np
import pytest

from flows.bench.akf_masks import least_bytes, least_stored
from flows.compress.masks import MASKS, mask_of, patchwork
from golden.errors import BadInput
from golden.formats import KERNELS
from tests.golden.plans import ALL

STRUCTURES = [name for name in MASKS if name != "mixed"]


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_no_format_stores_less(kind, sparsity, fixed_rng):
    mask = mask_of(kind, 128, sparsity, fixed_rng)
    least = least_bytes(kind, mask)
    assert mask.sum() <= least
    weights = mask.astype(np.int8)
    for name in ALL.kernels:
        kernel = KERNELS[name].configured(ALL)
        if kernel.accepts(weights):
            index, values = kernel.encode(weights)
            assert least <= 8 * len(index) + len(values), name


def test_least_bytes_of_small_masks():
    one = np.zeros((4, 4), bool)
    one[2, 1] = True
    # 16 places: 4 bits.  In runs of four: 4 columns, then 4 places.
    assert least_bytes("random", one) == pytest.approx(1.5)
    assert least_bytes("2:4", one) == pytest.approx(1.5)
    assert least_bytes("banded", one) == 1
    two = np.zeros((4, 1), bool)
    two[:2] = True
    # One run that holds two: six ways.
    assert least_bytes("2:4", two) == pytest.approx(2 + np.log2(6) / 8)
    tiles = np.zeros((16, 16), bool)
    tiles[:8, 8:] = True
    assert least_bytes("block 8x8", tiles) == pytest.approx(64 + 2 / 8)
    with pytest.raises(BadInput, match=r"mask: must be one of random, .*, got 'mixed'"):
        least_bytes("mixed", one)


def test_clusters_take_fewer_bits_than_scattered_non_zeros(fixed_rng):
    mask = mask_of("clustered", 128, 0.9, fixed_rng)
    assert least_bytes("clustered", mask) < least_bytes("random", mask)


def test_a_patchwork_is_the_mixed_mask():
    mask = mask_of("mixed", 128, 0.7, np.random.default_rng(3))
    patches = patchwork(128, 0.7, np.random.default_rng(3))
    assert len(patches) == 64
    assert len({kind for _, _, kind, _ in patches}) >= 4
    for rows, columns, _, patch in patches:
        assert np.array_equal(mask[rows, columns], patch)


def test_columns_of_their_own_variants_are_no_dearer_than_one_for_all(fixed_rng):
    weights = mask_of("mixed", 128, 0.7, fixed_rng).astype(np.int8)
    mine = least_stored(ALL, weights, 64, 1.0)
    for name in ("bitmap", "runlength"):
        kernel = KERNELS[name].configured(ALL)
        floor = ALL.group * ALL.drain_cycles
        cycles = stored = 0
        for low in (0, 64):
            tile = weights[low : low + 64]
            index, values = kernel.encode(tile)
            cycles += int(np.maximum(kernel.column_cycles(tile != 0), floor).sum())
            stored += 8 * len(index) + len(values)
        assert mine <= cycles * stored, name
