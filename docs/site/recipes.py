"""The reference of recipes: the fields of each block, and the shipped recipes as they are."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic.fields import FieldInfo

from docs.site import markdown
from docs.site.markdown import page, prose
from jepakit.recipe.schema import BesidesResults, Block, Jepa, Optimizer, Recipe, Replay, Sweep, recipe_schema
from jepakit.recipe.shipped import shipped_recipes
from jepakit.recipe.slots import InSlot
from jepakit.recipe.words import Vocabulary
from jepakit.registry import SLOTS

BLOCKS: dict[str, type[Block]] = {"Recipe": Recipe, "jepa": Jepa, "replay": Replay, "optimizer": Optimizer, "sweep": Sweep}


def fields() -> str:
    """The page of a recipe's fields."""
    schema = recipe_schema()
    return page(
        "# Recipe fields",
        "Every field of a recipe, with what it may be. [Recipes](../guide.md#recipes) explains how to write one. "
        "A field marked ° does not decide results and is no part of a run's id.",
        *(part for name, block in BLOCKS.items() for part in _block(name, block, schema)),
    )


def _block(name: str, block: type[Block], schema: Mapping[str, Any]) -> Iterator[str]:
    yield "## The recipe itself" if block is Recipe else f"## {name}"
    if block is not Recipe:
        yield prose(block.__doc__ or "")
    properties = schema["properties"] if block is Recipe else schema["$defs"][block.__name__]["properties"]
    rows = []
    for field, info in block.model_fields.items():
        mark = "°" if any(isinstance(each, BesidesResults) for each in info.metadata) else ""
        rows.append((f"`{field}`{mark}", _value(field, info, properties[field], schema), _default(info), _meaning(field, info)))
    yield markdown.fields(("field", "value", "default", "meaning"), rows)


def _value(name: str, info: FieldInfo, described: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    slots = list(_slots(info))
    if slots:
        many = "a list of kinds" if typing.get_origin(info.annotation) is tuple else "a kind"
        null = ", or `null`" if "null" in str(described.get("anyOf")) else ""
        return f"{many} of [{slots[0]}]({slots[0]}.md){null}"
    if name in BLOCKS:
        return f"[fields of its own](#{name})" + (", or `null`" if name in ("jepa", "sweep") else "")
    return prose(Vocabulary(schema).describe(described))


def _slots(info: FieldInfo) -> Iterator[str]:
    """The slot of a field that holds components."""
    yield from (mark.slot for mark in info.metadata if isinstance(mark, InSlot))
    waiting = [info.annotation]
    while waiting:
        kind = waiting.pop()
        yield from (mark.slot for mark in getattr(kind, "__metadata__", ()) if isinstance(mark, InSlot))
        waiting += typing.get_args(kind)


def _meaning(name: str, info: FieldInfo) -> str:
    described = info.description or (BLOCKS[name].__doc__ if name in BLOCKS else "")
    return prose(described or next((SLOTS[slot].description for slot in _slots(info)), ""))


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.default
    if isinstance(value, Block):
        return "its defaults"
    if value == {}:
        return "its defaults" if "dict" not in str(info.annotation) else "`{}`"
    if isinstance(value, dict) and "kind" in value:
        return f"[`{value['kind']}`]({next(_slots(info))}.md#{value['kind']})"
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        return "all of them"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def shipped() -> str:
    """The page of the shipped recipes."""
    texts = []
    for name, file in shipped_recipes().items():
        texts.append(f"## {name}\n\n```yaml\n{file.read_text(encoding='utf-8').strip()}\n```")
    about = "Each runs by its name from any folder: `jepakit run cartpole_pixels`. [What each is for](../guide.md#shipped-recipes)."
    return page("# Shipped recipes", about, *texts)
