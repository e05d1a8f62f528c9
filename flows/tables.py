"""Performance tables that the cycle model computes, each computed once and kept on disk.

A table follows from the configuration and from the models' own source: it is kept under the hash
of both.  A file that is broken is computed anew; where nothing can be written, nothing is kept.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path

import golden
from flows.cache import cache_folder
from flows.files import write_text
from golden.errors import BadInput
from golden.formats import STORED
from golden.planner.model_table import computed_table
from golden.selector.table import PerformanceTable, load_table
from golden.shape import ArrayShape

__all__ = ["kept_table"]


@cache
def _models() -> bytes:
    """Hash of what computes a table."""
    digest = hashlib.sha256(version("numpy").encode())
    root = Path(str(golden.__file__)).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"\0{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.digest()


@lru_cache(maxsize=8)
def kept_table(
    shape: ArrayShape,
    config_hash: str,
    block: tuple[int, int] | None = None,
    kernels: Sequence[str] = STORED,
) -> PerformanceTable:
    """The table of `golden.planner.model_table.computed_table`, from disk where it is there.

    Args:
        shape, config_hash, kernels: as for `computed_table`; ``kernels`` a tuple.
        block: depth and columns of the one block shape to measure; by default those of plans.
    """
    digest = hashlib.sha256(_models())
    digest.update(repr((shape, config_hash, block, tuple(kernels))).encode())
    path = cache_folder("tables") / f"{digest.hexdigest()[:32]}.json"
    if path.is_file():
        with suppress(BadInput):
            return load_table(path, config_hash)
    shapes = None if block is None else [block]
    table = computed_table(shape, config_hash, shapes, kernels=kernels)
    with suppress(OSError, BadInput):
        write_text(path, table.model_dump_json())
    return table
