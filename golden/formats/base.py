"""The interface of a block storage format: everything that the rest of the project knows of it.

A kernel is one class.  What hardware, planner, selector, benches and documentation need to know of
it stands on that class; lists, enumerations, sections of the configuration, bench bins and test
parameters are made from the registry (`golden.formats.KERNELS`).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np

from .entries import entries_per_word

__all__ = ["CHUNK", "WORD_BITS", "Figures", "Kernel", "Parameter", "Steps"]

Counts = TypeVar("Counts", int, np.ndarray)

_UNITS = np.array([-1, 1], np.int8)

CHUNK = 16
"""Rows that a decoder hands to the scanner at once: one 16-bit occupancy mask."""

WORD_BITS = 64
"""Width of an index word and of a word of value bytes."""


@dataclass(frozen=True)
class Steps:
    """What a decoder does, cycle by cycle, when nothing holds it back.

    Each array has one entry per decoder step; a step takes one cycle.

    Attributes:
        events: uint8, events that the step hands over (0 with ``push``: a close token).
        push: bool, the step hands something over, so what follows must be ready.
        word: bool, the step consumes an index word.
        last: bool, the step closes a column.
    """

    events: np.ndarray
    push: np.ndarray
    word: np.ndarray
    last: np.ndarray


@dataclass(frozen=True)
class Figures:
    """What each column of a block takes in one kernel; int64 (columns,) each.

    Index entries and value bytes of a block are the sums over its columns.  So are event slots
    and decoder steps, but for formats whose entries pair up across columns (`Kernel.paired`),
    where a word's end may part a pair: there the sums leave out a step now and then.

    Attributes:
        slots: event slots, `Kernel.column_cycles`.
        steps: decoder steps.
        entries: index entries.
        values: value bytes.
        held: bool, whether the format can hold the column.
    """

    slots: np.ndarray
    steps: np.ndarray
    entries: np.ndarray
    values: np.ndarray
    held: np.ndarray

    @property
    def cycles(self) -> np.ndarray:
        """Decoder cycles: the greater of slots and steps."""
        return np.maximum(self.slots, self.steps)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number that a format is built with.

    Attributes:
        field: its name in `golden.shape.ArrayShape`.
        path: where it stands below ``schedule.formats`` in a configuration.
        default: the usual value.
        choices: all allowed values.
        text: what it is, for the configuration's comment.
        unit: of the number.
        effect: what another value changes.
    """

    field: str
    path: tuple[str, ...]
    default: int
    choices: tuple[int, ...]
    text: str
    unit: str
    effect: str


class Kernel(ABC):
    """One block storage format: identity, encoder, decoder, price, and what its decoder takes.

    A subclass is constructed without arguments with its usual parameters, or with one keyword
    for each of ``parameters`` by its field's name.

    Attributes:
        name: in configurations, commands and reports.
        code: in a block header, 1 to 15; hardware depends on it.
        number: in the address of the performance table, 0 to 7; hardware depends on it.
        preference: among kernels of equal cycles and equal bytes the lowest is taken.
        summary: what it is for, in one phrase.
        parameters: numbers that it is built with.
        run_time: meant for operands that exist only at run time; never chosen for weights.
        scanned: a step of the decoder may find several rows, which the scanner takes apart; if
            not, a step finds one row at most.
        carries_values: the index words hold the values as well, and nothing is stored among the
            value bytes.
        takes_words: the decoder takes an index word to itself before its first step.
        stores_zeros: some zeros are stored and cost their cycle.
        clustered: cycles follow the rows that are stored, not the non-zeros.
        counted: the fuse selector's hardware counts what its cycles follow.
        selective: whether some blocks cannot be held.
        paired: entries are taken in pairs, within a word; see `Figures`.
        situations: names of what may happen in its decoder, beyond what happens in all; benches
            must have seen each (`Kernel.seen`).
    """

    name: ClassVar[str]
    code: ClassVar[int]
    number: ClassVar[int]
    preference: ClassVar[int]
    summary: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]] = ()
    run_time: ClassVar[bool] = False
    scanned: ClassVar[bool] = False
    carries_values: ClassVar[bool] = False
    takes_words: ClassVar[bool] = False
    stores_zeros: ClassVar[bool] = False
    clustered: ClassVar[bool] = False
    counted: ClassVar[bool] = True
    selective: ClassVar[bool] = False
    paired: ClassVar[bool] = False
    situations: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def configured(cls, shape: Any) -> "Kernel":
        """Return the format with the parameters that an array was built for."""
        return cls(**{p.field: getattr(shape, p.field) for p in cls.parameters})

    @property
    def entry_bits(self) -> int:
        """Bits of an index entry; 0 where there is no index."""
        return 0

    @property
    def run_rows(self) -> int:
        """Rows that the format looks at together; 1 where rows may move freely."""
        return 1

    def index_words(self, entries: Counts) -> Counts:
        """Index words of a block of so many entries, or of each of several blocks."""
        if not self.entry_bits:
            return 0 * entries
        return -(-entries // entries_per_word(self.entry_bits))

    def most_index_words(self, depth: int) -> int:
        """Index words of one column of ``depth`` rows, without header, at the worst."""
        return self.index_words(self.most_entries(depth))

    def accepts(self, block: np.ndarray) -> bool:
        """Whether the format can hold an int8 block; most hold any."""
        return True

    def trimmed(self, block: np.ndarray) -> np.ndarray:
        """An int8 block without the values that the format can't hold, if there are any."""
        return block

    def refusal(self) -> str:
        """Why a block is refused, to follow "the weights"."""
        return ""

    @abstractmethod
    def most_entries(self, depth: int) -> int:
        """Index entries of one column of ``depth`` rows, at the worst."""

    @abstractmethod
    def encode(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Encode an int8 block.

        Args:
            block: int8, shape (depth, columns), both >= 1.

        Returns:
            index words (uint64, 1-D) and value bytes (int8, 1-D).
        """

    @abstractmethod
    def decode(self, index: np.ndarray, values: np.ndarray, depth: int, columns: int) -> np.ndarray:
        """Inverse of `encode`; returns int8 of shape (depth, columns)."""

    @abstractmethod
    def steps(self, block: np.ndarray) -> Steps:
        """Timing of the decoder on this block, for the cycle model."""

    @abstractmethod
    def figures(self, occupied: np.ndarray) -> Figures:
        """What each column takes.

        Args:
            occupied: bool, shape (depth, columns).
        """

    def column_cycles(self, occupied: np.ndarray) -> np.ndarray:
        """Event slots of each column of a bool (depth, columns), int64 (columns,)."""
        return self.figures(occupied).slots

    def cycles(self, occupied: np.ndarray) -> int:
        """Decoder cycles of a whole block, exactly: the greater of event slots and steps."""
        figures = self.figures(occupied)
        return max(int(figures.slots.sum()), int(figures.steps.sum()))

    def sample(
        self, rng: np.random.Generator, depth: int, columns: int, count: int
    ) -> np.ndarray | None:
        """A random block of ``count`` non-zeros in the structure that the format is meant for.

        They are 1 or -1, so that a block of any depth has sums that an array holds.

        Returns:
            int8 (depth, columns), or None where the format cannot hold so many.
        """
        places = self.order(rng, depth, columns)
        if len(places) < count:
            return None
        flat = np.zeros(depth * columns, np.int8)
        flat[places[:count]] = rng.choice(_UNITS, count)
        return flat.reshape(columns, depth).T.copy()

    def order(self, rng: np.random.Generator, depth: int, columns: int) -> np.ndarray:
        """Places, column by column, in the order in which `sample` fills them."""
        return rng.permutation(depth * columns)

    def seen(self, block: np.ndarray, steps: Steps) -> set[str]:
        """Which of the ``situations`` an int8 block brings about in the decoder."""
        return set()

    def possible(self, k_tile: int) -> Sequence[str]:
        """Those of the ``situations`` that can come about with tiles of ``k_tile`` rows."""
        return self.situations
