"""Random run-time operands and small arrays that take them, for tests of every level."""

import numpy as np

from rtl_gen.config import Derived, derive, parse

__all__ = ["BUILT", "operand_config", "random_operand"]


def operand_config(
    selector: str = "exact", data_bits: int = 64, engines: int = 4, group: int = 2, **schedule
) -> Derived:
    """A small array with a feeder; further fields of the schedule by name."""
    intent = {
        "name": "feeding",
        "target": {"device": "lfe5u-85f", "mac": "packed"},
        "schedule": {
            "unroll": {"m": 4, "n": engines},
            "tile": {"m": 4, "n": 8 * engines, "k": 64},
            "kernels": ["raw", "dense"],
            "selector": selector,
            "group": group,
            "buffers": {"index_words": 128, "value_words": 128},
            **schedule,
        },
        "interface": {"data_bits": data_bits},
    }
    return derive(parse(intent, "test"))


BUILT = {
    "exact": operand_config(kernels=["dense", "raw"]),
    # Beats of four words, groups that are no power of two, headers with weights.
    "lossy": operand_config("lossy", 256, 6, 3, kernels=["raw", "bitmap", "dense"], fusion=True),
}
"""Arrays that tests run on the RTL, so that each is built once."""


def random_operand(rng: np.random.Generator, depth: int, outputs: int) -> np.ndarray:
    """Int8 of any density and magnitude, sometimes empty, full or at the ends of the range."""
    kind = rng.integers(0, 10)
    if kind == 0:
        values = rng.choice(np.array([-128, -127, 0, 127]), (depth, outputs))
    else:
        values = rng.integers(-128, 128, (depth, outputs)) >> rng.integers(0, 8)
        values[rng.random((depth, outputs)) >= rng.choice([0, 0.02, 0.2, 0.6, 1])] = 0
    return values.astype(np.int8)
