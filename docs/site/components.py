"""The reference of one slot: every built-in kind with its fields, from the registry."""

from __future__ import annotations

import re
from collections.abc import Iterator

from docs.site.markdown import fields, prose, table
from docs.site.markdown import page as blocks
from jepakit.cli.explain import Fact, facts
from jepakit.registry import CONTEXT, SLOTS, Component, components

HEADINGS = ("field", "value", "default", "meaning")


def page(slot: str) -> str:
    """The page of a slot."""
    kinds = [known for known in components(slot) if known.cls.__module__.startswith("jepakit.")]
    return blocks(
        f"# {slot.capitalize()}",
        f"The slot `{slot}`: {prose(SLOTS[slot].description)}. What a class of it must do: [interfaces](../components.md#interfaces).",
        table(("kind", ""), [(f"[`{known.kind}`](#{known.kind})", prose(known.summary)) for known in kinds]),
        *(block for known in kinds for block in _kind(known)),
    )


def _kind(known: Component) -> Iterator[str]:
    yield f"## {known.kind}"
    yield prose(known.summary)
    yield prose(known.description)
    if known.source:
        yield f"*Source:* {prose(known.source)}"
    yield fields(HEADINGS, [_row(fact) for fact in facts(known)]) or "It has no fields."
    yield "    " + f"from {known.cls.__module__} import {known.cls.__name__}"
    if known.context:
        yield "jepakit supplies: " + "; ".join(f"`{name}`, {prose(CONTEXT[name].split(': ', 1)[1])}" for name in known.context) + "."
    requires: dict[str, str] = getattr(known.cls, "requires", {})
    if requires:
        yield "To install what it needs: " + ", ".join(f"`{command}`" for command in dict.fromkeys(requires.values())) + "."


def _row(fact: Fact) -> tuple[str, ...]:
    default = re.sub("^default (.*)$", r"`\1`", fact.default)
    return f"`{fact.name}`", prose(fact.value), default, prose(fact.meaning)
