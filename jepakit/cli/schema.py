"""``jepakit schema``: the JSON schema of recipes, for editors."""

from __future__ import annotations

import typer

from jepakit.cli.options import PluginsOption, PluginsRecipeOption


def command(plugins: PluginsOption = None, recipe: PluginsRecipeOption = None) -> None:
    """Print the JSON schema of recipes. With it, an editor completes and checks them."""
    import json

    from jepakit.cli.plugins import load_all
    from jepakit.recipe import recipe_schema

    load_all(plugins, recipe)
    typer.echo(json.dumps(recipe_schema(), indent=2, ensure_ascii=False))
