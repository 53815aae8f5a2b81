"""Plug-ins for the verbs that list, explain or check components."""

from __future__ import annotations

import warnings
from collections.abc import Sequence


def load_all(plugins: Sequence[str] | None, recipe: str | None = None) -> list[str]:
    """Import the components of installed packages, the named plug-ins, and a recipe's plug-ins.

    Returns:
        Of each plug-in that cannot be imported, why; a warning has said so.

    Raises:
        UserError: A plug-in cannot be found, two register one name, or the recipe is wrong.
    """
    from jepakit.errors import UserError, shown
    from jepakit.recipe import load_recipe
    from jepakit.registry.plugins import load_entry_points, load_plugins

    load_entry_points()
    entries = [*(plugins or ()), *(load_recipe(recipe).plugins if recipe else ())]
    failures = []
    for found in load_plugins(entries):
        if isinstance(found, UserError):
            raise found
        if found.failure:
            failures.append(f"the plug-in `{shown(found.name, 300)}` cannot be imported: {found.failure}")
    return failures


def load_needed(plugins: Sequence[str] | None, recipe: str | None = None) -> None:
    """The same for a verb that is about one component, which may be a plug-in's.

    Raises:
        UserError: As `load_all`; or a plug-in cannot be imported.
    """
    from jepakit.errors import UserError
    from jepakit.registry.plugins import PluginWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the error says the same
        failures = load_all(plugins, recipe)
    if failures:
        raise UserError("\n".join(failures))
