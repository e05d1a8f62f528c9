"""What commands show: one progress line on the error stream, tables on the output."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from flows.interrupts import check

__all__ = ["print_table", "progress_line"]


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
    """Print a table; the first column is left-aligned, the others right-aligned."""
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    Console().print(table)
