"""Plug-ins for the verbs that show what there is to choose from."""

from __future__ import annotations

from collections.abc import Sequence


def load_all(plugins: Sequence[str] | None, recipe: str | None) -> None:
    """Import what installed packages offer, the plug-ins named, and those of a recipe.

    Raises:
        UserError: A plug-in cannot be found or clashes with another, or the recipe is wrong.
    """
    from jepakit.errors import UserError
    from jepakit.recipe import load_recipe
    from jepakit.registry.plugins import load_entry_points, load_plugins

    load_entry_points()
    entries = [*(plugins or ()), *(load_recipe(recipe).plugins if recipe else ())]
    for found in load_plugins(entries):
        if isinstance(found, UserError):
            raise found
