"""What commands show: one progress line on the error stream, tables on the output."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path
from textwrap import TextWrapper

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from flows.interrupts import check

__all__ = ["print_paths", "print_table", "progress_line", "table_lines"]

_TALLEST = 3  # lines of a row's first cell beside the others
_GAP = "  "  # between columns, and before what belongs to the line above


@contextmanager
def progress_line() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function (what, done, total) that moves a progress bar, one bar per ``what``."""
    console = Console(stderr=True)
    if not console.is_terminal:
        # A log gets what the command says at its end, and nothing else.
        yield lambda *_: check()
        return
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        tasks: dict[str, TaskID] = {}
        totals: dict[str, int] = {}
        current = ""

        def update(what: str, done: int, total: int) -> None:
            nonlocal current
            check()
            if current and current != what:
                bar.update(tasks[current], completed=totals[current])
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            current, totals[what] = what, total
            bar.update(tasks[what], completed=done, total=total)

        yield update
        if current:
            bar.update(tasks[current], completed=totals[current])


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table as `table_lines` lays it out for the terminal's width, its title in italics."""
    console = Console()
    console.print(Text("\n".join(_wrapped(title, console.width)), "italic"), soft_wrap=True)
    for line in table_lines(header, rows, console.width):
        console.print(Text(line), soft_wrap=True)
    console.print()


def print_paths(paths: Mapping[str, str | Path]) -> None:
    """Print each path behind its name on a line of its own, which nothing breaks."""
    console = Console()
    for name, path in paths.items():
        console.print(Text(f"{name}: {path}"), soft_wrap=True)


def table_lines(header: Sequence[str], rows: Sequence[Sequence[object]], width: int) -> list[str]:
    """A table in lines of at most ``width`` characters, longer only where a single word is.

    No word is ever broken. Columns wrap at blanks; the first is left-aligned, the others
    right-aligned. Where that is not narrow enough, or a first cell would become a tower of words,
    each row's first cell stands on a line of its own above the others; where even these do not
    fit, each cell stands behind its column's name.

    Args:
        header: name of each column; where all are empty there is no such line.
        rows: cells of each row, as many as there are columns; an empty cell is left out where
            cells stand behind names.
        width: of the terminal, in characters.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    whole = _grid(header, cells, width)
    if whole is not None:
        return whole
    lines: list[str] = []
    rest = [row[1:] for row in cells]
    inner = width - len(_GAP)
    columns = _widths([list(header[1:]), *rest], inner)
    if columns is not None:
        lines += _wrapped(header[0], width)
        lines += [_GAP + line for line in _line(header[1:], columns, left=False)]
        lines.append("─" * (len(_GAP) + _total(columns)))
        for row in cells:
            lines += _wrapped(row[0], width)
            lines += [_GAP + line for line in _line(row[1:], columns, left=False)]
        return lines
    for row in cells:
        named = [f"{name}: {cell}" for name, cell in zip(header, row, strict=True) if cell]
        lines += _wrapped(named[0], width, _GAP) if named else []
        lines += [_GAP + line for text in named[1:] for line in _wrapped(text, inner, _GAP)]
    return lines


def _grid(header: Sequence[str], cells: list[list[str]], width: int) -> list[str] | None:
    """The plain table, None where it is too wide or a row's first cell too tall."""
    columns = _widths([list(header), *cells], width)
    if columns is None or any(len(_wrapped(row[0], columns[0])) > _TALLEST for row in cells):
        return None
    lines = []
    if any(header):
        lines += [*_line(header, columns), "─" * _total(columns)]
    for row in cells:
        lines += _line(row, columns)
    return lines


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Lines of at most ``width``, broken at blanks alone, the second and later ones indented."""
    return TextWrapper(
        width=max(width, 1),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    ).wrap(text) or [""]


def _total(columns: Sequence[int]) -> int:
    return sum(columns) + len(_GAP) * (len(columns) - 1)


def _widths(rows: list[list[str]], width: int) -> list[int] | None:
    """Width of each column: the widest give way first, none below its longest word."""
    texts = list(zip(*rows, strict=True))
    least = [
        max(len(word) for text in column for word in (text.split() or [""])) for column in texts
    ]
    columns = [max(len(text) for text in column) for column in texts]
    if _total(least) > width:
        return None
    while _total(columns) > width:
        widest = max(
            (i for i in range(len(columns)) if columns[i] > least[i]), key=lambda i: columns[i]
        )
        columns[widest] -= 1
    return columns


def _line(row: Sequence[str], columns: Sequence[int], *, left: bool = True) -> list[str]:
    """Lines of one row; the first column is left-aligned if ``left``."""
    parts = [_wrapped(cell, size) for cell, size in zip(row, columns, strict=True)]
    lines = []
    for line in zip_longest(*parts, fillvalue=""):
        padded = [text.rjust(size) for text, size in zip(line, columns, strict=True)]
        if left:
            padded[0] = line[0].ljust(columns[0])
        lines.append(_GAP.join(padded).rstrip())
    return lines
