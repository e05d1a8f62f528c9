"""What raw blocks must be before they are looked at."""

import numpy as np

from ..errors import BadInput

__all__ = ["check_block"]


def check_block(what: str, block: np.ndarray, k_tile: int, columns: int) -> None:
    """Refuse what is not an int8 block of 1 to ``k_tile`` rows and 1 to ``columns`` columns.

    Args:
        what: who asks, the start of the message.
        block: (depth, columns).
        k_tile, columns: most of each.

    Raises:
        BadInput: type, dimensions or size are wrong.
    """
    if block.dtype != np.int8 or block.ndim != 2:
        raise BadInput(
            f"{what}: block: must be int8 of two dimensions, got {block.dtype} of shape "
            f"{block.shape}"
        )
    sizes = zip(("rows", "columns"), block.shape, (k_tile, columns), strict=True)
    for name, size, limit in sizes:
        if not 1 <= size <= limit:
            raise BadInput(f"{what}: block: must have 1 to {limit} {name}, got {size}")
