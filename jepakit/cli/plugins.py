"""Plug-ins for the verbs that list, explain or check components."""

from __future__ import annotations

from collections.abc import Sequence


def load_all(plugins: Sequence[str] | None, recipe: str | None) -> None:
    """Import the components of installed packages, the named plug-ins, and a recipe's plug-ins.

    Raises:
        UserError: A plug-in cannot be found, two register one name, or the recipe is wrong.
    """
    from jepakit.errors import UserError
    from jepakit.recipe import load_recipe
    from jepakit.registry.plugins import load_entry_points, load_plugins

    load_entry_points()
    entries = [*(plugins or ()), *(load_recipe(recipe).plugins if recipe else ())]
    for found in load_plugins(entries):
        if isinstance(found, UserError):
            raise found
