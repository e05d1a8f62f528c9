"""``sparsefuse bench``: reproduce one published table."""

import difflib
import inspect
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
        name: Annotated[str, typer.Argument(help=f"One of: {', '.join(BENCHES)}.")],
        count: Annotated[
            int | None, typer.Option(help="Mutants to try, for `mutants` alone; 100 by default.")
        ] = None,
        block: Annotated[
            str | None, typer.Option(help="Module to change, for `mutants` alone; any by default.")
        ] = None,
        report: Annotated[
            Path | None, typer.Option(help="JSON report to write; none by default.")
        ] = None,
    ) -> None:
        """Run a benchmark, print its table, and fail when a bar is missed."""
        if name not in BENCHES:
            near = difflib.get_close_matches(name, BENCHES, n=1, cutoff=0)[0]
            raise BadInput(f"bench: must be one of {', '.join(BENCHES)}, got {name!r}; try {near}")
        options = {k: v for k, v in {"count": count, "block": block}.items() if v is not None}
        for option in options:
            if option not in inspect.signature(BENCHES[name]).parameters:
                raise BadInput(
                    f"bench {name}: --{option}: must not be given, it has no such option"
                )
        with progress_line() as progress:
            result = BENCHES[name](progress, **options)
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
