"""Writes a recipe as YAML with every default. Reading it back gives the same recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel

from jepakit.recipe.errors import Place
from jepakit.recipe.schema import Recipe, holds_blocks
from jepakit.recipe.yaml12 import scalar


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would misread, and every sort of line break. PyYAML quotes by the rules of YAML 1.1."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        plain = scalar(text) == text and text.isprintable()
    except ValueError:
        plain = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _string)


def dump(recipe: Recipe, origins: bool = False) -> str:
    """The resolved recipe.

    Args:
        recipe: A recipe.
        origins: Whether to end each value's line with a comment: the file and line where it is written, or ``default``.
    """
    lines = list(_lines(recipe, 0, ""))
    if not origins:
        return "".join(f"{line}\n" for line, _ in lines)
    width = max(len(line) for line, _ in lines if len(line) <= 60)
    return "".join(f"{line:<{width}}  # {_origin(recipe, path)}\n" if path else f"{line}\n" for line, path in lines)


def _lines(block: BaseModel, indent: int, within: str) -> Iterator[tuple[str, str]]:
    """Each line, and the path of the value that ends on it."""
    for name in type(block).model_fields:
        value, path, start = getattr(block, name), f"{within}{name}", f"{' ' * indent}{name}:"
        if isinstance(value, BaseModel) and holds_blocks(value):
            yield start, ""
            yield from _lines(value, indent + 2, f"{path}.")
        elif holds_blocks(value):
            yield start, ""
            for index, entry in enumerate(value):
                nested = list(_lines(entry, indent + 4, f"{path}.{index}."))
                yield f"{' ' * (indent + 2)}- {nested[0][0].lstrip()}", nested[0][1]
                yield from nested[1:]
        else:
            yield f"{start} {flow(block.model_dump(mode='json', include={name})[name])}", path


def flow(value: Any) -> str:
    """A value on one line of YAML."""
    text: str = yaml.dump(value, Dumper=_Dumper, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _origin(recipe: Recipe, path: str) -> str:
    first: dict[str, Place] = {}  # by source
    for place in recipe.origins(path):
        first.setdefault(str(place.source), place)
    return ", ".join(f"{name}:{place.line}" if place.source.is_file else name for name, place in first.items()) or "default"
