"""``jepakit show``: a resolved recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from jepakit.cli.options import RecipeArg, SeedOption, SetOption


def command(
    recipe: RecipeArg,
    overrides: SetOption = None,
    seed: SeedOption = None,
    origin: Annotated[bool, typer.Option("--origin", help="Name the file and line of each value.")] = False,
) -> None:
    """Show the resolved recipe: parents merged, overrides applied, every default written out."""
    from rich.syntax import Syntax

    from jepakit.cli.output import emit, to_terminal
    from jepakit.recipe import dump, load_recipe

    text = dump(load_recipe(recipe, overrides or (), seed), origins=origin)
    emit(Syntax(text, "yaml", theme="ansi_dark", background_color="default", word_wrap=True) if to_terminal() else text)
