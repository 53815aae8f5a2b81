"""The arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from jepakit.cli import completion
from jepakit.errors import UserError


def _folders(paths: list[Path] | None) -> list[Path] | None:
    if missing := [str(path) for path in paths or () if not path.is_dir()]:
        raise UserError(f"--recorded: there is no folder {', '.join(missing)}")
    return paths


RecipeArg = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe's path, or the name of one that ships with jepakit.",
        show_default=False,
        autocompletion=completion.recipes,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a value: --set encoder.dim=128. The value is YAML. May be repeated."),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", help="Short for --set seed=N.", show_default=False),
]
PluginsOption = Annotated[
    list[str] | None,
    typer.Option("--plugins", metavar="FILE", help="A plug-in, a file or a module, to include. May be repeated."),
]
PluginsRecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", metavar="RECIPE", help="A recipe whose plug-ins to include.", show_default=False),
]
RunsArg = Annotated[
    list[Path],
    typer.Argument(metavar="RUNS…", help="Runs' folders, records of runs, or folders that hold either.", show_default=False),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Run the code that the run's recipe names: plug-ins, which its folder may have brought along."),
]
RecordedOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--recorded",
        metavar="DIR",
        callback=_folders,
        help="A folder of records: what it has is not run. May be repeated.",
        show_default=False,
    ),
]
