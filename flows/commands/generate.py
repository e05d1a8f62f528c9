"""``sparsefuse generate``: Verilog and all that goes with it."""

from pathlib import Path
from typing import Annotated

import typer

from flows.generate import generate as write_design
from flows.terminal import print_paths, print_table
from rtl_gen.config import derive, load

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def generate(
        config: Annotated[str, typer.Argument(help="Configuration file or preset name.")],
        out: Annotated[Path, typer.Option(help="Folder to write.")],
    ) -> None:
        """Write Verilog, manifest, constraints and register map of a configuration."""
        derived = derive(load(config))
        folder = write_design(derived, out)
        shape = derived.shape
        estimate = derived.estimate
        print_table(
            f"{derived.name}: {shape.engines} engines x {shape.lanes} lanes",
            ("", ""),
            [
                ("multipliers (INT8)", shape.multipliers),
                ("kernels", ", ".join(shape.kernels)),
                ("multiplier blocks (estimated)", estimate.dsps),
                ("block RAMs (estimated)", estimate.block_rams),
                ("configuration", derived.config_hash[:16]),
            ],
        )
        print_paths({"written to": folder})
