"""Arrays of studies that ask what engines do whose ports do not bind.

Headlines are measured on presets as shipped, see `flows.bench.presets`.
"""

from collections.abc import Sequence

from golden.formats import STORED
from rtl_gen.config import Derived, derive, parse

__all__ = ["akf_config", "kernels_config", "sparse_config"]


def sparse_config(
    engines: int, tile_k: int = 512, kernels: Sequence[str] = ("dense", "bitmap")
) -> Derived:
    """V = 16 and ports that do not bind, so that a figure is the engines' own."""
    return derive(
        parse(
            {
                "name": f"sparsity_{engines}",
                "target": {"device": "xczu9eg", "clock_mhz": 250},
                "schedule": {
                    "unroll": {"m": 16, "n": engines, "k": 1},
                    "tile": {"m": 16, "n": 32 * engines, "k": tile_k},
                    "kernels": list(kernels),
                    "group": 4,
                    "buffers": {"activation_tiles": 4, "index_words": 512, "value_words": 1024},
                },
                "interface": {"top": "array", "data_bits": 512},
            },
            "array of wide ports",
        )
    )


def kernels_config() -> Derived:
    """A small array with every kernel and ports that do not bind."""
    return derive(
        parse(
            {
                "name": "kernels",
                "target": {"device": "generic", "clock_mhz": 100},
                "schedule": {
                    "unroll": {"m": 4, "n": 4, "k": 1},
                    "tile": {"m": 4, "n": 64, "k": 64},
                    "kernels": list(STORED),
                    "group": 2,
                    "buffers": {"activation_tiles": 4, "index_words": 256, "value_words": 256},
                },
                "interface": {"top": "array", "data_bits": 256},
            },
            "array of every kernel",
        )
    )


def akf_config(engines: int = 64) -> Derived:
    """The array of `sparse_config` with every kernel, and gaps of six bits."""
    document = sparse_config(engines, kernels=STORED).config.model_dump(mode="json")
    document["schedule"]["formats"]["gap_bits"] = 6
    return derive(parse({**document, "name": f"akf_{engines}"}, "array of every kernel"))
