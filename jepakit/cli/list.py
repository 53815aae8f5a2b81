"""``jepakit list``: what there is to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from jepakit.cli.options import PluginsOption, PluginsRecipeOption

if TYPE_CHECKING:
    from jepakit.registry import Component


def command(
    slot: Annotated[str | None, typer.Argument(metavar="SLOT", help="One slot only, such as encoder.", show_default=False)] = None,
    plugins: PluginsOption = None,
    recipe: PluginsRecipeOption = None,
) -> None:
    """List the components to choose from, those of plug-ins included."""
    from rich.text import Text

    from jepakit import registry
    from jepakit.cli.output import emit, place, prose, table, to_terminal
    from jepakit.cli.plugins import load_all

    load_all(plugins, recipe)
    rows = [(found.slot, found.kind, prose(found.summary) + _missing(found), place(found.place)) for found in registry.components(slot)]
    if to_terminal():  # one above the other: a path that folds can be neither read nor clicked
        stacked = ((slot, kind, Text.assemble(summary, "\n", (at, "dim"))) for slot, kind, summary, at in rows)
        emit(table("slot", "kind", "summary", rows=stacked))
    else:
        emit(table("slot", "kind", "summary", "defined at", rows=rows))


def _missing(found: Component) -> str:
    return f" Not installed: {found.missing}" if found.missing else ""
