"""``sparsefuse models``: which real models there are, and getting one."""

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from flows.models.fetch import cached, fetch
from flows.models.registry import REGISTRY, lookup

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    models = typer.Typer(no_args_is_help=True, help="List and fetch real models.")
    app.add_typer(models, name="models")

    @models.command("list")
    def list_models() -> None:
        """List the models, one a line, with size, state and license."""
        width = max(map(len, REGISTRY))
        for source in REGISTRY.values():
            state = "cached" if cached(source) else "not fetched"
            size = f"{source.size_bytes / 1e6:.1f} MB"
            typer.echo(f"{source.name:{width}}  {size:>9}  {state:11}  {source.license}")

    @models.command("fetch")
    def fetch_model(name: Annotated[str, typer.Argument(help="Name of the model.")]) -> None:
        """Download a model once, verify it and print where it is."""
        source = lookup(name)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
        )
        # The bar goes to the error stream, so that the path alone can be captured.
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(source.name, total=source.size_bytes)
            path = fetch(
                source, progress=lambda done, total: bar.update(task, completed=done, total=total)
            )
        typer.echo(str(path))
