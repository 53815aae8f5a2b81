"""The arguments and options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from jepakit.cli import completion
from jepakit.errors import UserError


def episodes_seed(help: str) -> Any:
    """The option for the seed of episodes that a verb plays; ``help`` says of what, and its default."""
    return typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help=help, show_default=False)


def _folders(paths: list[Path] | None) -> list[Path] | None:
    if missing := [str(path) for path in paths or () if not path.is_dir()]:
        raise UserError(f"--recorded: there is no folder {', '.join(missing)}")
    return paths


RunArg = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A run's folder.", show_default=False, autocompletion=completion.runs),
]
RecipeArg = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="Path of a recipe, or name of a shipped one.",
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
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change where the agent acts: env.… or distractions=[…]. May be repeated."),
]
BestOption = Annotated[bool, typer.Option("--best", help="Use the best checkpoint, not the newest.")]
PluginsOption = Annotated[
    list[str] | None,
    typer.Option("--plugins", metavar="FILE", help="Include this plug-in: a file or a module. May be repeated."),
]
PluginsRecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", metavar="RECIPE", help="Include this recipe's plug-ins.", show_default=False),
]
RunsArg = Annotated[
    list[Path],
    typer.Argument(metavar="RUNS…", help="Run folders, records, or folders that contain either.", show_default=False),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust", help="Allow the code that the run's recipe names to run: plug-ins, an env's module."),
]
RecordedOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--recorded",
        metavar="DIR",
        callback=_folders,
        help="Count the runs recorded in this folder as finished. May be repeated.",
        show_default=False,
    ),
]
