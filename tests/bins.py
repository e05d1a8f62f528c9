"""Random draws that go on until they have reached everything they are for."""

from collections.abc import Callable, Iterator

__all__ = ["draws"]

TIMES = 30
"""A draw that fills the last bin once in as many draws as are made at least is missed once in
``e**30`` runs."""


def draws(least: int, filled: Callable[[], bool], most: int = 0) -> Iterator[int]:
    """Numbers of the draws: 0, 1, ... until at least ``least`` are made and ``filled`` is true.

    Args:
        least: number of draws whatever they reach.
        filled: whether every bin has been hit.
        most: number of draws after which a bin that is empty is not bad luck but a defect;
            30 times the least by default.

    Raises:
        AssertionError: a bin stayed empty.
    """
    for number in range(most or TIMES * least):
        if number >= least and filled():
            return
        yield number
    assert filled(), f"a bin stayed empty in {most or TIMES * least} draws"
