"""``jepakit run``: train a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli.importing import importing
from jepakit.cli.options import RecipeArg, SeedOption, SetOption


def command(
    recipe: RecipeArg,
    overrides: SetOption = None,
    seed: SeedOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="The run's folder, new or empty. Default: runs/<name>/<id>.", show_default=False),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings and the result.")] = False,
) -> None:
    """Train a recipe and print the result."""
    with importing():
        from jepakit.cli.result import tell
        from jepakit.machine.group import is_first
        from jepakit.training.run import run

    result = run(recipe, overrides=overrides or (), seed=seed, out=out, quiet=quiet)
    if is_first():
        tell(result)
