"""``jepakit explain``: one component, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from jepakit.cli import completion
from jepakit.cli.options import PluginsOption, PluginsRecipeOption

if TYPE_CHECKING:
    from rich.console import RenderableType

    from jepakit.registry import Component


def command(
    slot: Annotated[str, typer.Argument(metavar="SLOT", help="Such as encoder.", show_default=False, autocompletion=completion.slots)],
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="Such as vit. Without it, list the slot's kinds.",
            show_default=False,
            autocompletion=completion.kinds,
        ),
    ] = None,
    plugins: PluginsOption = None,
    recipe: PluginsRecipeOption = None,
) -> None:
    """Explain a component: its fields with type, default and meaning, and the paper it comes from."""
    from jepakit import registry
    from jepakit.cli.output import emit
    from jepakit.cli.plugins import load_all, load_needed

    load = load_needed if kind else load_all
    load(plugins, recipe)
    if kind is None:
        from jepakit.cli.list import listed

        kinds = registry.components(slot)  # refuses an unknown slot
        emit(
            f"{slot}: {registry.SLOTS[slot].description}",
            listed(kinds),
            f"for the fields of one kind:  jepakit explain {slot} {kinds[0].kind}",
        )
        return
    emit(*_explanation(registry.component(slot, kind)))


def _explanation(component: Component) -> Iterator[RenderableType]:
    from rich.text import Text

    from jepakit.cli.output import place, prose
    from jepakit.registry import CONTEXT, SLOTS

    slot = SLOTS[component.slot]
    yield Text(f"{component.slot} {component.kind}", style="bold")
    yield from filter(None, (prose(component.summary), component.description and "\n" + prose(component.description)))
    if component.source:
        yield f"\nSource: {prose(component.source)}"
    yield f"\nDefined at {place(component.place)}"
    if component.cls.__module__.startswith("jepakit."):
        yield f"In Python: from {component.cls.__module__} import {component.cls.__name__}"
    if component.missing:
        yield f"Not installed: {component.missing}"
    every = list(facts(component))
    yield from _fields("Fields", [fact for fact in every if not fact.common])
    yield from _fields(f"Fields of every {slot.name}", [fact for fact in every if fact.common])
    if component.context:
        yield Text("\nSupplied by jepakit", style="bold")
        yield from (f"  {name}: {CONTEXT[name]}" for name in component.context)


class Fact(NamedTuple):
    """What is known of a field."""

    name: str
    value: str  #: what it may be, in words
    default: str
    meaning: str
    common: bool  #: whether every kind of the slot has it


def facts(component: Component) -> Iterator[Fact]:
    """The fields of a component: first its own, then those that its slot adds."""
    from jepakit.cli.output import prose
    from jepakit.recipe.words import Vocabulary
    from jepakit.registry import SLOTS

    schema = component.fields.model_json_schema()
    common = SLOTS[component.slot].fields.model_fields
    for name in sorted((name for name in component.fields.model_fields if name != "kind"), key=common.__contains__):
        field = schema["properties"][name]
        default = f"default {json.dumps(field['default'], ensure_ascii=False)}" if "default" in field else "a default of its own"
        default = "required" if name in schema.get("required", ()) else default
        yield Fact(name, Vocabulary(schema).describe(field), default, prose(field.get("description", "")), name in common)


def _fields(heading: str, found: Sequence[Fact]) -> Iterator[RenderableType]:
    from rich.text import Text

    from jepakit.cli.output import indented

    if found:
        yield Text(f"\n{heading}", style="bold")
    for fact in found:
        yield Text.assemble("  ", (fact.name, "cyan"), f": {fact.value}; {fact.default}")
        if fact.meaning:
            yield indented(fact.meaning, 6)
