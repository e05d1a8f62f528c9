"""``sparsefuse generate``: Verilog and all that goes with it."""

from pathlib import Path
from typing import Annotated

import typer

from flows.generate import generate as write_design
from flows.terminal import print_paths, print_table
from rtl_gen.config import Config, derive, load

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def generate(
        config: Annotated[str, typer.Argument(help="Configuration file or preset name.")],
        out: Annotated[Path, typer.Option(help="Folder to write.")],
    ) -> None:
        """Write Verilog, manifest, constraints and register map of a configuration."""
        design = derive(load(config, Config))
        folder = write_design(design, out)
        size, rows = design.figures()
        rows += [("configuration", design.config_hash[:16])]
        print_table(f"{design.name}: {size}", ("", ""), rows)
        print_paths({"written to": folder})
