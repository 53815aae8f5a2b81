"""``jepakit list``: the components that a recipe can use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from jepakit.cli import completion
from jepakit.cli.options import PluginsOption, PluginsRecipeOption

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jepakit.registry import Component


def command(
    slot: Annotated[
        str | None,
        typer.Argument(metavar="SLOT", help="Show only this slot, such as encoder.", show_default=False, autocompletion=completion.slots),
    ] = None,
    plugins: PluginsOption = None,
    recipe: PluginsRecipeOption = None,
) -> None:
    """List the components that a recipe can use, including plug-ins."""
    from jepakit import registry
    from jepakit.cli.output import emit
    from jepakit.cli.plugins import load_all

    load_all(plugins, recipe)
    emit(listed(registry.components(slot)))


def listed(components: Iterable[Component]) -> RenderableType:
    """A table with one row per component."""
    from rich.text import Text

    from jepakit.cli.output import UNWRAPPED, columns, place, prose, table

    rows = [(found.slot, found.kind, prose(found.summary) + _missing(found), place(found.place)) for found in components]
    if columns() == UNWRAPPED:
        return table("slot", "kind", "summary", "defined at", rows=rows)
    # the path on a line of its own: a folded path can be neither read nor clicked
    stacked = ((slot, kind, Text.assemble(summary, "\n", (at, "dim"))) for slot, kind, summary, at in rows)
    return table("slot", "kind", "summary", rows=stacked)


def _missing(found: Component) -> str:
    return f" Not installed: {found.missing}" if found.missing else ""
