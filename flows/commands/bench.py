"""``sparsefuse bench``: reproduce one published table."""

import difflib
from pathlib import Path
from typing import Annotated

import typer

from flows.bench import BENCHES
from flows.files import write_json
from flows.terminal import print_paths, print_table, progress_line
from golden.errors import BadInput, CheckFailed

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def bench(
        name: Annotated[str, typer.Argument(help=f"Name of a table: {', '.join(BENCHES)}.")],
        report: Annotated[
            Path | None, typer.Option(help="JSON report to write; none by default.")
        ] = None,
    ) -> None:
        """Run a benchmark, print its table, and fail when a bar is missed."""
        if name not in BENCHES:
            near = difflib.get_close_matches(name, BENCHES, n=1, cutoff=0)[0]
            raise BadInput(f"bench: must be one of {', '.join(BENCHES)}, got {name!r}; try {near}")
        with progress_line() as progress:
            result = BENCHES[name](progress)
        for table in (result, *result.get("more", ())):
            print_table(table["title"], table["header"], table["rows"])
        bars = [
            (
                bar["name"],
                f"{bar['value']:.4g}",
                f"{'<=' if bar['at_most'] else '>='} {bar['bar']:g}",
                "met" if bar["met"] else "MISSED",
            )
            for bar in result["bars"]
        ]
        print_table("Bars", ("figure", "measured", "bar", ""), bars)
        print_paths(result.get("paths", {}))
        if report is not None:
            hidden = ("title", "header", "rows", "more", "paths")
            write_json(report, {k: v for k, v in result.items() if k not in hidden})
        missed = [bar["name"] for bar in result["bars"] if not bar["met"]]
        if missed:
            raise CheckFailed(f"bench {name}: bar missed: {'; '.join(missed)}")
