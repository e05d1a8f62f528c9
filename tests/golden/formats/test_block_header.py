"""Block header: layout, round trip, limits."""

import numpy as np
import pytest

from golden.formats.block_header import HEADER_FIELDS, BlockHeader

COUNTS = ("columns", "depth")


def test_the_documented_word():
    header = BlockHeader(
        kernel=2, columns=3, depth=0x1000, first=True, tile_end=True, segment_end=True, job_end=True
    )
    assert header.pack() == 0x8000_0FFF_0002_03D2
    assert BlockHeader(kernel=1, columns=1, depth=1, tile_end=False).pack() == 0x8000 << 48 | 0x201
    plain = BlockHeader(kernel=1, columns=1, depth=1, tile_end=False, exact=False, weight=1)
    assert plain.pack() == 1 << 48 | 1


def test_fields_do_not_overlap_and_fit_a_word():
    used = 0
    for _, bits, low in HEADER_FIELDS:
        mask = ((1 << bits) - 1) << low
        assert used & mask == 0
        used |= mask
    assert used < 1 << 64


def test_round_trip(rng: np.random.Generator):
    for _ in range(300):
        fields = {
            name: int(rng.integers(1 << bits)) + (name in COUNTS) for name, bits, _ in HEADER_FIELDS
        }
        header = BlockHeader(**fields)
        again = BlockHeader.unpack(header.pack())
        assert again == header
        assert BlockHeader.unpack(np.uint64(header.pack())) == header


@pytest.mark.parametrize(("name", "bits"), [(name, bits) for name, bits, _ in HEADER_FIELDS])
def test_limits(name: str, bits: int):
    fields = {"kernel": 1, "columns": 1, "depth": 1}
    least = int(name in COUNTS)
    most = least + (1 << bits) - 1
    word = BlockHeader(**fields | {name: most}).pack()
    assert getattr(BlockHeader.unpack(word), name) == most
    for value in (most + 1, least - 1):
        with pytest.raises(ValueError, match=f"{name} must be {least} to {most}, got {value}"):
            BlockHeader(**fields | {name: value}).pack()
