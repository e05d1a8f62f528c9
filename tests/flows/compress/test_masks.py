"""Synthetic masks: structure and density."""

import numpy as np

from flows.compress.masks import MASKS, mask_of, masked_weights, patchwork


def test_masks_have_their_structure_and_density(rng):
    for kind in MASKS:
        for sparsity in (0.5, 0.9):
            mask = mask_of(kind, 128, sparsity, rng)
            assert mask.shape == (128, 128)
            assert abs(mask.mean() - (1 - sparsity)) < 0.06, kind
    tiles = mask_of("block 8x8", 64, 0.5, rng).reshape(8, 8, 8, 8)
    assert np.isin(tiles.sum(axis=(1, 3)), (0, 64)).all()
    assert mask_of("2:4", 64, 0.5, rng).reshape(16, 4, 64).sum(axis=1).max() == 2


def test_a_patchwork_is_the_mixed_mask():
    mask = mask_of("mixed", 128, 0.7, np.random.default_rng(3))
    patches = patchwork(128, 0.7, np.random.default_rng(3))
    assert len(patches) == 64
    assert len({kind for _, _, kind, _ in patches}) >= 4
    for rows, columns, _, patch in patches:
        assert np.array_equal(mask[rows, columns], patch)


def test_masked_weights_are_zero_where_the_mask_is():
    weights = masked_weights("clustered", 0.75, 64)
    assert weights.dtype == np.int8
    assert np.count_nonzero(weights) == 64 * 64 // 4
    assert np.array_equal(weights, masked_weights("clustered", 0.75, 64))
